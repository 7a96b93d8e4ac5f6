package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/backend"
)

// fakeHost is a host of a few VMs that do what they are told at once, but for
// those whose names say otherwise: "deaf" ignores shutdown, "broken" fails.
type fakeHost struct {
	name, uri string
	readOnly  bool
	down      error

	mu    sync.Mutex
	polls int
	vms   []backend.VM
}

// fakeHosts are reached by fake://NAME. web1 is on two of them.
var fakeHosts = map[string][]string{
	"hv1":   {"web1", "web2", "web10", "broken1"},
	"hv2":   {"web1", "deaf1", "off1"},
	"evil":  {"a\x1b[31mred\x1b[0m\nsecond,line", "b\u009b2J\u202egnp"},
	"empty": nil,

	// A VM runs away from the host that defines it: equal last letters make equal UUIDs.
	"home":      {"off-roams"},
	"elsewhere": {"roams"},
}

func newFake(s HostSpec) (backend.Host, error) {
	label, ok := strings.CutPrefix(s.URI, "fake://")
	label, _, _ = strings.Cut(label, "?")
	if s.URI == "qemu:///system" || s.URI == "qemu:///session" {
		label, ok = "down", true
	}
	if !ok {
		return nil, &backend.OpError{Op: "connect", Target: s.URI, Err: backend.ErrURI, Hint: "supported are fake://NAME"}
	}
	h := &fakeHost{name: s.Name, uri: s.URI, readOnly: s.ReadOnly}
	if h.name == "" {
		h.name = label
	}
	names, ok := fakeHosts[label]
	if !ok {
		h.down = &backend.OpError{Op: "connect", Target: s.URI, Err: backend.ErrUnreachable, Hint: "is it switched on?"}
	}
	for i, n := range names {
		h.vms = append(h.vms, fakeVM(label, n, i))
	}
	return h, nil
}

func fakeVM(host, name string, i int) backend.VM {
	vm := backend.VM{UUID: backend.UUID{host[len(host)-1], byte(i)}, Name: name, ID: int32(i + 1), State: backend.Running, Reason: "booted", Persistent: true, Snapshots: -1}
	if strings.HasPrefix(name, "off") {
		vm.State, vm.Reason, vm.ID = backend.Shutoff, "shutdown", -1
	}
	return vm
}

func (h *fakeHost) Name() string   { return h.name }
func (h *fakeHost) URI() string    { return h.uri }
func (h *fakeHost) ReadOnly() bool { return h.readOnly }
func (h *fakeHost) Close() error   { return nil }

// Poll tells facts from the second time on, as real hosts do, and a CPU use of
// 50 % of a core.
func (h *fakeHost) Poll(ctx context.Context) (backend.Poll, error) {
	if err := ctx.Err(); err != nil {
		return backend.Poll{}, err
	}
	if h.down != nil {
		return backend.Poll{}, h.down
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.polls++
	out := slices.Clone(h.vms)
	for i := range out {
		vm := &out[i]
		vm.Host = h.name
		if h.polls > 1 {
			vm.FactsAt, vm.VCPUs, vm.MemoryMax, vm.Title = now, 2, 2<<30, "Title of "+vm.Name
			vm.Tags = []string{h.name + "-tag"}
		}
		if vm.State.Active() {
			vm.CPU = backend.CPUCounter{At: now, Used: time.Duration(now.UnixNano() / 2)}
			vm.StartedAt = now.Add(-time.Hour)
		}
	}
	return backend.Poll{At: now, VMs: out}, nil
}

// Figures answers for one VM a call, to see that the others are asked again.
func (h *fakeHost) Figures(_ context.Context, uuids []backend.UUID) ([]backend.Figures, error) {
	now := time.Now()
	return []backend.Figures{{UUID: uuids[0], Mem: backend.MemoryFigure{At: now, Used: 3 << 30, Source: backend.MemoryResident},
		Disk: backend.DiskCounter{At: now, ReadBytes: uint64(now.UnixNano() / 1000)}, Addresses: []string{"10.0.0.1"}, AddressesAt: now}}, nil
}

func (h *fakeHost) Do(_ context.Context, a backend.Action) error {
	if h.readOnly {
		return backend.ErrReadOnly
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.vms, func(vm backend.VM) bool { return vm.UUID == a.UUID })
	if i < 0 {
		return backend.ErrNoDomain
	}
	vm := &h.vms[i]
	if strings.HasPrefix(vm.Name, "broken") {
		return errors.New("internal error: \x1b[2Jno")
	}
	switch a.Verb {
	case backend.VerbStart:
		vm.State = backend.Running
	case backend.VerbDestroy:
		vm.State = backend.Shutoff
	case backend.VerbShutdown:
		if !strings.HasPrefix(vm.Name, "deaf") {
			vm.State = backend.Shutoff
		}
	case backend.VerbSuspend:
		vm.State = backend.Paused
	}
	return nil
}

func (h *fakeHost) Detail(_ context.Context, uuid backend.UUID) (backend.Detail, error) {
	return backend.Detail{Machine: "pc\x1b[7m", Disks: []backend.DiskDetail{{Target: "vda", Source: "/a\nb"}}}, nil
}

func (h *fakeHost) XML(_ context.Context, uuid backend.UUID, stored bool) (string, error) {
	return fmt.Sprintf("<domain stored='%v'>\x1b]0;x\x07</domain>\n\n", stored), nil
}

func (h *fakeHost) Sample(context.Context) (backend.HostSample, error) {
	return backend.HostSample{}, h.down
}
func (h *fakeHost) Watch(context.Context) (<-chan backend.Event, error) {
	return nil, backend.ErrUnsupported
}
func (h *fakeHost) Guest(context.Context, backend.UUID) (backend.Guest, error) {
	return backend.Guest{}, backend.ErrNoAgent
}

package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/backend"
)

// host is one simulated hypervisor host. Its fleet's lock guards it.
type host struct {
	fleet *Fleet
	name  string // fixed
	life  context.Context
	end   context.CancelFunc

	rng       chance
	model     string
	cpus      int
	sockets   int
	threads   int
	mhz       int
	memTotal  uint64
	swapTotal uint64
	diskSpeed float64 // bytes a second
	wire      time.Duration
	subnet    int // its guests' addresses are 10.subnet.x.y
	bootAt    storyTime

	vms     []*vm // in the order in which they came
	byUUID  map[backend.UUID]*vm
	sorted  []*vm // by name; nil when it must be made again
	nextID  int32
	vcpusOn int // of the machines that ran when the story began
	taps    int
	leases  int // addresses given

	cores      []core
	segment    storyTime
	own        float64 // CPU of its own, cores
	ownMem     float64
	guestCPU   float64 // of its guests, cores
	waiting    float64 // CPUs that idle because of the disk
	cpuShare   float64
	diskShare  float64
	latency    float64 // of a disk request, seconds
	loadAvg    [3]float64
	down       bool // cut off
	definedNew uint64
	pools      []*pool // nil until somebody asks
}

var (
	_ backend.Host          = (*host)(nil)
	_ backend.Definer       = (*host)(nil)
	_ backend.Consoler      = (*host)(nil)
	_ backend.Screenshotter = (*host)(nil)
	_ backend.LogTailer     = (*host)(nil)
	_ backend.Tuner         = (*host)(nil)
	_ backend.Capacitor     = (*host)(nil)
	_ backend.Reacher       = (*host)(nil)
)

// Name is the host's label.
func (h *host) Name() string { return h.name }

// URI is what stands for a connection: "demo://ams-hv1".
func (h *host) URI() string { return "demo://" + h.name }

// ReadOnly reports whether the fleet was made read-only.
func (h *host) ReadOnly() bool { return h.fleet.opts.ReadOnly }

// enter takes the fleet's lock and lets the story catch up. When it returns
// an error the lock is not held.
func (h *host) enter(ctx context.Context, op string) error {
	if err := h.ended(ctx); err != nil {
		return failed(op, h.name, err, "")
	}
	h.fleet.mu.Lock()
	if err := h.reach(ctx); err != nil {
		h.fleet.mu.Unlock()
		hint := ""
		if errors.Is(err, backend.ErrUnreachable) {
			hint = "berth tries again by itself"
		}
		return failed(op, h.name, err, hint)
	}
	return nil
}

func (h *host) leave() { h.fleet.mu.Unlock() }

// ended says whether the host was closed or ctx has ended.
func (h *host) ended(ctx context.Context) error {
	if h.life.Err() != nil {
		return backend.ErrClosed
	}
	return contextError(ctx)
}

// reach lets the story catch up and says whether the host answers.
func (h *host) reach(ctx context.Context) error {
	if err := h.ended(ctx); err != nil {
		return err
	}
	if h.fleet.catchUp(ctx) != nil {
		return h.ended(ctx)
	}
	if h.down {
		return fmt.Errorf("%w: no route to %s", backend.ErrUnreachable, h.name)
	}
	return nil
}

// find is enter, and then the machine with that UUID.
func (h *host) find(ctx context.Context, op string, id backend.UUID) (*vm, error) {
	if err := h.enter(ctx, op); err != nil {
		return nil, err
	}
	v, ok := h.byUUID[id]
	if !ok {
		h.leave()
		return nil, failed(op, id.String(), backend.ErrNoDomain, "")
	}
	return v, nil
}

// bind makes a context that also ends when the host is closed.
func (h *host) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(h.life, func() { cancel(backend.ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// contextError is ctx's end in the words of package backend.
func contextError(ctx context.Context) error {
	err := context.Cause(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", backend.ErrTimeout, err)
	}
	return err
}

func failed(op, target string, err error, hint string) error {
	return &backend.OpError{Op: op, Target: backend.Clean(target), Err: err, Hint: hint}
}

// Poll returns the host's machines, with everything that is known of them: in
// a simulation nothing is dear. Slices in the answer are shared and must not
// be written to.
func (h *host) Poll(ctx context.Context) (backend.Poll, error) {
	if err := h.enter(ctx, "poll"); err != nil {
		return backend.Poll{}, err
	}
	defer h.leave()
	f := h.fleet
	p := backend.Poll{At: f.shown(f.now), VMs: make([]backend.VM, len(h.vms))}
	for i, v := range h.byName() {
		v.show(&p.VMs[i], f.now, p.At)
	}
	return p, nil
}

// byName is the machines in the order of polls.
func (h *host) byName() []*vm {
	if h.sorted == nil {
		h.sorted = slices.Clone(h.vms)
		slices.SortFunc(h.sorted, func(a, b *vm) int { return strings.Compare(a.row.Name, b.row.Name) })
	}
	return h.sorted
}

// Figures reads block devices, balloon and addresses of the given machines.
// Machines that are off or unknown are left out.
func (h *host) Figures(ctx context.Context, uuids []backend.UUID) ([]backend.Figures, error) {
	if err := h.enter(ctx, "read figures of"); err != nil {
		return nil, err
	}
	defer h.leave()
	f := h.fleet
	at := f.shown(f.now)
	list := make([]backend.Figures, 0, len(uuids))
	for _, id := range uuids {
		v, ok := h.byUUID[id]
		if !ok || !v.row.State.Active() {
			continue
		}
		var row backend.VM
		v.show(&row, f.now, at)
		list = append(list, backend.Figures{UUID: id, Disk: row.Disk, Mem: row.Mem,
			Addresses: row.Addresses, AddressesAt: row.AddressesAt, StuckSince: row.StuckSince})
	}
	return list, nil
}

// Sample reads the host's own figures.
func (h *host) Sample(ctx context.Context) (backend.HostSample, error) {
	if err := h.enter(ctx, "sample"); err != nil {
		return backend.HostSample{}, err
	}
	defer h.leave()
	f := h.fleet
	s := backend.HostSample{
		At: f.shown(f.now), Hostname: h.name + ".example.net", Hypervisor: "QEMU 9.2.0", Libvirt: "10.10.0",
		Kernel: "6.12.9-amd64", Model: h.model, CPUs: h.cpus, Sockets: h.sockets,
		Cores: h.cpus / h.sockets / h.threads, Threads: h.threads, MHz: h.mhz,
		MemTotal: h.memTotal, SwapTotal: h.swapTotal, SwapFree: h.swapTotal,
		Load: h.loadAvg, HasLoad: true, BootTime: f.shown(h.bootAt), Connected: true, Latency: h.latencyNow(),
	}
	s.CPU, s.PerCPU = h.cpuAt(f.now)
	_, free := h.memory()
	s.MemFree = uint64(max(free, 0))
	s.SwapFree -= min(uint64(max(-free, 0)), s.SwapTotal)
	return s, nil
}

// Close ends the host's connection: watchers and consoles end, and every call
// after it wraps ErrClosed. It is no error to close twice.
func (h *host) Close() error {
	h.end()
	f := h.fleet
	f.mu.Lock()
	f.unwatch(func(w *watcher) bool { return w.host == h })
	for _, v := range h.vms {
		v.dropConsole(backend.ErrClosed)
	}
	running := f.pump.running
	last := len(f.pump.watchers) == 0
	f.mu.Unlock()
	if last && running != nil {
		<-running
	}
	if f.closed() {
		return f.stock.close()
	}
	return nil
}

// add puts a machine on the host.
func (h *host) add(v *vm) {
	h.vms = append(h.vms, v)
	h.byUUID[v.row.UUID] = v
	h.sorted = nil
}

// remove takes a machine off the host for good.
func (h *host) remove(v *vm) {
	isV := func(o *vm) bool { return o == v }
	h.vms = slices.DeleteFunc(h.vms, isV)
	delete(h.byUUID, v.row.UUID)
	h.sorted = nil
	if v.service != nil {
		v.service.members = slices.DeleteFunc(v.service.members, isV)
	}
}

// named is the machine of that name, or nil.
func (h *host) named(name string) *vm {
	for _, v := range h.vms {
		if v.row.Name == name {
			return v
		}
	}
	return nil
}

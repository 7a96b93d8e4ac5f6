package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/backend"
)

// fakeHost is a host over a folder: its images are raw files, a point in time is
// a copy of them, a checkpoint too. What it knows is in a file of that folder, so
// that it outlives the process, as a real one does.
type fakeHost struct {
	backend.Host // for what no backup asks
	name, dir    string
	mu           sync.Mutex
	hook         func(op string) error // nil: nothing goes wrong
}

// fakeState is what the host knows.
type fakeState struct {
	VMs      map[string]*fakeVM
	Sessions map[string]*fakeSession // by token
	Count    int
	Renames  []string
}

type fakeVM struct {
	UUID        backend.UUID
	Name        string
	Running     bool
	Disks       map[string]string // target → path
	Checkpoints []string
	Forgotten   []string // of these the facts do not tell, and the bitmaps are there
	XML         string
	Begun       map[string]bool // checkpoints without a commit
	Files       []backend.PointFile
	Snapshots   []string // those that were redefined
}

type fakeSession struct {
	VM         string
	Checkpoint string
	Since      string
	Drop       []string
	At         time.Time
	Running    bool
	Dead       string // why it has ended by itself
}

func newFakeHost(dir string) (*fakeHost, error) {
	h := &fakeHost{name: "hv1", dir: dir}
	if err := os.MkdirAll(filepath.Join(dir, "scratch"), 0o700); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "images"), 0o700); err != nil {
		return nil, err
	}
	return h, nil
}

func (h *fakeHost) Name() string   { return h.name }
func (h *fakeHost) URI() string    { return "fake://" + h.dir }
func (h *fakeHost) ReadOnly() bool { return false }
func (h *fakeHost) Close() error   { return nil }

// with reads what the host knows, lets f change it, and writes it.
func (h *fakeHost) with(op string, f func(s *fakeState) error) error {
	if h.hook != nil {
		if err := h.hook(op); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &fakeState{VMs: map[string]*fakeVM{}, Sessions: map[string]*fakeSession{}}
	file := filepath.Join(h.dir, "state.json")
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, s)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f(s); err != nil {
		return err
	}
	if b, err = json.Marshal(s); err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

func (s *fakeState) byUUID(u backend.UUID) *fakeVM {
	for _, vm := range s.VMs {
		if vm.UUID == u {
			return vm
		}
	}
	return nil
}

func (h *fakeHost) add(name string, running bool, disks map[string][]byte) error {
	return h.with("", func(s *fakeState) error {
		vm := &fakeVM{UUID: uuidOf(name), Name: name, Running: running, Disks: map[string]string{}, Begun: map[string]bool{}}
		text := ""
		for t, content := range disks {
			p := filepath.Join(h.dir, "images", name+"-"+t+".raw")
			vm.Disks[t] = p
			if err := os.WriteFile(p, content, 0o600); err != nil {
				return err
			}
			text += fmt.Sprintf("<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/><target dev='%s'/></disk>", p, t)
		}
		vm.XML = fmt.Sprintf("<domain type='qemu'><name>%s</name><uuid>%s</uuid><os><nvram>%s</nvram></os><devices>%s<interface type='network'><mac address='52:54:00:00:00:01'/></interface></devices></domain>",
			name, vm.UUID, h.nvram(name), text)
		s.VMs[name] = vm
		return os.WriteFile(h.nvram(name), []byte("variables of "+name), 0o600)
	})
}

func (h *fakeHost) nvram(name string) string { return filepath.Join(h.dir, name+"_VARS.fd") }

func uuidOf(name string) (u backend.UUID) {
	copy(u[:], name)
	u[15] = 1
	return u
}

func (h *fakeHost) Poll(context.Context) (p backend.Poll, err error) {
	err = h.with("poll", func(s *fakeState) error {
		for _, vm := range s.VMs {
			p.VMs = append(p.VMs, h.vm(vm))
		}
		return nil
	})
	return p, err
}

func (h *fakeHost) vm(f *fakeVM) backend.VM {
	vm := backend.VM{Host: h.name, UUID: f.UUID, Name: f.Name, State: backend.Shutoff, Persistent: true, FactsAt: time.Now()}
	if f.Running {
		vm.State = backend.Running
	}
	if strings.HasPrefix(f.Name, "gold") {
		vm.Tags = []string{"gold"}
	}
	return vm
}

func (h *fakeHost) XML(_ context.Context, u backend.UUID, _ bool) (text string, err error) {
	err = h.with("xml", func(s *fakeState) error {
		if vm := s.byUUID(u); vm != nil {
			text = vm.XML
			return nil
		}
		return backend.ErrNoDomain
	})
	return text, err
}

func (h *fakeHost) Define(_ context.Context, text string) (u backend.UUID, err error) {
	err = h.with("define", func(s *fakeState) error {
		n, err := parseXML(text)
		if err != nil {
			return err
		}
		if u, err = backend.ParseUUID(n.find("uuid").text()); err != nil {
			return err
		}
		vm := &fakeVM{UUID: u, Name: n.find("name").text(), Disks: map[string]string{}, XML: text, Begun: map[string]bool{}}
		if old := s.byUUID(u); old != nil {
			vm.Checkpoints, vm.Snapshots = old.Checkpoints, old.Snapshots
			delete(s.VMs, old.Name)
		}
		if s.VMs[vm.Name] != nil {
			return fmt.Errorf("%w: the name is taken", backend.ErrInvalid)
		}
		for _, d := range n.find("devices").all("disk") {
			vm.Disks[d.find("target").attr("dev")] = d.find("source").attr("file")
		}
		s.VMs[vm.Name] = vm
		return nil
	})
	return u, err
}

func (h *fakeHost) Do(_ context.Context, a backend.Action) error {
	return h.with("do "+string(a.Verb), func(s *fakeState) error {
		vm := s.byUUID(a.UUID)
		if vm == nil {
			return backend.ErrNoDomain
		}
		switch a.Verb {
		case backend.VerbStart:
			vm.Running = true
		case backend.VerbDestroy:
			vm.Running = false
			for _, x := range s.Sessions {
				if x.VM == vm.Name {
					x.Dead = "the VM is off"
				}
			}
		case backend.VerbUndefine:
			delete(s.VMs, vm.Name)
		default:
			return backend.ErrUnsupported
		}
		return nil
	})
}

func (h *fakeHost) BackupFacts(_ context.Context, u backend.UUID) (f backend.BackupFacts, err error) {
	err = h.with("facts", func(s *fakeState) error {
		vm := s.byUUID(u)
		if vm == nil {
			return backend.ErrNoDomain
		}
		f = backend.BackupFacts{VM: h.vm(vm), Checkpoints: slices.Clone(vm.Checkpoints)}
		for _, x := range s.Sessions {
			if x.VM == vm.Name && x.Dead == "" {
				f.Job = "a backup"
			}
		}
		return nil
	})
	return f, err
}

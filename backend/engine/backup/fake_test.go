package backup

import (
	"bytes"
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
	dir          string
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
	XML         string
	Begun       map[string]bool // checkpoints without a commit
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
	h := &fakeHost{dir: dir}
	if err := os.MkdirAll(filepath.Join(dir, "scratch"), 0o700); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "images"), 0o700); err != nil {
		return nil, err
	}
	return h, nil
}

func (h *fakeHost) Name() string   { return "hv1" }
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
	vm := backend.VM{Host: "hv1", UUID: f.UUID, Name: f.Name, State: backend.Shutoff, Persistent: true, FactsAt: time.Now()}
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
			vm.Checkpoints = old.Checkpoints
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

func (h *fakeHost) scratch(id, target string) string {
	return filepath.Join(h.dir, "scratch", id+"-"+target)
}

func (h *fakeHost) BeginBackup(_ context.Context, r backend.BackupRequest) (session backend.BackupSession, err error) {
	err = h.with("begin", func(s *fakeState) error {
		vm := s.byUUID(r.VM)
		if vm == nil {
			return backend.ErrNoDomain
		}
		if r.Since != "" && !slices.Contains(vm.Checkpoints, r.Since) {
			return backend.ErrBitmap
		}
		s.Count++
		token := fmt.Sprintf("s%d", s.Count)
		x := &fakeSession{VM: vm.Name, Checkpoint: r.Checkpoint, Since: r.Since, Drop: r.Drop, At: time.Now().Round(0), Running: vm.Running}
		if !vm.Running {
			x.Checkpoint = ""
		}
		s.Sessions[token] = x
		for t, p := range vm.Disks {
			content, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if err := os.WriteFile(h.scratch(token, t), content, 0o600); err != nil {
				return err
			}
			if x.Checkpoint != "" {
				if err := os.WriteFile(h.scratch(x.Checkpoint, t), content, 0o600); err != nil {
					return err
				}
			}
		}
		if x.Checkpoint != "" {
			vm.Checkpoints = append(vm.Checkpoints, x.Checkpoint)
			vm.Begun[x.Checkpoint] = true
		}
		session, err = h.session(s, token)
		return err
	})
	if err == nil && h.hook != nil {
		if err := h.hook("begun"); err != nil {
			return nil, err
		}
	}
	return session, err
}

func (h *fakeHost) ResumeBackup(_ context.Context, u backend.UUID, token string) (session backend.BackupSession, err error) {
	err = h.with("resume", func(s *fakeState) error {
		x := s.Sessions[token]
		if x == nil || x.Dead != "" || s.byUUID(u) == nil {
			return backend.ErrNoJob
		}
		session, err = h.session(s, token)
		return err
	})
	return session, err
}

// session is a session as this process has it.
func (h *fakeHost) session(s *fakeState, token string) (*liveFake, error) {
	x := s.Sessions[token]
	vm := s.VMs[x.VM]
	p := backend.BackupPoint{At: x.At, Running: x.Running, Checkpoint: x.Checkpoint, XML: vm.XML, Stored: vm.XML}
	nvram, err := os.ReadFile(h.nvram(vm.Name))
	if err == nil {
		p.Files = append(p.Files, backend.PointFile{Kind: "nvram", Path: h.nvram(vm.Name), Content: nvram})
	}
	for t := range vm.Disks {
		file := h.scratch(token, t)
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		a := backend.PointAccess{BackupDisk: backend.BackupDisk{Target: t, Path: vm.Disks[t], Format: "raw", Size: int64(len(content))}}
		a.Access = backend.DiskAccess{File: file, Size: int64(len(content))}
		if x.Since != "" {
			old, err := os.ReadFile(h.scratch(x.Since, t))
			if err == nil {
				a.Incremental, a.Access.Dirty = true, differs(old, content)
			} else {
				a.WhyFull = "it is new"
			}
		}
		p.Disks = append(p.Disks, a)
	}
	slices.SortFunc(p.Disks, func(a, b backend.PointAccess) int { return strings.Compare(a.Target, b.Target) })
	return &liveFake{h: h, token: token, p: p}, nil
}

const grain = 64 << 10

func differs(a, b []byte) (list []backend.Extent) {
	list = []backend.Extent{}
	for at := 0; at < len(b); at += grain {
		end := min(at+grain, len(b))
		if end > len(a) || !bytes.Equal(a[at:end], b[at:end]) {
			list = append(list, backend.Extent{Offset: int64(at), Length: int64(end - at)})
		}
	}
	return list
}

func (h *fakeHost) Leftovers(_ context.Context, alive []string) (list []backend.Leftover, err error) {
	err = h.with("leftovers", func(s *fakeState) error {
		spared := map[string]bool{}
		for token, x := range s.Sessions {
			if slices.Contains(alive, token) {
				spared[x.Checkpoint] = true
				continue
			}
			kind := "job"
			if x.Dead != "" {
				kind = "scratch"
			}
			list = append(list, backend.Leftover{Host: "hv1", VM: s.VMs[x.VM].UUID, Name: x.VM, Kind: kind, What: token, Since: x.At})
		}
		for _, vm := range s.VMs {
			for c := range vm.Begun {
				if !spared[c] {
					list = append(list, backend.Leftover{Host: "hv1", VM: vm.UUID, Name: vm.Name, Kind: "checkpoint", What: c})
				}
			}
		}
		return nil
	})
	return list, err
}

func (h *fakeHost) CleanUp(_ context.Context, l backend.Leftover) error {
	return h.with("cleanup", func(s *fakeState) error {
		if l.Kind == "checkpoint" {
			h.drop(s.byUUID(l.VM), l.What)
			return nil
		}
		h.remove(s, l.What)
		return nil
	})
}

// drop deletes a checkpoint.
func (h *fakeHost) drop(vm *fakeVM, name string) {
	vm.Checkpoints = slices.DeleteFunc(vm.Checkpoints, func(c string) bool { return c == name })
	delete(vm.Begun, name)
	for t := range vm.Disks {
		os.Remove(h.scratch(name, t)) //nolint:errcheck // it may be gone
	}
}

// remove ends a session.
func (h *fakeHost) remove(s *fakeState, token string) {
	if x := s.Sessions[token]; x != nil {
		for t := range s.VMs[x.VM].Disks {
			os.Remove(h.scratch(token, t)) //nolint:errcheck // likewise
		}
	}
	delete(s.Sessions, token)
}

type liveFake struct {
	h      *fakeHost
	token  string
	p      backend.BackupPoint
	closed bool
}

func (l *liveFake) Token() string              { return l.token }
func (l *liveFake) Point() backend.BackupPoint { return l.p }
func (l *liveFake) Close() error               { l.closed = true; return nil }

func (l *liveFake) Watch(context.Context) error {
	return l.h.with("watch", func(s *fakeState) error {
		if x := s.Sessions[l.token]; x == nil || x.Dead != "" {
			return fmt.Errorf("%w: the job has gone", backend.ErrNoJob)
		}
		return nil
	})
}

func (l *liveFake) Commit(context.Context) error {
	return l.h.with("commit", func(s *fakeState) error {
		x := s.Sessions[l.token]
		if x == nil {
			return backend.ErrNoJob
		}
		vm := s.VMs[x.VM]
		if !x.Running && vm.Running {
			return backend.ErrState
		}
		delete(vm.Begun, x.Checkpoint)
		for _, d := range x.Drop {
			l.h.drop(vm, d)
		}
		l.h.remove(s, l.token)
		return nil
	})
}

func (l *liveFake) Abort(context.Context) error {
	return l.h.with("abort", func(s *fakeState) error {
		x := s.Sessions[l.token]
		if x == nil {
			return nil
		}
		if x.Checkpoint != "" {
			l.h.drop(s.VMs[x.VM], x.Checkpoint)
		}
		l.h.remove(s, l.token)
		return nil
	})
}

// What follows are its images and files.

func (h *fakeHost) OpenImage(_ context.Context, p, _ string) (backend.OpenImage, error) {
	info, err := os.Stat(p)
	if err != nil {
		return nil, err
	}
	return openFake{File: p, Size: info.Size()}, nil
}

type fakeImage struct {
	h        *fakeHost
	to, from string
	size     uint64
}

func (h *fakeHost) MakeImage(_ context.Context, p, _ string, size uint64) (backend.NewImage, error) {
	if h.hook != nil {
		if err := h.hook("make"); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(p); err == nil {
		return nil, fs.ErrExist
	}
	from := filepath.Join(filepath.Dir(p), ".draft-"+filepath.Base(p))
	if err := os.WriteFile(from, nil, 0o600); err != nil {
		return nil, err
	}
	return &fakeImage{h, p, from, size}, os.Truncate(from, int64(size))
}

func (i *fakeImage) Access() backend.DiskAccess {
	return backend.DiskAccess{File: i.from, Size: int64(i.size)}
}

func (i *fakeImage) Commit(context.Context) error {
	return i.h.with("image", func(*fakeState) error { return os.Link(i.from, i.to) })
}

func (i *fakeImage) Close() error { return os.Remove(i.from) }

func (h *fakeHost) ReadFile(_ context.Context, p string, limit int64) ([]byte, error) {
	b, err := os.ReadFile(p)
	if err == nil && int64(len(b)) > limit {
		return nil, backend.ErrInvalid
	}
	return b, err
}

func (h *fakeHost) WriteFile(_ context.Context, p string, content []byte) error {
	return h.with("write", func(*fakeState) error { return os.WriteFile(p, content, 0o600) })
}

func (h *fakeHost) ListFiles(context.Context, string) ([]string, error) { return nil, fs.ErrNotExist }

func (h *fakeHost) RenameFile(_ context.Context, from, to string) error {
	return h.with("rename", func(s *fakeState) error {
		if _, err := os.Stat(to); err == nil {
			return fs.ErrExist
		}
		return os.Rename(from, to)
	})
}

func (h *fakeHost) RemoveFile(_ context.Context, p string) error {
	return h.with("remove", func(*fakeState) error { return os.Remove(p) })
}

func (h *fakeHost) Room(context.Context, string) (uint64, error) {
	free := uint64(100 << 30)
	err := h.with("room", func(*fakeState) error { return nil })
	if errors.Is(err, backend.ErrNoRoom) {
		return 1 << 20, nil
	}
	return free, err
}

type openFake backend.DiskAccess

func (o openFake) Access() backend.DiskAccess { return backend.DiskAccess(o) }
func (o openFake) Close() error               { return nil }

package backup

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/backend"
)

func (h *fakeHost) scratch(id, target string) string {
	return filepath.Join(h.dir, "scratch", id+"-"+target)
}

func (h *fakeHost) BeginBackup(_ context.Context, r backend.BackupRequest) (session backend.BackupSession, err error) {
	err = h.with("begin", func(s *fakeState) error {
		vm := s.byUUID(r.VM)
		if vm == nil {
			return backend.ErrNoDomain
		}
		if r.Since != "" && !slices.Contains(vm.Checkpoints, r.Since) && !slices.Contains(vm.Forgotten, r.Since) {
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
	p.Files = slices.Clone(vm.Files)
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
			list = append(list, backend.Leftover{Host: h.name, VM: s.VMs[x.VM].UUID, Name: x.VM, Kind: kind, What: token, Since: x.At})
		}
		for _, vm := range s.VMs {
			for c := range vm.Begun {
				if !spared[c] {
					list = append(list, backend.Leftover{Host: h.name, VM: vm.UUID, Name: vm.Name, Kind: "checkpoint", What: c})
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

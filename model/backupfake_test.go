package model

import (
	"context"
	"fmt"
	"strings"
	"time"

	"berth/backend"
)

// fakeBackups do what they are told at once, without an engine: their State is
// what the test says.
type fakeBackups struct {
	state    backend.BackupsState
	err      error // State's
	doErr    error // of what changes something
	asked    int
	patience time.Duration // of the last Wait
	specs    []backend.TransferSpec
	puts     []backend.Schedule
	done     []string
}

func newFakeBackups(now time.Time, transfers ...backend.Transfer) *fakeBackups {
	return &fakeBackups{state: backend.BackupsState{At: now, Revision: 1, Engine: backend.EngineState{Running: true}, Transfers: transfers,
		Repos: []backend.RepoState{{Ref: backend.RepoRef{URL: "/backup"}, Points: 3, Stored: 1 << 30, Room: 9 << 30}}}}
}

// transfer makes one of a VM of host hv1.
func transfer(id int, kind backend.TransferKind, state backend.TransferState, vm backend.VM) backend.Transfer {
	return backend.Transfer{ID: backend.TransferID(id), State: state, Owner: "alice",
		Spec: backend.TransferSpec{Kind: kind, VM: vm.Key(), Name: vm.Name, Repo: backend.RepoRef{URL: "/backup"}}}
}

// point makes one of a VM, some hours old.
func point(id string, vm backend.VM, now time.Time, hours int) backend.Point {
	return backend.Point{Repo: "/backup", ID: id, VM: vm.UUID, Name: vm.Name, Host: vm.Host, At: now.Add(-time.Duration(hours) * time.Hour),
		Size: 20 << 30, Data: 3 << 30, Disks: []backend.PointDisk{{Target: "vda", Path: "/pool/" + vm.Name + ".qcow2", Format: "qcow2", Size: 20 << 30, Data: 3 << 30}}}
}

// edit changes the state as another process would.
func (b *fakeBackups) edit(f func(*backend.BackupsState)) {
	st := b.state
	st.Transfers = append([]backend.Transfer(nil), st.Transfers...)
	st.Points = append([]backend.Point(nil), st.Points...)
	st.Schedules = append([]backend.Schedule(nil), st.Schedules...)
	f(&st)
	st.Revision++
	b.state = st
}

func (b *fakeBackups) State(context.Context) (backend.BackupsState, error) {
	b.asked++
	return b.state, b.err
}

func (b *fakeBackups) Wait(ctx context.Context, revision int64) error {
	if at, ok := ctx.Deadline(); ok {
		b.patience = time.Until(at)
	}
	if b.state.Revision != revision {
		return nil
	}
	return context.DeadlineExceeded
}

func (b *fakeBackups) Start(_ context.Context, specs []backend.TransferSpec) ([]backend.TransferID, error) {
	if b.doErr != nil {
		return nil, b.doErr
	}
	b.specs = append(b.specs, specs...)
	return nil, nil
}

func (b *fakeBackups) Change(_ context.Context, ids []backend.TransferID, c backend.TransferChange) error {
	if b.doErr != nil {
		return b.doErr
	}
	text := fmt.Sprint(ids)
	for word, on := range map[string]bool{" pause": c.Pause, " resume": c.Resume, " cancel": c.Cancel, " retry": c.Retry} {
		if on {
			text += word
		}
	}
	if c.Limit != nil {
		text += fmt.Sprintf(" limit=%d", *c.Limit)
	}
	b.done = append(b.done, text)
	b.edit(func(st *backend.BackupsState) {
		for i := range st.Transfers {
			for _, id := range ids {
				t := &st.Transfers[i]
				switch {
				case t.ID != id:
				case c.Pause:
					t.State, t.Pause = backend.TransferPaused, true
				case c.Resume:
					t.State, t.Pause = backend.TransferRunning, false
				case c.Cancel:
					t.Cancel = true
				case c.Limit != nil:
					t.Spec.Limit = *c.Limit
				}
			}
		}
	})
	return nil
}

func (b *fakeBackups) Refresh(_ context.Context, r backend.RepoRef) error {
	b.done = append(b.done, "refresh "+r.URL)
	return b.doErr
}

func (b *fakeBackups) PutSchedule(_ context.Context, s backend.Schedule) (int64, error) {
	b.puts = append(b.puts, s)
	b.edit(func(st *backend.BackupsState) {
		for i := range st.Schedules {
			if st.Schedules[i].ID == s.ID {
				st.Schedules[i] = s
				return
			}
		}
		s.ID = int64(len(st.Schedules) + 1)
		st.Schedules = append(st.Schedules, s)
	})
	return s.ID, b.doErr
}

func (b *fakeBackups) RemoveSchedule(_ context.Context, id int64) error {
	b.done = append(b.done, fmt.Sprintf("remove %d", id))
	return b.doErr
}

func (b *fakeBackups) RunSchedule(_ context.Context, id int64) ([]backend.TransferID, error) {
	b.done = append(b.done, fmt.Sprintf("run %d", id))
	return nil, b.doErr
}

func (b *fakeBackups) StartEngine(context.Context) error {
	b.done = append(b.done, "engine")
	b.state.Engine = backend.EngineState{Running: b.doErr == nil, Lost: b.doErr != nil}
	return b.doErr
}

func (b *fakeBackups) Close() error { return nil }

// fakeStore is a host with storage, jobs of others and leftovers, all as the
// test says.
type fakeStore struct {
	*fakeHost
	pools    []backend.Pool
	images   []backend.Image
	jobs     []backend.DomainJob
	left     []backend.Leftover
	storeErr error
	free     uint64
	said     []string
	asked    int
}

func newFakeStore(h *fakeHost) *fakeStore {
	return &fakeStore{fakeHost: h, free: 50 << 30, pools: []backend.Pool{
		{Host: h.name, Name: "default", Type: "dir", Path: "/pool", Active: true, Capacity: 100 << 30, Allocation: 50 << 30, Available: 50 << 30},
		{Host: h.name, Name: "off", Type: "dir", Path: "/off"}}}
}

func (s *fakeStore) image(name string) *backend.Image {
	s.images = append(s.images, backend.Image{Host: s.name, Pool: "default", Name: name, Path: "/pool/" + name, Format: "qcow2", Virtual: 10 << 30, Real: 1 << 30})
	return &s.images[len(s.images)-1]
}

func (s *fakeStore) say(format string, args ...any) error {
	s.said = append(s.said, fmt.Sprintf(format, args...))
	return s.storeErr
}

func (s *fakeStore) Pools(context.Context) ([]backend.Pool, error) {
	s.asked++
	return s.pools, s.storeErr
}
func (s *fakeStore) Images(context.Context) ([]backend.Image, error) {
	return append([]backend.Image(nil), s.images...), s.storeErr
}
func (s *fakeStore) PoolDo(_ context.Context, p string, v backend.PoolVerb) error {
	return s.say("%s %s", v, p)
}
func (s *fakeStore) DefinePool(_ context.Context, p backend.PoolSpec) error {
	return s.say("define %s %s", p.Name, p.Path)
}
func (s *fakeStore) CreateImage(_ context.Context, i backend.ImageSpec) error {
	return s.say("create %s/%s %s %d on %q", i.Pool, i.Name, i.Format, i.Size, i.Backing)
}
func (s *fakeStore) ResizeImage(_ context.Context, path string, size uint64, shrink bool) error {
	return s.say("resize %s %d shrink=%t", path, size>>30, shrink)
}
func (s *fakeStore) DeleteImage(_ context.Context, path string) error {
	return s.say("delete %s", path)
}
func (s *fakeStore) DomainJobs(context.Context) ([]backend.DomainJob, error) {
	return append([]backend.DomainJob(nil), s.jobs...), s.storeErr
}
func (s *fakeStore) AbortDomainJob(_ context.Context, j backend.DomainJob) error {
	s.jobs = nil
	return s.say("abort %s of %s", j.Kind, j.Name)
}
func (s *fakeStore) BackupFacts(context.Context, backend.UUID) (backend.BackupFacts, error) {
	return backend.BackupFacts{}, backend.ErrUnsupported
}
func (s *fakeStore) BeginBackup(context.Context, backend.BackupRequest) (backend.BackupSession, error) {
	return nil, backend.ErrUnsupported
}
func (s *fakeStore) ResumeBackup(context.Context, backend.UUID, string) (backend.BackupSession, error) {
	return nil, backend.ErrUnsupported
}
func (s *fakeStore) Leftovers(context.Context, []string) ([]backend.Leftover, error) {
	return s.left, s.storeErr
}
func (s *fakeStore) CleanUp(_ context.Context, l backend.Leftover) error {
	s.left = nil
	return s.say("clean %s %s", l.Kind, l.What)
}
func (s *fakeStore) ReadFile(context.Context, string, int64) ([]byte, error) {
	return nil, backend.ErrUnsupported
}
func (s *fakeStore) WriteFile(context.Context, string, []byte) error { return backend.ErrUnsupported }
func (s *fakeStore) ListFiles(context.Context, string) ([]string, error) {
	return nil, backend.ErrUnsupported
}
func (s *fakeStore) RenameFile(context.Context, string, string) error { return backend.ErrUnsupported }
func (s *fakeStore) RemoveFile(context.Context, string) error         { return backend.ErrUnsupported }
func (s *fakeStore) Room(_ context.Context, path string) (uint64, error) {
	if !strings.HasPrefix(path, "/") {
		return 0, backend.ErrInvalid
	}
	return s.free, nil
}

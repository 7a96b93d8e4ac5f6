package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/backend"
	"berth/backend/image/disk"
	"berth/backend/image/place"
	"berth/backend/image/repo"
)

// fakeBackups carry transfers out by themselves, a step at each State: queued,
// reading, done. What is called broken... fails, what is called slow... never
// ends unless it is cancelled.
type fakeBackups struct {
	mu        sync.Mutex
	state     backend.BackupsState
	specs     []backend.TransferSpec
	changes   []string
	refreshed []backend.RepoRef
	atOnce    int // the most transfers that were open at a time
	onState   func()
	refuse    error // to start
	// refuseChange is why nothing can be changed.
	refuseChange error
	closed       bool
}

func (b *fakeBackups) State(ctx context.Context) (backend.BackupsState, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state.Revision++
	b.state.At = fakeNow
	st := b.state
	st.Transfers = slices.Clone(st.Transfers)
	open := 0
	for i := range b.state.Transfers {
		if t := &b.state.Transfers[i]; !t.State.Ended() {
			open++
			b.step(t)
		}
	}
	b.atOnce = max(b.atOnce, open)
	if b.onState != nil {
		b.onState()
	}
	return st, ctx.Err()
}

func (b *fakeBackups) step(t *backend.Transfer) {
	slow := strings.HasPrefix(t.Spec.Name, "off") || strings.HasPrefix(t.Spec.Name, "deaf")
	switch {
	case t.Cancel:
		t.State, t.Ended, t.Words = backend.TransferCancelled, fakeNow, "cancelled by alice"
	case t.State == backend.TransferQueued:
		t.State, t.Started = backend.TransferRunning, fakeNow
		t.Progress = backend.Progress{Phase: backend.PhaseReading, Disk: "vda", Done: 1 << 30, Total: 4 << 30, New: 512 << 20, Out: 128 << 20, Rate: 200 << 20, Mean: 100 << 20, ETA: 15 * time.Second}
	case strings.HasPrefix(t.Spec.Name, "broken"):
		t.State, t.Ended, t.Words = backend.TransferFailed, fakeNow, "scratch file: not enough free space \x1b[2J"
	case !slow:
		t.State, t.Ended, t.Point = backend.TransferDone, fakeNow.Add(12*time.Second), strings.Repeat("ab", 16)
		t.Progress.Done, t.Progress.New, t.Progress.Out = 4<<30, 2<<30, 1<<30
	}
}

func (b *fakeBackups) Wait(ctx context.Context, revision int64) error { return ctx.Err() }

func (b *fakeBackups) Start(_ context.Context, specs []backend.TransferSpec) (ids []backend.TransferID, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		return nil, b.refuse
	}
	for _, s := range specs {
		id := backend.TransferID(len(b.state.Transfers) + 1)
		b.specs = append(b.specs, s)
		b.state.Transfers = append(b.state.Transfers, backend.Transfer{ID: id, Spec: s, State: backend.TransferQueued, Ordered: fakeNow, Owner: "alice"})
		ids = append(ids, id)
	}
	return ids, nil
}

func (b *fakeBackups) Change(_ context.Context, ids []backend.TransferID, c backend.TransferChange) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuseChange != nil {
		return b.refuseChange
	}
	for _, id := range ids {
		t := transferByID(&b.state, id)
		if t == nil {
			return &backend.OpError{Op: "change", Target: fmt.Sprint(id), Err: backend.ErrNoTransfer}
		}
		t.Cancel = t.Cancel || c.Cancel
	}
	text := fmt.Sprintf("%v pause=%v resume=%v cancel=%v retry=%v", ids, c.Pause, c.Resume, c.Cancel, c.Retry)
	if c.Limit != nil {
		text += fmt.Sprintf(" limit=%d", *c.Limit)
	}
	b.changes = append(b.changes, text)
	return nil
}

func (b *fakeBackups) Refresh(_ context.Context, r backend.RepoRef) error {
	b.refreshed = append(b.refreshed, r)
	return nil
}

func (b *fakeBackups) PutSchedule(_ context.Context, s backend.Schedule) (int64, error) {
	if s.ID == 0 {
		s.ID = int64(len(b.state.Schedules) + 1)
		s.Next = fakeNow.Add(time.Hour)
		b.state.Schedules = append(b.state.Schedules, s)
		return s.ID, nil
	}
	*scheduleByID(&b.state, s.ID) = s
	return s.ID, nil
}

func (b *fakeBackups) RemoveSchedule(_ context.Context, id int64) error {
	b.state.Schedules = slices.DeleteFunc(b.state.Schedules, func(s backend.Schedule) bool { return s.ID == id })
	return nil
}

func (b *fakeBackups) RunSchedule(ctx context.Context, id int64) ([]backend.TransferID, error) {
	return b.Start(ctx, []backend.TransferSpec{{Kind: backend.TransferBackup, Name: "web1", Schedule: id}})
}

func (b *fakeBackups) Close() error {
	if b.closed {
		return errors.New("closed twice")
	}
	b.closed = true
	return nil
}

// backupRig runs berth backup commands over fake backups and real repositories.
type backupRig struct {
	t       *testing.T
	backups *fakeBackups
	home    string
	env     map[string]string
	stdin   io.Reader
	ctx     context.Context
}

func newBackupRig(t *testing.T) *backupRig {
	home := t.TempDir()
	return &backupRig{t: t, backups: &fakeBackups{}, home: home, stdin: strings.NewReader(""), ctx: t.Context(),
		env: map[string]string{"HOME": home, "XDG_RUNTIME_DIR": filepath.Join(home, "run"), "BERTH_REPO": filepath.Join(home, "repo")}}
}

func (r *backupRig) run(args ...string) (code int, stdout, stderr string) {
	r.t.Helper()
	var out, errs bytes.Buffer
	p := r.program(&out, &errs, append([]string{"backup"}, args...)...)
	code = p.Run(r.ctx)
	r.backups.closed = false
	return code, out.String(), errs.String()
}

func (r *backupRig) program(stdout, stderr io.Writer, args ...string) Program {
	p := testProgram(args, func(k string) string { return r.env[k] })
	p.Stdin, p.Stdout, p.Stderr = r.stdin, stdout, stderr
	p.OpenPlace = PlaceOpener(func(context.Context, string) (*ssh.Client, error) { return nil, backend.ErrUnreachable })
	p.Backups = func(context.Context, BackupsOptions) (backend.Backups, error) { return r.backups, nil }
	return p
}

// must runs a command that has to end well and say so.
func (r *backupRig) must(want string, args ...string) string {
	r.t.Helper()
	code, out, errs := r.run(args...)
	if code != ExitOK || !strings.Contains(out, want) {
		r.t.Fatalf("%v: code %d, want %q:\n%s%s", args, code, want, out, errs)
	}
	return out
}

// mustFail runs a command that has to end with that code and complain so.
func (r *backupRig) mustFail(code int, want string, args ...string) string {
	r.t.Helper()
	got, out, errs := r.run(args...)
	if got != code || !strings.Contains(out+errs, want) {
		r.t.Fatalf("%v: code %d, want %d and %q:\n%s%s", args, got, code, want, out, errs)
	}
	return out
}

func (r *backupRig) repo() string { return r.env["BERTH_REPO"] }

// memoryDisk is a disk in memory.
type memoryDisk []byte

func (m memoryDisk) Size() int64  { return int64(len(m)) }
func (m memoryDisk) Close() error { return nil }

func (m memoryDisk) ReadAt(_ context.Context, p []byte, off int64) error {
	copy(p, m[off:])
	return nil
}

func (m memoryDisk) Extents(_ context.Context, off, length int64) ([]backend.Extent, error) {
	return []backend.Extent{{Offset: off, Length: length}}, nil
}

var _ disk.Reader = memoryDisk{}

// addPoint writes a point of web1 of hv1 with one disk, and returns its ID.
func (r *backupRig) addPoint(at time.Time, content []byte, tags ...string) string {
	r.t.Helper()
	return r.addPointOf("web1", backend.UUID{'1', 0}, at, content, tags...)
}

func (r *backupRig) addPointOf(name string, vm backend.UUID, at time.Time, content []byte, tags ...string) string {
	r.t.Helper()
	ctx := r.t.Context()
	check := func(err error) {
		r.t.Helper()
		if err != nil {
			r.t.Fatal(err)
		}
	}
	p, err := place.OpenLocal(r.repo(), false)
	check(err)
	rp, err := repo.Open(ctx, p, repo.Secret{Passphrase: []byte(r.env["BERTH_PASSPHRASE"])}, repo.Options{})
	check(err)
	w, err := rp.Begin(ctx, repo.WriteOptions{})
	check(err)
	_, err = w.AddDisk(ctx, repo.Disk{Target: "vda", Path: "/images/" + name + ".qcow2", Format: "qcow2"}, memoryDisk(content), false)
	check(err)
	check(w.AddFile(ctx, "xml", "", []byte("<domain>\x1b[2J</domain>\n")))
	m, err := w.Commit(ctx, repo.Manifest{VM: vm, Name: name, Host: "hv1", At: at, Full: true, Why: "the first one", Tags: tags})
	check(err)
	check(errors.Join(w.Close(), rp.Close(), p.Close()))
	return m.ID
}

// damage flips a bit in the middle of the largest file below a folder.
func damage(t *testing.T, dir string) {
	t.Helper()
	largest, size := "", int64(0)
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && info.Size() > size {
			largest, size = path, info.Size()
		}
		return err
	})
	if err != nil || largest == "" {
		t.Fatal(largest, err)
	}
	b, err := os.ReadFile(largest)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.Chmod(largest, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(largest, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

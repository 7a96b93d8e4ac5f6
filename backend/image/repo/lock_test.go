package repo

import (
	"errors"
	"os/exec"
	"path"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/image/place"
	"berth/backend/image/place/placetest"
)

// clocked is a repository in memory on whose clock time can be let go by.
func clocked(t *testing.T) (*Repo, *placetest.Memory, *time.Duration) {
	t.Helper()
	m, ahead := placetest.NewMemory(), new(time.Duration)
	m.Clock = func() time.Time { return time.Now().Add(*ahead) }
	return initRepo(t, m, InitOptions{}), m, ahead
}

func mustLock(t *testing.T) func(*lock, error) *lock {
	return func(l *lock, err error) *lock {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
}

func released(t *testing.T, l *lock) {
	t.Helper()
	if err := l.release(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLocksExclude(t *testing.T) {
	r, _, _ := clocked(t)
	a := mustLock(t)(r.lockShared(t.Context(), "backup"))
	b := mustLock(t)(r.lockShared(t.Context(), "restore"))
	if _, err := r.lockExclusive(t.Context(), "prune"); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("exclusive beside shared ones: %v", err)
	}
	all, err := r.Locks(t.Context())
	if err != nil || len(all) != 2 || all[0].What != "backup" || all[0].Stale != "" || all[0].PID == 0 {
		t.Errorf("locks: %+v, %v", all, err)
	}
	released(t, a)
	released(t, b)
	c := mustLock(t)(r.lockExclusive(t.Context(), "prune"))
	if _, err := r.lockShared(t.Context(), "backup"); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("shared beside an exclusive one: %v", err)
	}
	if _, err := r.lockExclusive(t.Context(), "prune"); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("exclusive beside an exclusive one: %v", err)
	}
	released(t, c)
	released(t, mustLock(t)(r.lockShared(t.Context(), "backup")))
	if all, err := r.Locks(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("left: %+v, %v", all, err)
	}
}

// What counts is the place's clock: it does not matter what this machine's
// says.
func TestLocksExpireByThePlacesClock(t *testing.T) {
	r, _, ahead := clocked(t)
	*ahead = -100 * time.Hour
	a := mustLock(t)(r.lockExclusive(t.Context(), "prune"))
	*ahead += lockExpiry - time.Minute
	if _, err := r.lockShared(t.Context(), "backup"); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("a minute before it expires: %v", err)
	}
	if err := a.held(t.Context()); err != nil {
		t.Fatal(err)
	}
	*ahead += 2 * time.Minute
	if _, err := r.lockShared(t.Context(), "backup"); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("it was refreshed: %v", err)
	}
	*ahead += lockExpiry
	b := mustLock(t)(r.lockShared(t.Context(), "backup"))
	ctx, cancel := a.context(t.Context())
	defer cancel()
	if err := a.held(t.Context()); err == nil || ctx.Err() == nil {
		t.Errorf("its holder does not know that it was taken away: %v", err)
	}
	released(t, a)
	released(t, b)
}

// A machine that slept gives its lock up, though nobody has removed it yet.
func TestSleepersLoseTheirLocks(t *testing.T) {
	r, _, _ := clocked(t)
	l := mustLock(t)(r.lockShared(t.Context(), "backup"))
	l.refreshed -= lockExpiry
	if err := l.held(t.Context()); err == nil {
		t.Error("it still holds")
	}
	released(t, l)
}

func TestLocksOfDeadProcesses(t *testing.T) {
	r, m, _ := clocked(t)
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	here := thisProcess()
	for name, c := range map[string]struct {
		change func(*holder)
		stale  bool
	}{
		"alive":                     {func(*holder) {}, false},
		"gone":                      {func(h *holder) { h.PID = cmd.Process.Pid }, true},
		"another with its number":   {func(h *holder) { h.Start = "1" }, true},
		"another machine's":         {func(h *holder) { h.PID, h.Boot, h.Host = 1<<22+1, "other", "other" }, false},
		"another container's":       {func(h *holder) { h.PID, h.Space = 1<<22+1, "pid:[1]" }, false},
		"before the last start":     {func(h *holder) { h.Boot, h.Space = "other", initSpace }, here.Space == initSpace && here.Machine != ""},
		"of an unknown description": {func(h *holder) { *h = holder{} }, false},
	} {
		h := here
		c.change(&h)
		b, err := r.crypt.sealBox(boxLock, lockBox{What: name, holder: h})
		if err != nil {
			t.Fatal(err)
		}
		if err := place.Write(t.Context(), m, path.Join(locksDir, newFileID().String()), b); err != nil {
			t.Fatal(err)
		}
		all, err := r.Locks(t.Context())
		if err != nil || len(all) != 1 || (all[0].Stale != "") != c.stale {
			t.Errorf("%s: %+v, %v", name, all, err)
		}
		want := 0
		if c.stale {
			want = 1
		}
		if n, err := r.Unlock(t.Context(), true); n != want || err != nil {
			t.Errorf("%s: %d were removed, %v", name, n, err)
		}
		if _, err := r.Unlock(t.Context(), false); err != nil {
			t.Error(err)
		}
	}
}

// A full disk keeps nobody from restoring, nor from pruning.
func TestLocksOnAFullDisk(t *testing.T) {
	r, m, _ := clocked(t)
	m.SetRoom(m.Used())
	if _, err := r.lockShared(t.Context(), "backup"); !errors.Is(err, backend.ErrNoRoom) {
		t.Errorf("to write: %v", err)
	}
	released(t, mustLock(t)(r.lockReading(t.Context(), "restore")))
	l := mustLock(t)(r.lockExclusive(t.Context(), "prune"))
	if _, err := r.lockExclusive(t.Context(), "prune"); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("beside one without content: %v", err)
	}
	released(t, l)
}

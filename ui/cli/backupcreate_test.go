package cli

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"berth/backend"
)

func TestBackupCreateFollowsToTheEnd(t *testing.T) {
	r := newBackupRig(t)
	r.must("not encrypted", "init")
	out := r.must("web2: backed up in 12s: 4.0G read, 2.0G new, 1.0G stored (2.0×); point abababababab", "create", "-c", "fake://hv1", "web1", "web2", "--bwlimit", "50M", "--add-tag", "gold", "--no-quiesce")
	if strings.Count(out, "backed up") != 2 {
		t.Errorf("got %s", out)
	}
	s := r.backups.specs[0]
	if s.Kind != backend.TransferBackup || s.Name != "web1" || s.VM.Host != "hv1" || s.Limit != 50<<20 || !s.Backup.NoQuiesce || !slices.Equal(s.Backup.Tags, []string{"gold"}) || s.Repo.URL != r.repo() {
		t.Errorf("ordered %+v", s)
	}
	_, _, errs := r.run("create", "-c", "fake://hv1", "web1")
	if !strings.Contains(errs, "web1: reading vda  25%  1.0G/4.0G  200M/s (mean 100M/s)  15s left  4.0×") {
		t.Errorf("progress reads %q", errs)
	}
}

func TestBackupCreateTellsWhatFailed(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	code, out, errs := r.run("create", "-c", "fake://hv1", "--all")
	if code != ExitFailed || strings.Count(out, "backed up") != 3 || !strings.Contains(errs, "broken1: failed: scratch file: not enough free space") || !strings.Contains(errs, "berth backup retry") || strings.Contains(errs, "\x1b[2J") {
		t.Errorf("code %d:\n%s%s", code, out, errs)
	}
	r.mustFail(ExitFailed, "no such VM", "create", "-c", "fake://hv1", "nosuch")
	r.mustFail(ExitUsage, "not several of them", "create", "web1", "--all")
	r.mustFail(ExitUsage, "--bwlimit", "create", "web1", "--bwlimit", "50")
	r.mustFail(ExitFailed, "read-only", "create", "-r", "-c", "fake://hv1", "web1")
}

func TestBackupCreateAsJSONIsALineAChange(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	lines := strings.Split(strings.TrimSpace(r.must("", "create", "-c", "fake://hv1", "web1", "-o", "json")), "\n")
	var last struct {
		State, Name, Point string
		Done               int64 `json:"done_bytes"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.State != "done" || last.Name != "web1" || last.Point == "" || last.Done != 4<<30 || len(lines) < 2 {
		t.Errorf("%v: %s", err, lines)
	}
}

func TestBackupCreateBoundsHowManyAreOrdered(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	r.must("web10: backed up", "create", "-c", "fake://hv1", "web1", "web2", "web10", "--jobs", "1")
	if r.backups.atOnce != 1 || len(r.backups.specs) != 3 {
		t.Errorf("%d at once, %d ordered", r.backups.atOnce, len(r.backups.specs))
	}
	r.must("4 (backup of web1): ordered", "create", "-c", "fake://hv1", "web1", "--detach")
}

// ^C cancels what was ordered and waits for its end; a lost terminal leaves it
// to the engine.
// With --jobs 2 a slow one holds up no more than its own place.
func TestBackupCreateKeepsAsManyGoing(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	r.backups.onState = func() {
		done := 0
		for i := range r.backups.state.Transfers {
			if r.backups.state.Transfers[i].State == backend.TransferDone {
				done++
			}
		}
		if done == 3 {
			r.backups.state.Transfers[0].Cancel = true
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // for who would wait for the slow one
	defer cancel()
	r.ctx = ctx
	out := r.mustFail(ExitFailed, "off1: cancelled", "create", "-c", "fake://hv1", "-c", "fake://hv2", "off1", "web2", "web10", "hv1/web1", "--jobs", "2")
	if strings.Count(out, "backed up") != 3 || r.backups.atOnce != 2 {
		t.Errorf("%d at a time:\n%s", r.backups.atOnce, out)
	}
}

// The end of a transfer is told when it is there, and not at the next look.
func TestTheEndOfATransferIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBackups{}
		w := &follower{app: &app{Program: Program{Stdout: io.Discard, Stderr: io.Discard}}, backups: b, queue: []backend.TransferSpec{{Kind: backend.TransferBackup, Name: "web1"}},
			refs: func() (backend.RepoRef, func() error, error) {
				return backend.RepoRef{}, func() error { return nil }, nil
			}}
		began := time.Now()
		if err := w.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > 0 {
			t.Errorf("waited %s though every change was told at once", d)
		}
	})
}

func TestBackupCreateAndSignals(t *testing.T) {
	for signal, want := range map[syscall.Signal]string{syscall.SIGINT: "off1: cancelled", syscall.SIGHUP: "the engine goes on"} {
		r := newBackupRig(t)
		r.must("made", "init")
		ctx, cancel := context.WithCancelCause(t.Context())
		r.ctx = ctx
		states := 0
		r.backups.onState = func() {
			if states++; states == 3 {
				cancel(&SignalError{Signal: signal})
			}
		}
		r.mustFail(128+int(signal), want, "create", "-c", "fake://hv2", "off1")
		if cancelled := len(r.backups.changes) == 1; cancelled != (signal == syscall.SIGINT) {
			t.Errorf("%v: %v", signal, r.backups.changes)
		}
	}
}

func TestTransfersAreListedAndChanged(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	r.must("ordered", "create", "-c", "fake://hv2", "off1", "--detach")
	r.must("off1", "jobs")
	r.must("pausing", "pause", "off1")
	r.must("at most 20M/s", "limit", "20M", "1")
	r.must("as fast as it goes", "limit", "none", "off1")
	r.must("cancelling", "cancel", "1")
	want := []string{"[1] pause=true resume=false cancel=false retry=false", "[1] pause=false resume=false cancel=false retry=false limit=20971520",
		"[1] pause=false resume=false cancel=false retry=false limit=0", "[1] pause=false resume=false cancel=true retry=false"}
	if !slices.Equal(r.backups.changes, want) {
		t.Errorf("got %q", r.backups.changes)
	}
	r.mustFail(ExitFailed, "no such transfer", "cancel", "99")
	r.mustFail(ExitFailed, "berth backup jobs --all", "resume", "nosuch")
	r.must("", "jobs") // lets it end
	r.must("off1: cancelled", "log")
}

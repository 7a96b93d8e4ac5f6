package model

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

func TestJobsOfOthersShowAndCanBeEnded(t *testing.T) {
	h, _, s := backupHarness(t, func(_ *fakeBackups, s *fakeStore, _ *Options) {
		s.jobs = []backend.DomainJob{
			{Host: "hv1", VM: vmB().UUID, Name: "b", Kind: "block-copy", Disk: "vda", Done: 100, Total: 1000, At: backupNow},
			{Host: "hv1", VM: vmA().UUID, Name: "a", Kind: "backup", Mine: true},
		}
	}, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()))
	if all, _ := h.app.Backups.Counts(SectionRunning); all != 2 {
		t.Fatalf("%d under way: berth's own job is its transfer, not a second line", all)
	}
	s.jobs[0].Done, s.jobs[0].At = 600, backupNow.Add(5*time.Second)
	h.pass(3 * time.Second)
	h.keys("G")
	r := h.app.Backups.SelectedRow()
	if r.Job == nil || r.Job.Rate != 100 {
		t.Fatalf("selected %+v", r)
	}
	s.jobs[0].Done, s.jobs[0].At = 900, backupNow.Add(20*time.Second)
	h.pass(3 * time.Second)
	if r = h.app.Backups.SelectedRow(); r.Rates.Mean != 40 || !slices.Equal(r.Rates.Spark, []int64{100, 20}) {
		t.Errorf("of its rates is shown %+v", r.Rates)
	}
	h.keys("p")
	h.wantStatus("somebody else started it")
	h.keys("c")
	if c := h.confirm(); !c.Danger || !strings.Contains(c.Body[0], "Berth did not start it") {
		t.Fatalf("asked %+v", c)
	}
	h.keys("y")
	if got := strings.Join(s.said, "; "); got != "abort block-copy of b" {
		t.Fatalf("said: %s", got)
	}
	h.pass(3 * time.Second)
	if all, _ := h.app.Backups.Counts(SectionRunning); all != 1 {
		t.Errorf("%d under way after it was ended", all)
	}
}

func TestTheJobOfABackupThatHasJustEndedIsNobodyElses(t *testing.T) {
	ended := transfer(1, backend.TransferBackup, backend.TransferDone, vmA())
	ended.Ended = backupNow
	h, _, s := backupHarness(t, func(_ *fakeBackups, s *fakeStore, _ *Options) {
		s.jobs = []backend.DomainJob{{Host: "hv1", VM: vmA().UUID, Name: "a", Kind: "backup", Mine: true, At: backupNow.Add(-time.Second)}}
	}, ended)
	if all, _ := h.app.Backups.Counts(SectionRunning); all != 0 {
		t.Errorf("%d under way: the job was seen before its backup ended", all)
	}
	s.jobs[0].At = backupNow.Add(time.Second)
	h.pass(10 * time.Second)
	if all, _ := h.app.Backups.Counts(SectionRunning); all != 1 {
		t.Errorf("%d under way: the job is of another store, begun since", all)
	}
}

func TestLeftoversAreOfferedUnlessTheyMayBeInUse(t *testing.T) {
	h, b, s := backupHarness(t, func(_ *fakeBackups, s *fakeStore, _ *Options) {
		s.left = []backend.Leftover{
			{Host: "hv1", VM: vmA().UUID, Name: "a", Kind: "scratch", What: "/pool/a.scratch", Size: 1 << 20},
			{Host: "hv1", VM: vmB().UUID, Name: "b", Kind: "checkpoint", What: "berth-1"},
		}
	}, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()))
	if l := h.app.Backups.Leftovers(); len(l) != 1 || l[0].Name != "b" {
		t.Fatalf("offered: %+v", l)
	}
	h.keys("L", "n")
	if len(s.said) != 0 {
		t.Fatalf("No did %v", s.said)
	}
	h.keys("L")
	b.edit(func(st *backend.BackupsState) {
		st.Transfers = append(st.Transfers, transfer(2, backend.TransferBackup, backend.TransferRunning, vmB()))
	})
	h.pass(2 * time.Second)
	h.keys("y") // b is being backed up meanwhile
	h.wantStatus("nothing is left over any more")
	b.edit(func(st *backend.BackupsState) { st.Transfers = nil })
	h.pass(2 * time.Second)
	h.keys("L", "y")
	if len(s.said) != 2 {
		t.Fatalf("said: %v", s.said)
	}
}

func TestALostEngineIsStartedAgainOnceAMinute(t *testing.T) {
	h, b, _ := backupHarness(t, func(b *fakeBackups, _ *fakeStore, _ *Options) {
		b.state.Engine, b.doErr = backend.EngineState{Lost: true}, errors.New("cannot fork")
	}, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()))
	h.pass(30 * time.Second)
	if got := strings.Join(b.done, " "); got != "engine" {
		t.Fatalf("done: %s", got)
	}
	b.doErr = nil
	h.pass(time.Minute)
	if !h.app.Backups.State.Engine.Running {
		t.Fatal("the engine was not started again")
	}
}

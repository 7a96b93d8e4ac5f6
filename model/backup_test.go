package model

import (
	"errors"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

var backupNow = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC) // the harness begins then

// backupHarness has one host with storage, whose VMs are a, b and the one that
// is off, c, and shows the transfers.
func backupHarness(t *testing.T, change func(*fakeBackups, *fakeStore, *Options), transfers ...backend.Transfer) (*harness, *fakeBackups, *fakeStore) {
	t.Helper()
	s := newFakeStore(newFakeHost("hv1", "a", "b", "-c"))
	b := newFakeBackups(backupNow, transfers...)
	opt := Options{Hosts: []backend.Host{s}, Backups: b}
	if change != nil {
		change(b, s, &opt)
	}
	h := newHarness(t, opt)
	h.pass(2 * time.Second)
	h.keys("5")
	return h, b, s
}

// the VMs of the harness, before it is made.
func vmA() backend.VM { return newFakeHost("hv1", "a", "b", "-c").vms[0] }

func vmB() backend.VM { return newFakeHost("hv1", "a", "b", "-c").vms[1] }

func vmC() backend.VM { return newFakeHost("hv1", "a", "b", "-c").vms[2] }

func TestAnOldAnswerOfTheBackupsIsDropped(t *testing.T) {
	h, b, _ := backupHarness(t, nil, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()))
	gen := h.app.Backups.gen
	h.keys("ctrl+r")
	h.run(h.app.refreshAll())
	old := b.state
	old.Transfers, old.Revision = nil, 99
	h.send(backupsMsg{gen: gen, state: old})
	if h.app.Backups.Transfer(1) == nil {
		t.Fatal("an answer to a question that was given up was shown")
	}
	b.state.Revision = 5
	h.pass(2 * time.Second)
	older := b.state
	older.Revision, older.Transfers = 4, nil
	h.send(backupsMsg{gen: h.app.Backups.gen, state: older})
	if h.app.Backups.Transfer(1) == nil {
		t.Fatal("an older state replaced a newer one")
	}
}

func TestBackupsAreAskedRarelyWhileNobodyLooks(t *testing.T) {
	h, b, s := backupHarness(t, nil)
	if b.patience > backupsPace.wait {
		t.Errorf("waits %s for a change while shown", b.patience)
	}
	h.keys("1")
	h.pass(time.Minute)
	before := b.asked
	h.pass(30 * time.Second)
	if n := b.asked - before; n > 11 || n < 2 {
		t.Errorf("asked %d times in half a minute that nobody looks", n)
	}
	if b.patience < backupsPace.wait {
		t.Errorf("waits %s for a change while hidden", b.patience)
	}
	_ = s
}

func TestFailingBackupsKeepTheLastDataAndSayWhy(t *testing.T) {
	h, b, _ := backupHarness(t, nil, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()))
	b.err = errors.New("database is locked")
	h.pass(5 * time.Second)
	if s := h.app.Backups; s.Err == nil || s.Transfer(1) == nil {
		t.Fatalf("err %v, transfer %v", s.Err, s.Transfer(1))
	}
	if _, stale := h.app.Backups.Stale(); !stale {
		t.Error("figures that cannot be had look fresh")
	}
	h.keys("p") // and what is known can be acted on
	b.err = nil
	h.pass(15 * time.Second)
	if h.app.Backups.Err != nil {
		t.Error("it answers again, and the error stays")
	}
}

func TestPauseResumeAndUndo(t *testing.T) {
	h, b, _ := backupHarness(t, nil, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()), transfer(2, backend.TransferBackup, backend.TransferDone, vmB()))
	h.keys("p")
	h.wantStatus("backup of a: paused (u undoes it)")
	h.keys("u")
	h.wantStatus("goes on")
	h.keys("l")
	h.text("x")
	if p := h.app.Overlays[0].(*Prompt); p.Err == nil {
		t.Error("x is no limit")
	}
	h.keys("backspace")
	h.text("50M")
	h.keys("enter")
	h.wantStatus("at most 50M/s")
	h.keys("u")
	h.wantStatus("no limit")
	if got := strings.Join(b.done, "; "); got != "[1] pause; [1] resume; [1] limit=52428800; [1] limit=0" {
		t.Fatalf("done: %s", got)
	}
	h.keys("j", "p")
	h.wantStatus("it has ended")
	h.keys("R")
	h.wantStatus("it ended well")
}

func TestCancelAsksAndActsOnWhatWasMeant(t *testing.T) {
	h, b, _ := backupHarness(t, nil, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()), transfer(2, backend.TransferBackup, backend.TransferRunning, vmB()))
	h.keys("c", "enter") // No
	if len(b.done) != 0 {
		t.Fatalf("enter on the default did %v", b.done)
	}
	h.keys("c")
	b.edit(func(st *backend.BackupsState) { st.Transfers[0].State = backend.TransferDone })
	h.pass(2 * time.Second)
	h.keys("y")
	h.wantStatus("nothing is left")
	h.keys(" ", " ", "c") // both are marked
	if c := h.confirm(); len(c.Names) != 2 || !strings.Contains(strings.Join(c.Names, " "), "left out: a: it has ended") {
		t.Fatalf("asked about %q", c.Names)
	}
	h.keys("y")
	if got := strings.Join(b.done, "; "); got != "[2] cancel" {
		t.Fatalf("done: %s", got)
	}
}

func TestASelectedTransferThatGoesIsNotReplacedSilently(t *testing.T) {
	h, b, _ := backupHarness(t, nil, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()), transfer(2, backend.TransferBackup, backend.TransferRunning, vmB()))
	h.keys("j")
	b.edit(func(st *backend.BackupsState) { st.Transfers = st.Transfers[:1] })
	h.pass(2 * time.Second)
	h.keys("p")
	if len(b.done) != 0 {
		t.Fatalf("p acted on another transfer: %v", b.done)
	}
	h.wantStatus("left the list")
	h.keys("p")
	if got := strings.Join(b.done, "; "); got != "[1] pause" {
		t.Fatalf("done: %s", got)
	}
}

func TestAFailureIsToldOnceWithItsReason(t *testing.T) {
	h, b, _ := backupHarness(t, nil, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()))
	b.edit(func(st *backend.BackupsState) {
		st.Transfers[0].State, st.Transfers[0].Words = backend.TransferFailed, "no space\x1b[31m left"
	})
	h.pass(2 * time.Second)
	h.wantStatus("backup of a: failed: no space�[31m left")
	n := 0
	for _, e := range h.app.Events.Entries() {
		if strings.Contains(e.Text, "no space") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("told %d times in the events", n)
	}
	if r := h.app.Backups.SelectedRow(); h.app.NextStep(r.Transfer) != "R tries it again" {
		t.Errorf("next step: %q", h.app.NextStep(r.Transfer))
	}
}

func TestReadOnlyAndMissingBackupsSayWhyNothingCanBeDone(t *testing.T) {
	h, b, s := backupHarness(t, func(_ *fakeBackups, s *fakeStore, o *Options) {
		o.ReadOnly, s.readOnly = true, true
		s.jobs = []backend.DomainJob{{Host: "hv1", VM: vmB().UUID, Name: "b", Kind: "backup"}}
		s.image("x.qcow2")
	}, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()))
	for _, k := range []string{"p", "l", "c", "v", "b", "R", "E"} {
		h.keys(k)
		h.wantStatus("read-only")
	}
	h.keys("j", "c")
	h.wantStatus("read-only")
	h.keys("6")
	for _, k := range []string{"c", "C", "n", "o", "s", "D", "R"} {
		h.keys(k)
		h.wantStatus("read-only")
	}
	h.keys("tab")
	for _, k := range []string{"s", "S", "r", "n", "A", "U"} {
		h.keys(k)
		h.wantStatus("read-only")
	}
	if len(b.done)+len(s.said) != 0 {
		t.Fatalf("done %v %v", b.done, s.said)
	}
	h, _, _ = backupHarness(t, func(_ *fakeBackups, _ *fakeStore, o *Options) {
		o.Backups, o.BackupsErr = nil, errors.New("no database here")
	})
	h.keys("b")
	h.wantStatus("no database here")
}

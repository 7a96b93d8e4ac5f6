package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"berth/backend"
	"berth/backend/store"
)

// The variables that make this binary an engine over a rig's folder, and the
// step at which it is to die: its name and which time it comes.
const (
	engineVar = "BERTH_TEST_BACKUP_ENGINE"
	diesVar   = "BERTH_TEST_DIES"
)

func testMain(m *testing.M, main func(*testing.M) int) {
	if dir := os.Getenv(labEngineVar); dir != "" {
		if err := beLabEngine(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(engineVar); dir != "" {
		if err := beEngine(dir, os.Getenv(diesVar)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(main(m))
}

// beEngine runs what a rig has to do until nothing is left, or dies as kill -9
// would have it.
func beEngine(dir, dies string) error {
	h, err := newFakeHost(filepath.Join(dir, "host"))
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(context.Background())
	defer end()
	s, err := store.Open(ctx, filepath.Join(dir, "berth.db"))
	if err != nil {
		return err
	}
	o := optionsFor(dir, s, h)
	o.Fault = func(step string) error {
		if f, err := os.OpenFile(filepath.Join(dir, "steps"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			fmt.Fprintln(f, step)
			f.Close() //nolint:errcheck // a test's
		}
		if step == dies {
			syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // nothing comes after it
			select {}
		}
		return nil
	}
	m, err := New(o)
	if err != nil {
		return err
	}
	go func() {
		defer end()
		for {
			left := 0
			rev, err := s.Revisions(ctx)
			if err != nil {
				return
			}
			if s.View(ctx, func(tx *store.Tx) error {
				all, err := tx.Transfers(store.TransferFilter{Active: true})
				left = len(all)
				return err
			}) != nil || left == 0 {
				return
			}
			if s.WaitTransfers(ctx, rev.Transfers+rev.Catalogue) != nil {
				return
			}
		}
	}()
	return errors.Join(m.Run(ctx, 0), s.Close())
}

// engine runs such an engine to its end.
func (r *rig) engine(dies string) (killed bool) {
	r.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), engineVar+"="+r.dir, diesVar+"="+dies)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return true
	}
	if err != nil {
		r.Fatalf("%v: %s", err, out)
	}
	return false
}

// steps are those that an engine came to, each once.
func (r *rig) steps() (list []string) {
	r.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, "steps"))
	if err != nil {
		r.Fatal(err)
	}
	for _, s := range splitLines(string(b)) {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

func splitLines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }

// TestKilledAtEveryStepOfABackup kills the engine with SIGKILL at each step of a
// full and of an incremental backup; the next one ends it well: one point, right
// to the byte, and nothing left on the host.
func TestKilledAtEveryStepOfABackup(t *testing.T) {
	calm := newRig(t)
	calm.vm("web1", true)
	calm.backup("web1")
	calm.engine("")
	calm.ends(1, backend.TransferDone)
	steps := calm.steps()
	if len(steps) < 14 {
		t.Fatalf("there are only %d steps: %v", len(steps), steps)
	}
	for _, incremental := range []bool{false, true} {
		for _, step := range steps {
			t.Run(fmt.Sprintf("%v %s", incremental, step), func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				r.vm("web1", true)
				points := 1
				if incremental {
					r.backup("web1")
					r.engine("")
					r.change("web1", "vda", 5<<20, []byte("changed"))
					points++
				}
				was := r.image("web1", "vda")
				id := r.backup("web1")
				if !r.engine(step) {
					t.Fatal("it did not die")
				}
				if r.engine("") {
					t.Fatal("it died again")
				}
				r.ends(id, backend.TransferDone)
				r.clean()
				m := r.manifests()
				if len(m) != points {
					t.Errorf("%d points", len(m))
				}
				r.same(m[0], "vda", was)
				if incremental && step != "begin/done" && m[0].Full {
					t.Errorf("it is full: %s", m[0].Why)
				}
				r.change("web1", "vda", 1<<20, []byte("again"))
				last := r.backup("web1")
				r.engine("")
				if x := r.ends(last, backend.TransferDone); x.Progress.Why != "" {
					t.Errorf("the next is full: %s", x.Progress.Why)
				}
				r.same(r.manifests()[0], "vda", r.image("web1", "vda"))
				r.clean()
			})
		}
	}
}

// TestKilledAtEveryStepOfARestore: the VM is as it was before, or as it was in
// the backup, whatever happens; in the end it is the latter.
func TestKilledAtEveryStepOfARestore(t *testing.T) {
	for _, name := range []string{"", "copy"} {
		calm := newRestored(t)
		calm.restore(name)
		calm.engine("")
		calm.ends(2, backend.TransferDone)
		for _, step := range calm.steps() {
			if !slices.Contains(backupSteps, step) {
				t.Run(name+" "+step, func(t *testing.T) {
					t.Parallel()
					r := newRestored(t)
					was := r.manifests()[0]
					id := r.restore(name)
					if !r.engine(step) {
						t.Fatal("it did not die")
					}
					if r.engine("") {
						t.Fatal("it died again")
					}
					r.ends(id, backend.TransferDone)
					vm := name
					if vm == "" {
						vm = "web1"
					}
					for _, disk := range []string{"vda", "vdb"} {
						r.same(was, disk, r.image(vm, disk))
					}
					r.clean()
				})
			}
		}
	}
}

// backupSteps are the steps of the backup that newRestored makes.
var backupSteps = []string{
	"ask/before", "ask/done", "begin/before", "begin/done", "begun/before", "begun/done", "read", "disk", "commit/before", "commit/done",
	"committed/before", "committed/done", "commit session/before", "commit session/done",
}

// newRestored is a rig whose VM was backed up and has changed since.
func newRestored(t *testing.T) *rig {
	r := newRig(t)
	r.vm("web1", false)
	r.backup("web1")
	r.engine("")
	r.change("web1", "vda", 1<<20, []byte("what is not to stay"))
	return r
}

func (r *rig) restore(name string, more ...func(*backend.TransferSpec)) backend.TransferID {
	r.Helper()
	s := backend.TransferSpec{Kind: backend.TransferRestore, Name: "web1", VM: backend.Key{Host: "hv1"},
		Restore: backend.RestoreSpec{Point: r.manifests()[0].ID, NewName: name}}
	if name == "" {
		s.VM.UUID = uuidOf("web1")
	}
	for _, f := range more {
		f(&s)
	}
	return r.order(s)
}

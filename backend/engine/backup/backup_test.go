package backup

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"berth/backend"
	"berth/backend/backendtest/lab"
)

func TestMain(m *testing.M) { testMain(m, lab.Main) }

func TestFullThenIncremental(t *testing.T) {
	r := newRig(t)
	r.vm("web1", true)
	r.start()
	x := r.ends(r.backup("web1"), backend.TransferDone)
	first := r.manifests()[0]
	if x.Point != first.ID || !first.Full || first.Why != "the first of this VM in this repository" || first.Checkpoint == "" || !first.Running {
		t.Errorf("%+v made %+v", x, first)
	}
	r.same(first, "vda", r.image("web1", "vda"))
	r.same(first, "vdb", r.image("web1", "vdb"))
	before := r.image("web1", "vda")
	r.change("web1", "vda", 5<<20+7, []byte("changed"))
	x = r.ends(r.backup("web1"), backend.TransferDone)
	second := r.manifests()[0]
	if second.Full || second.Base != first.ID || second.Read != 1<<20 || x.Progress.Done != 1<<20 || x.Progress.Total != 1<<20 || x.Progress.Why != "" {
		t.Errorf("the incremental one is %+v, its progress %+v", second, x.Progress)
	}
	r.same(second, "vda", r.image("web1", "vda"))
	r.same(first, "vda", before)
	r.clean()
	r.known(func(s *fakeState) {
		if c := s.VMs["web1"].Checkpoints; len(c) != 1 || c[0] != second.Checkpoint {
			t.Errorf("checkpoints %v", c)
		}
	})
	st := r.until("the catalogue", func(s *backend.BackupsState) bool { return len(s.Points) == 2 })
	if p := st.Points[0]; p.ID != second.ID || p.Full || p.Read != 1<<20 || len(p.Disks) != 2 || p.Owner != "ann" || p.Size != 11<<20+512 {
		t.Errorf("the catalogue has %+v", p)
	}
	if len(st.Repos) != 1 || st.Repos[0].ID == "" || st.Repos[0].Points != 2 {
		t.Errorf("repositories %+v", st.Repos)
	}
}

// A checkpoint that is gone, one whose bitmap is of no use, and a wish make a
// full backup, which says why.
func TestWhyItIsFull(t *testing.T) {
	r := newRig(t)
	r.vm("web1", true)
	r.start()
	r.ends(r.backup("web1"), backend.TransferDone)
	for _, c := range []struct {
		name, why string
		before    func()
		spec      func(*backend.TransferSpec)
	}{
		{"asked", "a full one was asked for", func() {}, func(s *backend.TransferSpec) { s.Backup.Full = true }},
		{"gone", "the checkpoint of the last backup is gone", func() {
			r.known(func(s *fakeState) { r.host.drop(s.VMs["web1"], s.VMs["web1"].Checkpoints[0]) })
		}, func(*backend.TransferSpec) {}},
		{"bitmap", "its changes since the last backup are not known: ", func() {
			n := 0
			r.host.hook = func(op string) error {
				if op == "begin" {
					if n++; n == 1 {
						return fmt.Errorf("%w: in use", backend.ErrBitmap)
					}
				}
				return nil
			}
		}, func(*backend.TransferSpec) {}},
	} {
		c.before()
		x := r.ends(r.backup("web1", c.spec), backend.TransferDone)
		m := r.manifests()[0]
		if !m.Full || !strings.HasPrefix(m.Why, c.why) || x.Progress.Why != m.Why {
			t.Errorf("%s: full %v because %q", c.name, m.Full, m.Why)
		}
		r.same(m, "vda", r.image("web1", "vda"))
		r.host.hook = nil
	}
	r.clean()
}

// A VM that is off is read from its images, with no checkpoint.
func TestOfAVMThatIsOff(t *testing.T) {
	r := newRig(t)
	r.vm("web1", false)
	r.start()
	r.ends(r.backup("web1"), backend.TransferDone)
	r.ends(r.backup("web1"), backend.TransferDone)
	m := r.manifests()
	if len(m) != 2 || m[0].Running || m[0].Checkpoint != "" || m[0].Why != "the last backup could make no checkpoint" || m[0].New != 0 {
		t.Errorf("%+v", m)
	}
	r.clean()
}

// Two repositories each have checkpoints of their own, so that taking turns
// keeps both incremental.
func TestTwoRepositoriesTakeTurns(t *testing.T) {
	r := newRig(t)
	r.vm("web1", true)
	r.initRepo("other")
	r.start()
	to := func(name string) backend.TransferID {
		ids, err := r.c.Start(t.Context(), []backend.TransferSpec{{Kind: backend.TransferBackup, Name: "web1", VM: backend.Key{Host: "hv1", UUID: uuidOf("web1")},
			Repo: backend.RepoRef{URL: r.dir + "/" + name}}})
		if err != nil {
			t.Fatal(err)
		}
		return ids[0]
	}
	for _, name := range []string{"repo", "other"} {
		r.ends(to(name), backend.TransferDone)
	}
	r.change("web1", "vda", 0, []byte("x"))
	for _, name := range []string{"repo", "other"} {
		if x := r.ends(to(name), backend.TransferDone); x.Progress.Why != "" || x.Progress.Done != 1<<20 {
			t.Errorf("to %s: %+v", name, x.Progress)
		}
	}
	r.known(func(s *fakeState) {
		if c := s.VMs["web1"].Checkpoints; len(c) != 2 {
			t.Errorf("checkpoints %v", c)
		}
	})
	r.clean()
}

// Whatever the host refuses, nothing is left behind on it; what may pass is
// tried again.
func TestFailuresOfTheHost(t *testing.T) {
	for _, c := range []struct {
		op    string
		err   error
		times int
		want  backend.TransferState
	}{
		{"facts", backend.ErrUnreachable, 1, backend.TransferDone},
		{"facts", backend.ErrNoDomain, 1, backend.TransferFailed},
		{"facts", backend.ErrUnreachable, 99, backend.TransferFailed},
		{"begin", backend.ErrBusy, 2, backend.TransferDone},
		{"begin", backend.ErrNoRoom, 1, backend.TransferFailed},
		{"begun", backend.ErrTimeout, 1, backend.TransferDone}, // it has begun, and nobody knows
		{"begun", backend.ErrTimeout, 99, backend.TransferFailed},
		{"watch", backend.ErrNoRoom, 1, backend.TransferFailed},
		{"watch", backend.ErrUnreachable, 1, backend.TransferDone},
		{"commit", backend.ErrUnreachable, 1, backend.TransferDone},
		{"commit", backend.ErrInvalid, 1, backend.TransferDone},
	} {
		t.Run(fmt.Sprintf("%s %v %d", c.op, c.err, c.times), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.vm("web1", true)
			n := 0
			r.host.hook = func(op string) error {
				if op == c.op {
					if n++; n <= c.times {
						return fmt.Errorf("%w: as the test wants it", c.err)
					}
				}
				return nil
			}
			r.start()
			x := r.ends(r.backup("web1"), c.want)
			if c.want == backend.TransferFailed && !strings.Contains(x.Words, c.err.Error()) {
				t.Errorf("it says %q", x.Words)
			}
			if n < min(c.times, 2) && c.times > 1 {
				t.Errorf("it was tried %d times", n)
			}
			r.stop()
			r.clean()
			if got, want := len(r.manifests()), map[bool]int{true: 1}[c.want == backend.TransferDone]; got != want {
				t.Errorf("%d points, want %d", got, want)
			}
		})
	}
}

// A VM that is started while its images are read: what was read is not of one
// moment, and no point is left of it.
func TestStartedWhileItsImagesAreRead(t *testing.T) {
	r := newRig(t)
	r.vm("web1", false)
	started := false
	r.host.hook = func(op string) error {
		if op == "commit" && !started {
			started = true
			r.known2(func(s *fakeState) { s.VMs["web1"].Running = true })
		}
		return nil
	}
	r.start()
	x := r.ends(r.backup("web1"), backend.TransferDone)
	m := r.manifests()
	if x.Attempts != 2 || len(m) != 1 || !m[0].Running {
		t.Errorf("%d attempts, %+v", x.Attempts, m)
	}
	r.clean()
}

// known2 is known within a hook.
func (r *rig) known2(f func(s *fakeState)) {
	h := &fakeHost{dir: r.host.dir}
	if err := h.with("", func(s *fakeState) error { f(s); return nil }); err != nil {
		r.Error(err)
	}
}

func TestCancelAndPause(t *testing.T) {
	r := newRig(t)
	r.vm("web1", true)
	r.vm("web2", true)
	r.start()
	slow := func(s *backend.TransferSpec) { s.Limit = 1 << 20 }
	id := r.backup("web1", slow)
	running := func(id backend.TransferID, state backend.TransferState, phase backend.Phase) {
		t.Helper()
		r.until(string(state), func(s *backend.BackupsState) bool {
			for _, x := range s.Transfers {
				if x.ID == id {
					return x.State == state && (phase == "" || x.Progress.Phase == phase)
				}
			}
			return false
		})
	}
	running(id, backend.TransferRunning, backend.PhaseReading)
	change := func(id backend.TransferID, c backend.TransferChange) {
		t.Helper()
		if err := r.c.Change(t.Context(), []backend.TransferID{id}, c); err != nil {
			t.Fatal(err)
		}
	}
	change(id, backend.TransferChange{Pause: true})
	running(id, backend.TransferPaused, "")
	change(id, backend.TransferChange{Cancel: true})
	x := r.ends(id, backend.TransferCancelled)
	r.clean()
	if len(r.manifests()) != 0 || x.Words != "cancelled" {
		t.Errorf("cancelled: %+v", x)
	}
	other := r.backup("web2", slow)
	running(other, backend.TransferRunning, backend.PhaseReading)
	change(other, backend.TransferChange{Pause: true})
	running(other, backend.TransferPaused, "")
	none := int64(0)
	change(other, backend.TransferChange{Resume: true, Limit: &none})
	r.ends(other, backend.TransferDone)
	change(id, backend.TransferChange{Retry: true, Limit: &none})
	r.ends(id, backend.TransferDone)
	if err := r.c.Change(t.Context(), []backend.TransferID{id}, backend.TransferChange{Pause: true}); err == nil {
		t.Error("one that has ended can be paused")
	}
	r.clean()
}

// The engine ends in the midst; the next one reads on from the session that
// lives, and does not store again what was stored.
func TestTheEngineEndsInTheMidst(t *testing.T) {
	r := newRig(t)
	r.vm("web1", true)
	r.start()
	id := r.backup("web1", func(s *backend.TransferSpec) { s.Limit = 2 << 20 })
	r.until("some progress", func(s *backend.BackupsState) bool { return s.Transfers[0].Progress.Done > 0 })
	r.stop()
	x := r.transfer(id)
	if x.State != backend.TransferRunning || x.Attempts != 1 {
		t.Errorf("left behind: %+v", x)
	}
	was := r.image("web1", "vda")
	r.change("web1", "vda", 0, []byte("after the point in time"))
	definition := ""
	r.known(func(s *fakeState) {
		vm := s.VMs["web1"]
		definition = vm.XML
		vm.XML = strings.Replace(vm.XML, "<os>", "<title>later</title><os>", 1)
	})
	none := int64(0)
	if err := r.c.Change(t.Context(), []backend.TransferID{id}, backend.TransferChange{Limit: &none}); err != nil {
		t.Fatal(err)
	}
	r.start()
	x = r.ends(id, backend.TransferDone)
	if x.Attempts != 1 {
		t.Errorf("%d attempts", x.Attempts)
	}
	r.same(r.manifests()[0], "vda", was)
	r.vault(func(v vault) { // the definition is of the point's moment too
		m := r.manifests()[0]
		for _, f := range m.Files {
			if f.Kind != "xml" && f.Kind != "stored-xml" {
				continue
			}
			if b, err := v.ReadFile(t.Context(), &m, f); err != nil || string(b) != definition {
				t.Errorf("%s is of another moment, %v: %s", f.Kind, err, b)
			}
		}
	})
	if bytes.Equal(was, r.image("web1", "vda")) {
		t.Error("the guest did not write")
	}
	r.clean()
	r.known(func(s *fakeState) {
		if s.Count != 1 {
			t.Errorf("%d sessions were begun", s.Count)
		}
	})
}

// The VM is forced off while it is backed up: what follows is a backup of its
// images.
func TestForcedOffInTheMidst(t *testing.T) {
	r := newRig(t)
	r.vm("web1", true)
	r.start()
	id := r.backup("web1", func(s *backend.TransferSpec) { s.Limit = 2 << 20 })
	r.until("some progress", func(s *backend.BackupsState) bool { return s.Transfers[0].Progress.Done > 0 })
	if err := r.host.Do(t.Context(), backend.Action{Verb: backend.VerbDestroy, UUID: uuidOf("web1")}); err != nil {
		t.Fatal(err)
	}
	none := int64(0)
	if err := r.c.Change(t.Context(), []backend.TransferID{id}, backend.TransferChange{Limit: &none}); err != nil {
		t.Fatal(err)
	}
	r.ends(id, backend.TransferDone)
	m := r.manifests()
	if len(m) != 1 {
		t.Errorf("%+v", m)
	}
	r.clean()
}

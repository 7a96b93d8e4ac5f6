package backup

import (
	"path/filepath"
	"strings"
	"testing"

	"berth/backend"
)

// beside adds a second host to a rig, hv2.
func (r *rig) beside() *fakeHost {
	r.Helper()
	h, err := newFakeHost(filepath.Join(r.dir, "host2"))
	if err != nil {
		r.Fatal(err)
	}
	h.name = "hv2"
	hosts := map[string]backend.Host{"hv1": r.host, "hv2": h}
	r.opt.Hosts = map[string]string{"hv1": r.host.URI(), "hv2": h.URI()}
	r.fleet = append(r.fleet, h)
	r.opt.Connect = func(name, _ string) (backend.Host, error) { return hosts[name], nil }
	return h
}

// A VM that was migrated after its backup was ordered is backed up where it is,
// once that host can be asked.
func TestAVMThatHasMoved(t *testing.T) {
	r := newRig(t)
	there := r.beside()
	if err := there.add("web1", true, map[string][]byte{"vda": content(1, 1<<20)}); err != nil {
		t.Fatal(err)
	}
	silent := true
	there.hook = func(op string) error {
		if op == "poll" && silent {
			silent = false
			return backend.ErrUnreachable
		}
		return nil
	}
	id := r.backup("web1")
	r.start()
	x := r.ends(id, backend.TransferDone)
	if x.Spec.VM.Host != "hv2" || x.Attempts != 2 {
		t.Errorf("it was backed up on %s in %d attempts", x.Spec.VM.Host, x.Attempts)
	}
	if m := r.manifests(); len(m) != 1 || m[0].Host != "hv2" {
		t.Errorf("the points are %+v", m)
	}
	if !hasEvent(r.events(), "backup moved web1: the VM is not on hv1") {
		t.Errorf("events %q", r.events())
	}
}

// One that is nowhere fails at once, and says so.
func TestAVMThatIsGone(t *testing.T) {
	r := newRig(t)
	r.beside()
	id := r.backup("web1")
	r.start()
	x := r.ends(id, backend.TransferFailed)
	if x.Attempts != 1 || !strings.Contains(x.Words, backend.ErrNoDomain.Error()) {
		t.Errorf("after %d attempts: %s", x.Attempts, x.Words)
	}
	log, err := r.c.Log(t.Context(), backend.LogQuery{})
	if err != nil || len(log) != 1 || log[0].What != "backup failed" {
		t.Errorf("the log has %+v, %v", log, err)
	}
}

// What libvirt has forgotten in a migration is gone on from all the same, and
// dropped once the backup is safe, also when a full one is asked for.
func TestACheckpointThatIsForgotten(t *testing.T) {
	for _, full := range []bool{false, true} {
		r := newRig(t)
		r.vm("web1", true)
		r.start()
		r.ends(r.backup("web1"), backend.TransferDone)
		var forgotten string
		r.known(func(s *fakeState) {
			vm := s.VMs["web1"]
			forgotten = vm.Checkpoints[0]
			vm.Checkpoints, vm.Forgotten = nil, vm.Checkpoints
		})
		var dropped []string
		r.host.hook = func(op string) error {
			if op == "begun" {
				r.known(func(s *fakeState) {
					for _, x := range s.Sessions {
						dropped = x.Drop
					}
				})
			}
			return nil
		}
		r.ends(r.backup("web1", func(s *backend.TransferSpec) { s.Backup.Full = full }), backend.TransferDone)
		if m := r.manifests(); len(m) != 2 || m[0].Full != full || m[0].Why != map[bool]string{true: "a full one was asked for"}[full] {
			t.Errorf("full asked for: %v; the point is %+v", full, m[0])
		}
		if len(dropped) != 1 || dropped[0] != forgotten {
			t.Errorf("dropped %q, want %q", dropped, forgotten)
		}
	}
}

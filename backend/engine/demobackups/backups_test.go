package demobackups

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/backend"
	"berth/backend/demo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a fleet with its backups, whose past is made.
type rig struct {
	*Backups
	t     testing.TB
	fleet *demo.Fleet
}

func newRig(t testing.TB, o demo.Options) *rig {
	t.Helper()
	o.Dir = t.TempDir()
	f := demo.New(o)
	b, err := Open(t.Context(), Options{Hosts: f.Hosts(), Keeper: demo.Keeper, Who: "ada", Settled: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(b.Close(), f.Close()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return &rig{b, t, f}
}

func (r *rig) state() backend.BackupsState {
	r.t.Helper()
	st, err := r.State(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return st
}

// order starts a transfer and waits until it has ended.
func (r *rig) order(s backend.TransferSpec) backend.Transfer {
	r.t.Helper()
	s.Repo = r.state().Repos[0].Ref
	ids, err := r.Start(r.t.Context(), []backend.TransferSpec{s})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	for {
		st, err := r.State(ctx)
		if err != nil {
			r.t.Fatal(err)
		}
		i := slices.IndexFunc(st.Transfers, func(x backend.Transfer) bool { return x.ID == ids[0] })
		if x := st.Transfers[i]; x.State.Ended() {
			return x
		}
		if err := r.Wait(ctx, st.Revision); err != nil {
			r.t.Fatalf("%+v: %v", st.Transfers[i], err)
		}
	}
}

// vm is a running machine with that tag.
func (r *rig) vm(tag string) (backend.Host, backend.VM) {
	r.t.Helper()
	for _, h := range r.fleet.Hosts() {
		p, err := h.Poll(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		for _, v := range p.VMs {
			if slices.Contains(v.Tags, tag) && v.State == backend.Running {
				return h, v
			}
		}
	}
	r.t.Fatalf("no %s is running", tag)
	return nil, backend.VM{}
}

func TestThePast(t *testing.T) {
	r := newRig(t, demo.Options{Seed: 1})
	st := r.state()
	if len(st.Repos) != 1 || st.Repos[0].Trouble != "" || st.Repos[0].Points != len(st.Points) || !st.Engine.Running || st.Engine.Trouble != "" {
		t.Fatalf("%+v %+v", st.Repos, st.Engine)
	}
	var full, verified, damaged int
	vms := map[backend.UUID]bool{}
	for _, p := range st.Points {
		vms[p.VM] = true
		full += count(p.Full)
		verified += count(!p.Verified.IsZero())
		damaged += count(p.Damaged != "")
		if p.Size == 0 || p.Data == 0 || p.Read == 0 || p.Took <= 0 || time.Since(p.At) < time.Hour || (p.Why != "") != p.Full {
			t.Errorf("%+v", p)
		}
	}
	if len(st.Points) < 25 || len(vms) < 8 || full != len(vms) || verified == 0 || damaged != 1 {
		t.Errorf("%d points of %d machines, %d full, %d verified, %d damaged", len(st.Points), len(vms), full, verified, damaged)
	}
	if len(st.Schedules) != 3 || st.Schedules[0].LastBad == "" || st.Schedules[0].Next.IsZero() {
		t.Errorf("%+v", st.Schedules)
	}
	var done, failed int
	for _, x := range st.Transfers {
		done += count(x.State == backend.TransferDone)
		failed += count(x.State == backend.TransferFailed)
	}
	if done < 5 || failed != 1 {
		t.Errorf("%d transfers were done, %d failed", done, failed)
	}
	if st.Repos[0].Stored > 80<<20 {
		t.Errorf("the repository takes %d MiB", st.Repos[0].Stored>>20)
	}
	t.Logf("%d points, %d MiB stored", len(st.Points), st.Repos[0].Stored>>20)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A backup of today goes on from the past; what is restored of it is what the
// guest had written, as a copy that runs.
func TestBackUpAndRestore(t *testing.T) {
	r := newRig(t, demo.Options{Seed: 1, Calm: true, Speed: 20})
	h, vm := r.vm("web")
	fast := int64(1 << 40)
	x := r.order(backend.TransferSpec{Kind: backend.TransferBackup, VM: vm.Key(), Name: vm.Name, Limit: fast})
	if x.State != backend.TransferDone || x.Point == "" || x.Progress.Why != "" {
		t.Fatalf("%s: %s; %q", x.State, x.Words, x.Progress.Why)
	}
	st := r.state()
	p := st.Points[slices.IndexFunc(st.Points, func(p backend.Point) bool { return p.ID == x.Point })]
	if p.Full || p.Read == 0 || p.Read >= p.Data {
		t.Errorf("the incremental one: %+v", p)
	}
	x = r.order(backend.TransferSpec{Kind: backend.TransferRestore, VM: backend.Key{Host: h.Name()}, Name: "copy", Limit: fast,
		Restore: backend.RestoreSpec{Point: p.ID, NewName: "copy", Pool: "default", Start: true}})
	if x.State != backend.TransferDone {
		t.Fatalf("restore: %s: %s", x.State, x.Words)
	}
	poll, err := h.Poll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(poll.VMs, func(v backend.VM) bool { return v.Name == "copy" })
	if i < 0 || !poll.VMs[i].State.Active() || poll.VMs[i].UUID == vm.UUID {
		t.Fatalf("the copy: %+v", poll.VMs)
	}
	x = r.order(backend.TransferSpec{Kind: backend.TransferVerify, Limit: fast})
	if x.State != backend.TransferFailed || !strings.Contains(x.Words, "damaged") {
		t.Errorf("verify, with one point damaged: %s: %s", x.State, x.Words)
	}
}

// A machine that is destroyed and deleted, disks and all, comes back in place.
func TestDestroyedComesBack(t *testing.T) {
	r := newRig(t, demo.Options{Seed: 1, Calm: true, Speed: 20})
	h, vm := r.vm("app")
	x := r.order(backend.TransferSpec{Kind: backend.TransferBackup, VM: vm.Key(), Name: vm.Name, Limit: 1 << 40})
	if x.State != backend.TransferDone {
		t.Fatalf("%s: %s", x.State, x.Words)
	}
	for _, a := range []backend.Action{{Verb: backend.VerbDestroy}, {Verb: backend.VerbUndefine,
		Delete: backend.UndefineOptions{Storage: true, Snapshots: true, NVRAM: true, ManagedSave: true}}} {
		a.UUID, a.Name = vm.UUID, vm.Name
		if err := h.Do(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	x = r.order(backend.TransferSpec{Kind: backend.TransferRestore, VM: vm.Key(), Name: vm.Name, Limit: 1 << 40,
		Restore: backend.RestoreSpec{Point: x.Point, Start: true}})
	if x.State != backend.TransferDone {
		t.Fatalf("restore: %s: %s", x.State, x.Words)
	}
	poll, err := h.Poll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(poll.VMs, func(v backend.VM) bool { return v.UUID == vm.UUID })
	if i < 0 || !poll.VMs[i].State.Active() || poll.VMs[i].Name != vm.Name {
		t.Fatal("it did not come back")
	}
	x = r.order(backend.TransferSpec{Kind: backend.TransferBackup, VM: vm.Key(), Name: vm.Name, Limit: 1 << 40})
	if x.State != backend.TransferDone || x.Progress.Why == "" {
		t.Errorf("the backup after it: %s: %s; full because %q", x.State, x.Words, x.Progress.Why)
	}
}

// An image is copied to several places, for real.
func TestCopyAnImage(t *testing.T) {
	r := newRig(t, demo.Options{Seed: 1, Calm: true, VMs: 6})
	h := r.fleet.Hosts()[0]
	const from, dir = "/var/lib/libvirt/images/lift-and-shift.raw", "/var/lib/libvirt/images/"
	x := r.order(backend.TransferSpec{Kind: backend.TransferCopy, VM: backend.Key{Host: h.Name()}, Name: from, Limit: 1 << 40,
		Image: backend.CopySpec{Source: from, Targets: []string{dir + "a.raw", dir + "b.raw"}}})
	if x.State != backend.TransferDone {
		t.Fatalf("%s: %s", x.State, x.Words)
	}
	want := read(t, h, from)
	for _, name := range []string{"a.raw", "b.raw"} {
		if got := read(t, h, dir+name); got != want || want == "" {
			t.Errorf("%s differs", name)
		}
	}
}

// read is where the image's data of its own lie.
func read(t *testing.T, h backend.Host, path string) string {
	t.Helper()
	img, err := h.(backend.ImageOpener).OpenImage(t.Context(), path, "")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(img.Access().File)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := io.ReadAll(io.NewSectionReader(f, 64<<20, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// At the demo's pace a backup can be watched, and not for long.
func TestPaceIsTheTransfersOwnLimit(t *testing.T) {
	r := newRig(t, demo.Options{Seed: 1, Calm: true, VMs: 6})
	_, vm := r.vm("web")
	x := r.order(backend.TransferSpec{Kind: backend.TransferBackup, VM: vm.Key(), Name: vm.Name, Backup: backend.BackupSpec{Full: true}})
	took := x.Ended.Sub(x.Started)
	if x.State != backend.TransferDone || x.Spec.Limit != Pace || took < 3*time.Second || took > 40*time.Second {
		t.Errorf("%s after %v with a limit of %d", x.State, took, x.Spec.Limit)
	}
	t.Logf("%d KiB read in %v", x.Progress.Done>>10, took)
}

// Whoever may change nothing sees the past, and orders nothing.
func TestReadOnly(t *testing.T) {
	r := newRig(t, demo.Options{Seed: 1, ReadOnly: true, VMs: 6})
	st := r.state()
	if len(st.Points) == 0 || len(st.Schedules) != 0 {
		t.Errorf("%d points, %d schedules", len(st.Points), len(st.Schedules))
	}
	_, vm := r.vm("web")
	_, err := r.Start(t.Context(), []backend.TransferSpec{{Kind: backend.TransferBackup, VM: vm.Key(), Name: vm.Name, Repo: st.Repos[0].Ref}})
	if !errors.Is(err, backend.ErrReadOnly) {
		t.Errorf("a backup was ordered: %v", err)
	}
}

// Closing ends the making of the past.
func TestCloseAtOnce(t *testing.T) {
	f := demo.New(demo.Options{Seed: 1, Dir: t.TempDir()})
	began := time.Now()
	b, err := Open(t.Context(), Options{Hosts: f.Hosts(), Keeper: demo.Keeper})
	if err != nil {
		t.Fatal(err)
	}
	opened := time.Since(began)
	if err := errors.Join(b.Close(), b.Close(), f.Close()); err != nil {
		t.Error(err)
	}
	t.Logf("opened in %v, closed %v later", opened, time.Since(began)-opened)
}

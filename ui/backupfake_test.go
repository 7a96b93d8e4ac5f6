package ui

import (
	"context"
	"fmt"
	"strings"
	"time"

	"berth/backend"
	"berth/model"
)

// fakeBackups are backups of which a test says what they are.
type fakeBackups struct {
	state backend.BackupsState
	err   error
	done  []string
}

func (b *fakeBackups) State(context.Context) (backend.BackupsState, error) { return b.state, b.err }
func (b *fakeBackups) Wait(_ context.Context, revision int64) error {
	if b.state.Revision != revision {
		return nil
	}
	return context.DeadlineExceeded
}
func (b *fakeBackups) Start(_ context.Context, specs []backend.TransferSpec) ([]backend.TransferID, error) {
	for i := range specs {
		b.done = append(b.done, fmt.Sprintf("%+v", specs[i]))
	}
	return nil, b.err
}
func (b *fakeBackups) Change(_ context.Context, ids []backend.TransferID, c backend.TransferChange) error {
	b.done = append(b.done, fmt.Sprintf("change %v %+v", ids, c))
	return b.err
}
func (b *fakeBackups) Refresh(context.Context, backend.RepoRef) error { return b.err }
func (b *fakeBackups) PutSchedule(_ context.Context, s backend.Schedule) (int64, error) {
	b.done = append(b.done, "schedule "+s.Name)
	return s.ID, b.err
}
func (b *fakeBackups) RemoveSchedule(context.Context, int64) error { return b.err }
func (b *fakeBackups) RunSchedule(context.Context, int64) ([]backend.TransferID, error) {
	return nil, b.err
}
func (b *fakeBackups) Close() error { return nil }

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

const mib = 1 << 20

// livingBackups are backups of the VMs given, with a transfer in every state
// that a person may see, and points of every kind.
func livingBackups(now time.Time, vms []backend.VM) *fakeBackups {
	b := &fakeBackups{}
	repo := backend.RepoRef{URL: "/backup/main"}
	vault := backend.RepoRef{URL: "sftp://vault.example.net/backup/fleet", PassphraseFile: "/etc/berth/pass"}
	st := &b.state
	*st = backend.BackupsState{At: now, Revision: 1, Engine: backend.EngineState{Running: true, PID: 4711, Beat: now}}
	st.Repos = []backend.RepoState{
		{Ref: repo, ID: "aa", Points: 60, Stored: 48 * gib, Room: 212 * gib, ReadAt: now, Verified: now.Add(-26 * time.Hour)},
		{Ref: vault, ID: "bb", Encrypted: true, ReadAt: now.Add(-2 * time.Hour), Trouble: "dial tcp 192.0.2.7:22: connect: no route to host"},
	}
	id := backend.TransferID(0)
	add := func(kind backend.TransferKind, state backend.TransferState, vm backend.VM, change func(*backend.Transfer)) {
		id++
		t := backend.Transfer{ID: id, Owner: "alice", State: state, Ordered: now.Add(-10 * time.Minute), Started: now.Add(-2 * time.Minute), Attempts: 1,
			Spec: backend.TransferSpec{Kind: kind, VM: vm.Key(), Name: vm.Name, Repo: repo}}
		t.Progress.At = now
		if change != nil {
			change(&t)
		}
		st.Transfers = append(st.Transfers, t)
	}
	spark := []int64{40, 120, 180, 210, 205, 190, 60, 150, 210, 214, 208, 211}
	for i := range spark {
		spark[i] *= mib
	}
	add(backend.TransferBackup, backend.TransferRunning, vms[0], func(t *backend.Transfer) {
		t.Progress = backend.Progress{At: now, Phase: backend.PhaseReading, Disk: "vda", Done: 1228 * mib, Total: 2867 * mib, New: 900 * mib, Out: 410 * mib, Rate: 210 * mib, Mean: 180 * mib, ETA: 8 * time.Second,
			Spark: spark, Waits: "compressing", Why: "the checkpoint is inconsistent", Disks: []backend.DiskDone{{Disk: "vda", Done: 1228 * mib, Total: 2048 * mib}, {Disk: "vdb", Total: 819 * mib}}}
	})
	add(backend.TransferRestore, backend.TransferPaused, vms[1], func(t *backend.Transfer) {
		t.Pause = true
		t.Spec.Restore = backend.RestoreSpec{Point: "p7", NewName: vms[1].Name + "-restored", Pool: "default"}
		t.Progress = backend.Progress{At: now, Phase: backend.PhaseWriting, Disk: "vda", Done: 6 * gib, Total: 9 * gib, Mean: 320 * mib}
	})
	add(backend.TransferVerify, backend.TransferRunning, backend.VM{Name: "the whole repository"}, func(t *backend.Transfer) {
		t.Progress = backend.Progress{At: now, Phase: backend.PhaseVerifying, Done: 300 * mib, Rate: 700 * mib, Mean: 650 * mib}
	})
	add(backend.TransferBackup, backend.TransferQueued, vms[2], func(t *backend.Transfer) { t.Words = "another backup of its host is under way" })
	add(backend.TransferBackup, backend.TransferWaiting, vms[3], func(t *backend.Transfer) {
		t.Spec.Repo, t.NextTry, t.Attempts, t.Words = vault, now.Add(4*time.Minute), 3, "no route to host"
	})
	ended := func(ago time.Duration) func(*backend.Transfer) {
		return func(t *backend.Transfer) {
			t.Started, t.Ended = now.Add(-ago-41*time.Second), now.Add(-ago)
			t.Progress.Done, t.Progress.New, t.Progress.Out, t.Progress.Mean = 3*gib, 64*mib, 21*mib, 175*mib
		}
	}
	add(backend.TransferBackup, backend.TransferDone, vms[4], ended(12*time.Minute))
	add(backend.TransferBackup, backend.TransferFailed, vms[5], func(t *backend.Transfer) {
		ended(31 * time.Minute)(t)
		t.Words = "write /backup/main/packs/3f/3f9a: no space left on device; free some room or forget old points"
	})
	add(backend.TransferCopy, backend.TransferDone, backend.VM{Name: "golden.qcow2"}, func(t *backend.Transfer) {
		ended(2 * time.Hour)(t)
		t.Spec.Repo, t.Spec.Image = backend.RepoRef{}, backend.CopySpec{Source: "/pool/golden.qcow2", Targets: []string{"/mnt/a/golden.qcow2"}}
	})
	add(backend.TransferBackup, backend.TransferCancelled, vms[6], ended(3*time.Hour))

	for i := range vms {
		b.points(now, &vms[i], i, repo.URL)
	}
	st.Schedules = []backend.Schedule{
		{ID: 1, Name: "nightly", Cron: "0 2 * * *", All: true, Repo: repo, Keep: backend.Retention{Last: 3, Daily: 7, Weekly: 4}, Verify: 5, Last: now.Add(-8 * time.Hour), Next: now.Add(16 * time.Hour), LastBad: vms[5].Name + ": no space left on device", Owner: "alice"},
		{ID: 2, Name: "hourly-db", Cron: "15 * * * *", Tag: "db", Repo: vault, Keep: backend.Retention{Last: 24}, Last: now.Add(-45 * time.Minute), Next: now.Add(15 * time.Minute), Missed: 2, Owner: "bob", Fresh: 3 * time.Hour},
		{ID: 3, Name: "monthly 仮想", Cron: "0 4 1 * *", Names: []string{vms[0].Name, vms[1].Name}, VMs: []backend.Key{vms[0].Key(), vms[1].Key()}, Repo: repo, Disabled: true, Command: "/usr/local/bin/notify", Owner: "alice"},
	}
	return b
}

// points makes points of a VM: of one in seven none, of another only old ones,
// of a third a damaged one.
func (b *fakeBackups) points(now time.Time, vm *backend.VM, i int, repo string) {
	n, age := 12, 8*time.Hour
	switch i % 7 {
	case 3:
		return
	case 5:
		age = 5 * 24 * time.Hour
	}
	for k := range n {
		p := backend.Point{Repo: repo, ID: fmt.Sprintf("p%02d%02d", i, k), VM: vm.UUID, Name: vm.Name, Host: vm.Host, At: now.Add(-age - time.Duration(k)*24*time.Hour),
			Took: 41 * time.Second, Full: k == n-1 || k == 6, Running: true, Quiesced: k%3 != 0, Size: 20 * gib, Data: int64(3+i%4) * gib, Read: 80 * mib, New: 64 * mib, Stored: 21 * mib, Owner: "alice",
			Disks: []backend.PointDisk{{Target: "vda", Path: "/pool/" + vm.Name + ".qcow2", Format: "qcow2", Size: 20 * gib, Data: int64(3+i%4) * gib, Read: 80 * mib}}}
		if p.Full {
			p.Why, p.Read, p.New, p.Stored = "first backup", p.Data, p.Data, p.Data/3
			if k == 6 {
				p.Why = "the checkpoint was lost: QEMU was killed"
			}
			p.Disks[0].Full, p.Disks[0].Why, p.Disks[0].Read = true, p.Why, p.Data
		}
		if k >= 2 && k%2 == 0 {
			p.Verified = now.Add(-26 * time.Hour)
		}
		if i%7 == 6 && k == 4 {
			p.Damaged, p.Verified = "chunk 9c41 of vda at 1.2G: checksum does not match", time.Time{}
		}
		if k == 3 {
			p.Tags = []string{"release"}
		}
		b.state.Points = append(b.state.Points, p)
	}
}

// fakeStore is what a host stores, and the jobs its domains are under.
type fakeStore struct {
	pools    []backend.Pool
	images   []backend.Image
	jobs     []backend.DomainJob
	left     []backend.Leftover
	err      error
	done     []string
	free     uint64
	answered int
}

// storingHost is a host with storage, that tells no events.
type storingHost struct {
	deafHost
	*fakeStore
}

func (s *fakeStore) note(format string, args ...any) error {
	s.done = append(s.done, fmt.Sprintf(format, args...))
	return s.err
}

func (s *fakeStore) Pools(context.Context) ([]backend.Pool, error) {
	s.answered++
	return s.pools, s.err
}
func (s *fakeStore) Images(context.Context) ([]backend.Image, error) { return s.images, s.err }
func (s *fakeStore) PoolDo(_ context.Context, pool string, v backend.PoolVerb) error {
	return s.note("%s %s", v, pool)
}
func (s *fakeStore) DefinePool(_ context.Context, p backend.PoolSpec) error {
	return s.note("define %s", p.Name)
}
func (s *fakeStore) CreateImage(_ context.Context, i backend.ImageSpec) error {
	return s.note("create %+v", i)
}
func (s *fakeStore) ResizeImage(_ context.Context, path string, size uint64, shrink bool) error {
	return s.note("resize %s %d %t", path, size, shrink)
}
func (s *fakeStore) DeleteImage(_ context.Context, path string) error {
	return s.note("delete %s", path)
}
func (s *fakeStore) DomainJobs(context.Context) ([]backend.DomainJob, error) { return s.jobs, s.err }
func (s *fakeStore) AbortDomainJob(_ context.Context, j backend.DomainJob) error {
	return s.note("abort %s %s", j.Kind, j.Name)
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
	return s.left, s.err
}
func (s *fakeStore) CleanUp(_ context.Context, l backend.Leftover) error {
	return s.note("clean %s", l.What)
}

// livingStore is a host's storage with an image of every kind.
func livingStore(now time.Time, host string, vms []backend.VM) *fakeStore {
	s := &fakeStore{free: 88 * gib, pools: []backend.Pool{
		{Host: host, Name: "default", Type: "dir", Path: "/var/lib/libvirt/images", Active: true, Autostart: true, Capacity: 512 * gib, Allocation: 424 * gib, Available: 88 * gib, Volumes: 14},
		{Host: host, Name: "fast", Type: "dir", Path: "/srv/fast", Active: true, Capacity: 128 * gib, Allocation: 124 * gib, Available: 4 * gib, Volumes: 3},
		{Host: host, Name: "iso", Type: "netfs", Path: "/srv/iso", Trouble: "mount.nfs: Connection timed out"},
		{Host: host, Name: "old", Type: "dir", Path: "/srv/old"},
	}}
	image := func(name, format string, virtual, real uint64) *backend.Image {
		s.images = append(s.images, backend.Image{Host: host, Pool: "default", Name: name, Path: "/var/lib/libvirt/images/" + name, Format: format, Virtual: virtual, Real: real, Modified: now.Add(-time.Duration(len(s.images)+1) * 7 * time.Hour)})
		return &s.images[len(s.images)-1]
	}
	image("golden-debian.qcow2", "qcow2", 20*gib, 2*gib).BackedBy = []string{"/var/lib/libvirt/images/" + vms[0].Name + ".qcow2", "/var/lib/libvirt/images/" + vms[1].Name + ".qcow2"}
	for i := range 3 {
		m := image(vms[i].Name+".qcow2", "qcow2", 20*gib, uint64(3+i)*gib)
		m.Users = []backend.ImageUser{{VM: vms[i].UUID, Name: vms[i].Name, Target: "vda", Active: vms[i].State.Active()}}
		if i < 2 {
			m.Backing = []string{"/var/lib/libvirt/images/golden-debian.qcow2"}
		}
	}
	image("forgotten-2019.raw", "raw", 100*gib, 61*gib)
	image("secret.qcow2", "qcow2", 10*gib, gib).Encrypted = true
	image("debian-12.iso", "iso", 700*mib, 700*mib)
	m := image("lost.qcow2", "qcow2", 0, 0)
	m.Missing, m.Users = true, []backend.ImageUser{{VM: vms[2].UUID, Name: vms[2].Name, Target: "vdb"}}
	m = image("仮想ディスク.qcow2", "qcow2", 40*gib, 9*gib)
	m.Snapshots, m.Users = []string{"before-upgrade"}, []backend.ImageUser{{VM: vms[3].UUID, Name: vms[3].Name, Target: "vda", Active: true}}
	s.jobs = []backend.DomainJob{
		{Host: host, VM: vms[5].UUID, Name: vms[5].Name, Kind: "migration", At: now, Since: now.Add(-40 * time.Second), Done: 900 * mib, Total: 4 * gib, Rate: 110 * mib},
		{Host: host, VM: vms[6].UUID, Name: vms[6].Name, Kind: "backup", At: now, Since: now.Add(-4 * time.Minute)},
	}
	return s
}

// retainLast keeps as many of the latest points as the rule says.
func retainLast(points []backend.Point, keep backend.Retention) map[string]string {
	out := map[string]string{}
	for i, p := range points {
		if i < keep.Last {
			out[p.ID] = "last " + itoa(i+1)
		} else if strings.Join(p.Tags, "") == "release" {
			out[p.ID] = "tag release"
		}
	}
	return out
}

var _ model.Retain = retainLast

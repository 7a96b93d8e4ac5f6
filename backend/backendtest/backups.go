package backendtest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"berth/backend"
)

// storageAbilities are the methods that images and backups ask for.
func storageAbilities(h backend.Host) []call {
	var list []call
	whole := func(name string, do func(ctx context.Context) error) {
		list = append(list, call{name, func(ctx context.Context, _ backend.Host, _ backend.UUID) error { return do(ctx) }, true})
	}
	about := func(name string, do func(ctx context.Context, id backend.UUID) error) {
		list = append(list, call{name, func(ctx context.Context, _ backend.Host, id backend.UUID) error { return do(ctx, id) }, false})
	}
	if s, ok := h.(backend.Storage); ok {
		whole("Pools", func(ctx context.Context) error { _, err := s.Pools(ctx); return err })
		whole("Images", func(ctx context.Context) error { _, err := s.Images(ctx); return err })
	}
	if j, ok := h.(backend.JobWatcher); ok {
		whole("DomainJobs", func(ctx context.Context) error { _, err := j.DomainJobs(ctx); return err })
	}
	if b, ok := h.(backend.Backuper); ok {
		whole("Leftovers", func(ctx context.Context) error { _, err := b.Leftovers(ctx, nil); return err })
		about("BackupFacts", func(ctx context.Context, id backend.UUID) error { _, err := b.BackupFacts(ctx, id); return err })
		about("BeginBackup", func(ctx context.Context, id backend.UUID) error {
			s, err := b.BeginBackup(ctx, backend.BackupRequest{VM: id})
			if err == nil {
				err = s.Abort(context.WithoutCancel(ctx))
			}
			return err
		})
	}
	return list
}

// backuper is the host's ability, or the case is left out.
func (b *bench) backuper() backend.Backuper {
	b.Helper()
	a, ok := b.h.(backend.Backuper)
	if !ok || b.f.NoBackups != "" {
		b.Skip("no backups here: ", b.f.NoBackups)
	}
	return a
}

// withDisk defines a domain with a disk that can be backed up.
func (b *bench) withDisk() backend.UUID {
	b.Helper()
	if b.f.WithDisk == nil {
		return b.domain()
	}
	return b.define(b.f.WithDisk(b, freshName()))
}

// begin begins a backup, which is given up at the case's end.
func (b *bench) begin(r backend.BackupRequest) backend.BackupSession {
	b.Helper()
	s, err := b.backuper().BeginBackup(b.ctx, r)
	if err != nil {
		b.Fatalf("BeginBackup: %v", err)
	}
	b.Cleanup(func() {
		if err := errors.Join(s.Abort(context.Background()), s.Close()); err != nil {
			b.Errorf("Abort, Close: %v", err)
		}
	})
	return s
}

func (b *bench) facts(id backend.UUID) backend.BackupFacts {
	b.Helper()
	f, err := b.backuper().BackupFacts(b.ctx, id)
	if err != nil {
		b.Fatalf("BackupFacts: %v", err)
	}
	return f
}

// wellFormed checks a point against what was asked for and what there is.
func (b *bench) wellFormed(p backend.BackupPoint, facts backend.BackupFacts, running bool) {
	b.Helper()
	if p.At.IsZero() || p.Running != running || p.XML == "" || p.Stored == "" || p.Frozen < 0 {
		b.Errorf("the point is %+v", p)
	}
	if (p.Checkpoint == "") == (p.NoCheckpoint == "") {
		b.Errorf("its checkpoint is %q, and there is none because of %q", p.Checkpoint, p.NoCheckpoint)
	}
	var want []string
	for _, d := range facts.Disks {
		if d.Skip == "" {
			want = append(want, d.Target)
		}
	}
	var got []string
	for _, d := range p.Disks {
		got = append(got, d.Target)
		if d.Size <= 0 || d.Access.Size != d.Size || d.Path == "" || d.Format == "" || d.Skip != "" {
			b.Errorf("disk %+v", d)
		}
		if (d.Access.File == "") == (d.Access.Dial == nil) {
			b.Errorf("disk %s has both ways of access, or none: %+v", d.Target, d.Access)
		}
		if d.Access.Dial == nil {
			continue
		}
		c, err := d.Access.Dial(b.ctx)
		if err == nil {
			err = c.Close()
		}
		if err != nil {
			b.Errorf("Dial: %v", err)
		}
	}
	if !slices.Equal(got, want) || len(want) == 0 {
		b.Errorf("the point has the disks %q, the domain %q", got, want)
	}
}

// backupOfARunningDomain: one at a time, seen as a job, taken up by its token,
// and nothing of it is left.
func backupOfARunningDomain(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	a := b.backuper()
	id := b.withDisk()
	b.do(backend.VerbStart, id)
	b.await(id, "to run", isRunning)
	before := b.facts(id)
	if before.VM.UUID != id || len(before.Checkpoints) > 0 || before.Job != "" {
		t.Errorf("facts %+v", before)
	}
	s := b.begin(backend.BackupRequest{VM: id, Checkpoint: "berth-c0ffee00-1"})
	b.wellFormed(s.Point(), before, true)
	if s.Point().Checkpoint != "berth-c0ffee00-1" {
		t.Errorf("its checkpoint is %q (%s)", s.Point().Checkpoint, s.Point().NoCheckpoint)
	}
	b.leftOver(id, nil, "job") // nobody has looked after it yet, which a host may remember
	if err := s.Watch(b.ctx); err != nil {
		t.Errorf("Watch: %v", err)
	}
	if now := b.facts(id); now.Job == "" || !slices.Contains(now.Checkpoints, "berth-c0ffee00-1") {
		t.Errorf("facts meanwhile %+v", now)
	}
	if _, err := a.BeginBackup(b.ctx, backend.BackupRequest{VM: id}); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("a second one at the same time: %v, want ErrBusy", err)
	}
	b.jobIsSeen(id)
	b.leftOver(id, []string{s.Token()})
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	again, err := a.ResumeBackup(b.ctx, id, s.Token())
	if err != nil {
		t.Fatalf("ResumeBackup: %v", err)
	}
	b.wellFormed(again.Point(), before, true)
	if !again.Point().At.Equal(s.Point().At) || again.Token() != s.Token() {
		t.Errorf("taken up it is of %v by %q, it was of %v by %q", again.Point().At, again.Token(), s.Point().At, s.Token())
	}
	for range 2 {
		if err := again.Abort(b.ctx); err != nil {
			t.Errorf("Abort: %v", err)
		}
	}
	if now := b.facts(id); now.Job != "" || len(now.Checkpoints) > 0 {
		t.Errorf("facts afterwards %+v", now)
	}
	b.leftOver(id, nil)
	if _, err := a.ResumeBackup(b.ctx, id, s.Token()); !errors.Is(err, backend.ErrNoJob) {
		t.Errorf("ResumeBackup of what has ended: %v, want ErrNoJob", err)
	}
}

// jobIsSeen as berth's own.
func (b *bench) jobIsSeen(id backend.UUID) {
	b.Helper()
	w, ok := b.h.(backend.JobWatcher)
	if !ok {
		return
	}
	jobs, err := w.DomainJobs(b.ctx)
	if err != nil {
		b.Fatalf("DomainJobs: %v", err)
	}
	i := slices.IndexFunc(jobs, func(j backend.DomainJob) bool { return j.VM == id })
	if i < 0 || jobs[i].Kind != "backup" || !jobs[i].Mine || jobs[i].At.IsZero() || jobs[i].Host != b.h.Name() {
		b.Errorf("the jobs are %+v", jobs)
	}
}

// leftOver checks what is left over of a domain: the kinds named, at least,
// or nothing.
func (b *bench) leftOver(id backend.UUID, alive []string, kinds ...string) {
	b.Helper()
	list, err := b.backuper().Leftovers(b.ctx, alive)
	if err != nil {
		b.Fatalf("Leftovers: %v", err)
	}
	var got []string
	for _, l := range list {
		if l.VM == id {
			got = append(got, l.Kind)
		}
	}
	for _, k := range kinds {
		if !slices.Contains(got, k) {
			b.Errorf("left over: %q, without %q", got, k)
		}
	}
	if len(kinds) == 0 && len(got) > 0 {
		b.Errorf("left over: %+v", list)
	}
}

// backupsGoOnFromEachOther: each from the checkpoint of the last, which goes.
func backupsGoOnFromEachOther(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	a := b.backuper()
	id := b.withDisk()
	b.do(backend.VerbStart, id)
	b.await(id, "to run", isRunning)
	last := ""
	for _, name := range []string{"berth-c0ffee00-1", "berth-c0ffee00-2", "berth-c0ffee00-3"} {
		r := backend.BackupRequest{VM: id, Since: last, Checkpoint: name}
		if last != "" {
			r.Drop = []string{last}
		}
		s := b.begin(r)
		for _, d := range s.Point().Disks {
			if d.Incremental != (last != "") || d.Incremental && d.WhyFull != "" {
				t.Errorf("from %q on: %+v", last, d)
			}
		}
		for range 2 {
			if err := s.Commit(b.ctx); err != nil {
				t.Fatalf("Commit: %v", err)
			}
		}
		if err := s.Abort(b.ctx); err != nil {
			t.Errorf("Abort after Commit: %v", err)
		}
		if got := b.facts(id).Checkpoints; !slices.Equal(got, []string{name}) {
			t.Fatalf("its checkpoints are %q, not %q alone", got, name)
		}
		b.leftOver(id, nil)
		last = name
	}
	if _, err := a.BeginBackup(b.ctx, backend.BackupRequest{VM: id, Since: "berth-c0ffee00-1"}); !errors.Is(err, backend.ErrBitmap) {
		t.Errorf("from a checkpoint that is gone: %v, want ErrBitmap", err)
	}
	if now := b.facts(id); now.Job != "" || !slices.Equal(now.Checkpoints, []string{last}) {
		t.Errorf("facts after a refusal %+v", now)
	}
	s := b.begin(backend.BackupRequest{VM: id, Drop: []string{last}})
	if err := s.Commit(b.ctx); err != nil {
		t.Fatalf("Commit: %v", err)
	}
	if got := b.facts(id).Checkpoints; len(got) > 0 {
		t.Errorf("its checkpoints are %q", got)
	}
}

// backupOfADomainThatIsOff, and is started meanwhile.
func backupOfADomainThatIsOff(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	b.backuper()
	id := b.withDisk()
	facts := b.facts(id)
	s := b.begin(backend.BackupRequest{VM: id, Checkpoint: "berth-c0ffee00-1"})
	b.wellFormed(s.Point(), facts, false)
	if err := s.Watch(b.ctx); err != nil {
		t.Errorf("Watch: %v", err)
	}
	if err := s.Commit(b.ctx); err != nil {
		t.Errorf("Commit: %v", err)
	}
	s = b.begin(backend.BackupRequest{VM: id})
	b.do(backend.VerbStart, id)
	b.await(id, "to run", isRunning)
	if err := s.Watch(b.ctx); !errors.Is(err, backend.ErrState) {
		t.Errorf("Watch of a domain that was started: %v, want ErrState", err)
	}
	if err := s.Commit(b.ctx); !errors.Is(err, backend.ErrState) {
		t.Errorf("Commit of a domain that was started: %v, want ErrState", err)
	}
	if err := s.Abort(b.ctx); err != nil {
		t.Errorf("Abort: %v", err)
	}
	b.leftOver(id, nil)
}

// leftoversAreCleanedUp one by one.
func leftoversAreCleanedUp(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	a := b.backuper()
	id := b.withDisk()
	b.do(backend.VerbStart, id)
	b.await(id, "to run", isRunning)
	b.begin(backend.BackupRequest{VM: id, Checkpoint: "berth-c0ffee00-1"})
	for range 5 { // what a job holds is left over once it is gone
		list, err := a.Leftovers(b.ctx, nil)
		if err != nil {
			t.Fatalf("Leftovers: %v", err)
		}
		for _, l := range list {
			if l.VM == id {
				if err := a.CleanUp(b.ctx, l); err != nil {
					t.Errorf("CleanUp of %+v: %v", l, err)
				}
			}
		}
	}
	b.leftOver(id, nil)
	if now := b.facts(id); now.Job != "" || len(now.Checkpoints) > 0 {
		t.Errorf("facts afterwards %+v", now)
	}
	if err := a.CleanUp(b.ctx, backend.Leftover{VM: id, Kind: "nothing that berth knows"}); err == nil {
		t.Error("CleanUp of an unknown kind did something")
	}
}

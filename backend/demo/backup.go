package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"berth/backend"
)

var _ backend.Backuper = (*host)(nil)

const opBackup = "back up"

// BackupFacts says what a backup of the machine would meet.
func (h *host) BackupFacts(ctx context.Context, id backend.UUID) (backend.BackupFacts, error) {
	v, err := h.find(ctx, "look at", id)
	if err != nil {
		return backend.BackupFacts{}, err
	}
	defer h.leave()
	f := h.fleet
	f.allImages()
	facts := backend.BackupFacts{Disks: v.backupDisks(v.def()), Agent: v.agentUp && !v.stuck, Job: v.jobWords()}
	v.show(&facts.VM, f.now, f.shown(f.now))
	for i := range v.checkpoints {
		facts.Checkpoints = append(facts.Checkpoints, v.checkpoints[i].Name)
	}
	return facts, nil
}

// backupDisks are the disks of a definition, with those that no backup is of.
func (v *vm) backupDisks(d *definition) (list []backend.BackupDisk) {
	for i := range d.disks {
		k := &d.disks[i]
		b := backend.BackupDisk{Target: backend.Clean(k.target), Path: k.source, Format: k.format, Size: int64(k.capacity)}
		switch {
		case k.device != "disk":
			b.Skip = k.device
		case k.source == "":
			b.Skip = "no media"
		case k.readOnly:
			b.Skip = "read-only"
		}
		if img := v.fleet().imageOf(v, d, k); img != nil {
			b.Size = img.size
		}
		list = append(list, b)
	}
	return list
}

// jobWords is what libvirt does to the machine, or empty.
func (v *vm) jobWords() string {
	if v.backup != nil {
		return "backup since " + v.fleet().shown(v.backup.began).Format(time.TimeOnly)
	}
	if v.job != nil {
		return string(v.job.verb)
	}
	if j := v.foreignJob(); j != nil {
		return j.Kind + " since " + j.Since.Format(time.TimeOnly)
	}
	return ""
}

// BeginBackup takes a point in time of a machine's disks.
func (h *host) BeginBackup(ctx context.Context, r backend.BackupRequest) (backend.BackupSession, error) {
	if err := h.writable(opBackup, r.Name); err != nil {
		return nil, err
	}
	return h.beginBackup(ctx, r)
}

func (h *host) beginBackup(ctx context.Context, r backend.BackupRequest) (backend.BackupSession, error) {
	v, err := h.find(ctx, opBackup, r.VM)
	if err != nil {
		return nil, err
	}
	s, err := v.newSession(r)
	name := v.row.Name
	h.leave()
	if err == nil {
		if err = s.begin(ctx); err != nil {
			err = errors.Join(err, s.discard())
		}
	}
	if err != nil {
		return nil, failed(opBackup, name, err, hintBackup(err))
	}
	return s, nil
}

func hintBackup(err error) string {
	switch {
	case errors.Is(err, backend.ErrBitmap):
		return "make a full backup, which begins a new checkpoint"
	case errors.Is(err, backend.ErrNoRoom):
		return "make room, or name another folder for scratch files"
	case errors.Is(err, backend.ErrBusy):
		return "wait for what is under way, or end it"
	}
	return ""
}

// newSession makes the machine part of a backup, if it can be.
func (v *vm) newSession(r backend.BackupRequest) (*session, error) {
	f := v.fleet()
	f.allImages()
	if err := v.fitForBackup(&r); err != nil {
		return nil, err
	}
	f.stock.tokens++
	s := &session{h: v.host, v: v, r: r, began: f.now, starts: v.starts, running: v.row.State.Active(),
		token: fmt.Sprintf("demo-%d-%s", f.stock.tokens, v.row.UUID)}
	v.backup = s
	f.stock.sessions[s.token] = s
	return s, nil
}

// fitForBackup says why the machine cannot be backed up so now, or nil.
func (v *vm) fitForBackup(r *backend.BackupRequest) error {
	f, running := v.fleet(), v.row.State.Active()
	if words := v.jobWords(); words != "" {
		return fmt.Errorf("%w: %s", backend.ErrBusy, words)
	}
	if v.stuck {
		return fmt.Errorf("%w since %s", backend.ErrStuck, f.shown(v.stuckAt).Format(time.TimeOnly))
	}
	if running && f.now < v.fullUntil && r.ScratchDir == "" {
		return fmt.Errorf("%w for scratch files: the storage pool is full", backend.ErrNoRoom)
	}
	disks := v.writableDisks(v.def())
	if len(disks) == 0 {
		return fmt.Errorf("%w: it has no disk to back up", backend.ErrUnsupported)
	}
	for _, k := range disks {
		img := f.imageOf(v, v.def(), k)
		if img == nil {
			return fmt.Errorf("%w: there is no %s", backend.ErrNoStorage, backend.Clean(k.source))
		}
		if err := v.host.openable(img); err != nil {
			return fmt.Errorf("%s: %w", k.source, err)
		}
	}
	if r.Checkpoint != "" && v.checkpoint(r.Checkpoint) != nil {
		return fmt.Errorf("%w: there is a checkpoint %s", backend.ErrInvalid, r.Checkpoint)
	}
	return v.usable(r.Since)
}

// usable says why a checkpoint is of no use to go on from, or nil.
func (v *vm) usable(since string) error {
	switch {
	case since == "":
		return nil
	case v.checkpoint(since) == nil:
		return fmt.Errorf("%w: there is no checkpoint %s", backend.ErrBitmap, backend.Clean(since))
	case v.lost[since]:
		return fmt.Errorf("%w: checkpoint %s is inconsistent: its QEMU was killed while it recorded", backend.ErrBitmap, backend.Clean(since))
	}
	return nil
}

func (v *vm) checkpoint(name string) *backend.Checkpoint {
	for i := range v.checkpoints {
		if v.checkpoints[i].Name == name {
			return &v.checkpoints[i]
		}
	}
	return nil
}

// session is a point in time of a machine's disks: copies of what they held.
// The fleet's lock guards it; what begin sets never changes after it.
type session struct {
	h       *host
	v       *vm
	r       backend.BackupRequest
	token   string
	began   storyTime
	starts  int // of the machine
	running bool
	past    bool

	point  backend.BackupPoint
	images []*diskImage
	due    []int64  // how many writes each had
	files  []string // that go with it
	over   bool
}

// begin freezes the guest for the instant in which its disks are copied.
func (s *session) begin(ctx context.Context) error {
	f, v := s.h.fleet, s.v
	if s.r.Quiesce && s.running {
		if err := s.quiesce(ctx); err != nil {
			return err
		}
	}
	if err := s.hold(); err != nil {
		return err
	}
	err := s.copyDisks()
	f.mu.Lock()
	defer f.mu.Unlock()
	v.holding = false
	if err != nil {
		return err
	}
	if err := contextError(ctx); err != nil {
		return err
	}
	if !s.alive() {
		return fmt.Errorf("%w: it was started or stopped meanwhile", backend.ErrState)
	}
	s.addCheckpoint()
	s.describe()
	return nil
}

// quiesce asks the guest's agent to freeze its file systems, which takes a
// moment.
func (s *session) quiesce(ctx context.Context) error {
	f, v := s.h.fleet, s.v
	f.mu.Lock()
	c := newChance(f.opts.Seed, streamImages, hash(s.token))
	takes := c.delay(0.3, 0.8)
	switch {
	case !v.row.HasAgent:
		s.point.NotQuiesced = "no guest agent is configured"
	case !v.agentUp || v.row.State != backend.Running:
		s.point.NotQuiesced = "the guest agent is not connected"
	case v.role.key == "dc":
		s.point.NotQuiesced = "the guest could not freeze: a VSS writer timed out"
		takes = seconds(2)
	default:
		s.point.Quiesced, s.point.Frozen = true, f.shownFor(takes)
	}
	asked := v.row.HasAgent && v.agentUp && v.row.State == backend.Running
	f.mu.Unlock()
	if !asked {
		return nil
	}
	if f.clock.Sleep(ctx, f.shownFor(takes)) != nil {
		return contextError(ctx)
	}
	return nil
}

// hold lets the machine's images stand still, all at the same moment.
func (s *session) hold() error {
	f, v := s.h.fleet, s.v
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.catchUp(f.life) != nil {
		return backend.ErrClosed
	}
	if !s.alive() {
		return fmt.Errorf("%w: it was started or stopped meanwhile", backend.ErrState)
	}
	v.owe()
	v.holding = true
	s.began = f.now
	s.point.At, s.point.Running = f.shown(f.now), s.running
	for _, k := range v.writableDisks(v.def()) {
		img := f.imageOf(v, v.def(), k)
		if img == nil {
			v.holding = false
			return fmt.Errorf("%w: there is no %s", backend.ErrNoStorage, backend.Clean(k.source))
		}
		s.images, s.due = append(s.images, img), append(s.due, int64(img.due))
		s.point.Disks = append(s.point.Disks, backend.PointAccess{BackupDisk: backend.BackupDisk{
			Target: backend.Clean(k.target), Path: k.source, Format: k.format, Size: img.size}})
	}
	return nil
}

// addCheckpoint tells libvirt's part of it.
func (s *session) addCheckpoint() {
	if s.point.Checkpoint == "" {
		return
	}
	v := s.v
	cp := backend.Checkpoint{Name: s.point.Checkpoint, Created: s.point.At}
	if n := len(v.checkpoints); n > 0 {
		cp.Parent = v.checkpoints[n-1].Name
	}
	for i := range s.point.Disks {
		if s.point.Disks[i].Format == "qcow2" {
			cp.Disks = append(cp.Disks, s.point.Disks[i].Target)
		}
	}
	v.checkpoints = append(slices.Clone(v.checkpoints), cp)
	delete(v.lost, cp.Name)
}

// describe adds what belongs to the point besides its disks.
func (s *session) describe() {
	v, p := s.v, &s.point
	if v.live != nil {
		p.XML = v.live.xml(v)
	}
	if v.stored != nil {
		p.Stored = v.stored.xml(nil)
	}
	if p.XML == "" {
		p.XML = p.Stored
	}
	if path := v.def().nvramPath(); path != "" {
		if content, err := s.h.fileAt(path); err == nil {
			p.Files = append(p.Files, backend.PointFile{Kind: "nvram", Path: path, Content: slices.Clone(content)})
		}
	}
	for i := range v.snapshots {
		sn := &v.snapshots[i]
		text := fmt.Sprintf("<domainsnapshot>\n  <name>%s</name>\n  <state>%s</state>\n  <creationTime>%d</creationTime>\n</domainsnapshot>\n",
			escape(sn.Name), sn.State, sn.Created.Unix())
		p.Files = append(p.Files, backend.PointFile{Kind: "snapshot", Path: sn.Name, Content: []byte(text)})
	}
}

// alive reports whether the machine is as it was when the session began.
func (s *session) alive() bool {
	v := s.v
	return s.h.byUUID[v.row.UUID] == v && v.starts == s.starts && v.row.State.Active() == s.running
}

// discard ends a session without a trace.
func (s *session) discard() error {
	f, v := s.h.fleet, s.v
	f.mu.Lock()
	s.end()
	name := s.point.Checkpoint
	if name != "" {
		v.dropCheckpoint(name)
	}
	images := s.images
	f.mu.Unlock()
	if name != "" {
		dropMarks(images, name)
	}
	return s.removeFiles()
}

// end takes the session off its machine. The fleet's lock is held.
func (s *session) end() {
	s.over = true
	if s.v.backup == s {
		s.v.backup, s.v.holding = nil, false
	}
	if s.v.past == s {
		s.v.past = nil
	}
	delete(s.h.fleet.stock.sessions, s.token)
}

func (s *session) removeFiles() error {
	var errs []error
	for _, name := range s.files {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// dropCheckpoint forgets a checkpoint's metadata.
func (v *vm) dropCheckpoint(name string) {
	v.checkpoints = slices.DeleteFunc(slices.Clone(v.checkpoints), func(c backend.Checkpoint) bool { return c.Name == name })
	delete(v.lost, name)
	delete(v.kept, name)
}

// dropMarks deletes bitmaps. The fleet's lock is not held.
func dropMarks(images []*diskImage, names ...string) {
	for _, img := range images {
		img.mu.Lock()
		for _, name := range names {
			delete(img.marks, name)
		}
		img.mu.Unlock()
	}
}

package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/backend"
	"berth/backend/image/repo"
	"berth/backend/store"
)

// mending is one attempt at a restore.
type mending struct {
	*task
	host   backend.Host
	images backend.ImageOpener
	files  backend.HostFiles
	repo   *opened
	m      repo.Manifest
	def    definition
	vm     backend.UUID // the restored domain's
	name   string
	was    string // the definition that is being replaced; empty: there was none
	disks  []target
	at     time.Time // of this attempt: names what is set aside
	said   []string
}

// target is where one disk goes.
type target struct {
	repo.Disk
	to     string // its path in the end
	draft  string // where it is written; to itself when nothing is there
	format string
}

// restored marks the note of a restore of which only the start may be missing.
const restored = "restored"

// restore brings a point back, whole or not at all.
func (k *task) restore(ctx context.Context) (result, error) {
	r, err := k.mending(ctx)
	if err != nil {
		return result{}, err
	}
	err = r.all(ctx)
	if err != nil && !errors.Is(err, errDies) && !errors.Is(err, store.ErrLeaseLost) {
		// Also when the engine ends: half a restore is not gone on with.
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), endDeadline)
		defer cancel()
		if e := k.undoRestore(late); e != nil {
			err = errors.Join(err, fmt.Errorf("and not all could be undone: %w", e))
		}
	}
	if e := r.repo.Close(); e != nil && err == nil {
		r.said = append(r.said, words(e))
	}
	return result{words: joined(r.said)}, err
}

func (k *task) mending(ctx context.Context) (*mending, error) {
	h, err := k.hostOf(ctx)
	if err != nil {
		return nil, err
	}
	r := &mending{task: k, host: h, at: k.o.Clock.Now()}
	var ok, fine bool
	r.images, ok = h.(backend.ImageOpener)
	r.files, fine = h.(backend.HostFiles)
	if !ok || !fine {
		return nil, fmt.Errorf("%w: images cannot be written on %s from here", backend.ErrUnsupported, k.x.Spec.VM.Host)
	}
	return r, nil
}

func (r *mending) all(ctx context.Context) error {
	if r.n.Token == restored {
		return r.finish(ctx)
	}
	if len(r.n.Undo) > 0 { // an earlier attempt was cut off
		if err := r.undoRestore(ctx); err != nil {
			return err
		}
	}
	r.meter.phase(backend.PhasePreparing)
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if err := r.write(ctx); err != nil {
		return err
	}
	r.meter.phase(backend.PhaseFinishing)
	if err := r.place(ctx); err != nil {
		return err
	}
	if !r.x.Spec.Restore.DisksOnly {
		if err := r.define(ctx); err != nil {
			return err
		}
	}
	r.n.forget()
	r.n.Token = restored
	if err := r.save(ctx, "restored"); err != nil {
		return err
	}
	r.record("restore", "point "+r.m.ID, nil)
	r.snapshots(ctx)
	return r.finish(ctx)
}

// prepare finds out everything that can be known before the first byte is
// written, so that what cannot be is refused then.
func (r *mending) prepare(ctx context.Context) (err error) {
	s := &r.x.Spec
	if r.repo == nil {
		if r.repo, err = r.o.openRepo(ctx, s.Repo); err != nil {
			return err
		}
	}
	if r.m, err = r.repo.Point(ctx, s.Restore.Point); err != nil {
		return err
	}
	if err := r.readDefinition(ctx); err != nil {
		return err
	}
	if err := r.meet(ctx); err != nil {
		return err
	}
	if err := r.choosePaths(ctx); err != nil {
		return err
	}
	return r.checkRoom(ctx)
}

// readDefinition reads the definition that the next start would have used.
func (r *mending) readDefinition(ctx context.Context) error {
	var best *repo.File
	for i := range r.m.Files {
		f := &r.m.Files[i]
		if f.Kind == "stored-xml" && f.Size > 0 || f.Kind == "xml" && best == nil {
			best = f
		}
	}
	if best == nil {
		if r.x.Spec.Restore.DisksOnly {
			return nil
		}
		return fmt.Errorf("%w: the backup holds no definition; its disks can be restored", backend.ErrInvalid)
	}
	text, err := r.repo.ReadFile(ctx, &r.m, *best)
	if err != nil {
		return err
	}
	r.def, err = parseDefinition(string(text))
	return err
}

// meet looks at what is on the host already.
func (r *mending) meet(ctx context.Context) error {
	s := &r.x.Spec
	r.vm, r.name = r.m.VM, r.m.Name
	copied := s.Restore.NewName != ""
	if copied {
		r.vm, r.name = newUUID(), s.Restore.NewName
	}
	p, err := r.host.Poll(ctx)
	if err != nil {
		return err
	}
	for i := range p.VMs {
		vm := &p.VMs[i]
		switch {
		case vm.UUID == r.vm && vm.State.Active():
			return &backend.OpError{Op: "restore", Target: vm.Name, Err: fmt.Errorf("%w: it is %s", backend.ErrState, vm.State),
				Hint: "shut it down, or restore it under another name"}
		case vm.UUID == r.vm && vm.ManagedSave:
			return &backend.OpError{Op: "restore", Target: vm.Name, Err: fmt.Errorf("%w: it has a saved state, of other disks", backend.ErrState),
				Hint: "drop the saved state, or restore it under another name"}
		case vm.UUID == r.vm:
			r.name = vm.Name // it was renamed since
			if r.was, err = r.host.XML(ctx, vm.UUID, true); err != nil {
				return err
			}
		case vm.Name == r.name && !s.Restore.DisksOnly:
			return &backend.OpError{Op: "restore", Target: r.name, Err: fmt.Errorf("%w: %s has another VM of that name", backend.ErrInvalid, s.VM.Host),
				Hint: "restore it under another name"}
		}
	}
	if s.Restore.DisksOnly || r.def.node == nil {
		return nil
	}
	if copied {
		r.def.rename(r.name, r.vm)
	} else {
		r.def.setText("name", r.name)
	}
	return nil
}

// write writes the images' content. Nothing has its name before all of them
// are whole.
func (r *mending) write(ctx context.Context) (err error) {
	r.meter.phase(backend.PhaseWriting)
	done := make([]backend.DiskDone, len(r.disks))
	for i, d := range r.disks {
		done[i] = backend.DiskDone{Disk: d.Target, Total: d.Data}
	}
	r.meter.disks(done)
	var made []backend.NewImage
	defer func() {
		for _, n := range made {
			err = errors.Join(err, n.Close()) // what has no name yet is deleted
		}
	}()
	for i := range r.disks {
		d := &r.disks[i]
		n, err := r.images.MakeImage(ctx, d.draft, d.format, uint64(d.Size))
		if err != nil {
			return fmt.Errorf("%s: %w", d.Target, err)
		}
		made = append(made, n)
		if err := r.fill(ctx, d, n); err != nil {
			return fmt.Errorf("%s: %w", d.Target, err)
		}
		if err := r.task.at("written"); err != nil {
			return err
		}
	}
	for i, n := range made {
		if err := r.commitImage(ctx, &r.disks[i], n); err != nil {
			return err
		}
	}
	return nil
}

// fill writes one disk.
func (r *mending) fill(ctx context.Context, d *target, n backend.NewImage) (err error) {
	w, err := r.o.openWriter(ctx, n.Access())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	err = r.repo.Restore(ctx, &r.m, d.Target, w, repo.RestoreOptions{
		Limit: r.limit, Gate: r.gate.wait,
		Progress: func(p repo.RestoreProgress) { r.meter.disk(d.Target, p.Done, p.Total) },
	})
	if err != nil {
		return err
	}
	return w.Flush(ctx)
}

// commitImage gives an image its name, and notes that before.
func (r *mending) commitImage(ctx context.Context, d *target, n backend.NewImage) error {
	if err := r.will(ctx, undo{Op: undoImage, Path: d.draft}); err != nil {
		return err
	}
	err := n.Commit(ctx)
	if errors.Is(err, backend.ErrBusy) || isExist(err) { // what is there is not ours
		err = errors.Join(err, r.unmade(ctx))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.Target, err)
	}
	return r.task.at("image")
}

// place sets aside what is where the images belong, and puts them there.
func (r *mending) place(ctx context.Context) error {
	for i := range r.disks {
		d := &r.disks[i]
		if d.draft == d.to {
			continue
		}
		aside, err := r.setAside(ctx, d.to)
		if err != nil {
			return err
		}
		r.said = append(r.said, "the image that was there is now "+aside)
		if err := r.rename(ctx, d.draft, d.to); err != nil {
			return err
		}
	}
	if r.x.Spec.Restore.DisksOnly {
		return nil
	}
	return r.placeFiles(ctx)
}

// define defines the domain.
func (r *mending) define(ctx context.Context) error {
	d, ok := r.host.(backend.Definer)
	if !ok {
		return fmt.Errorf("%w: %s takes no definitions", backend.ErrUnsupported, r.x.Spec.VM.Host)
	}
	if err := r.will(ctx, undo{Op: undoDefine, VM: r.vm, Name: r.name, XML: r.was}); err != nil {
		return err
	}
	_, err := d.Define(ctx, r.def.String())
	r.record("define", "restored from point "+r.m.ID, err)
	if err != nil {
		return err
	}
	return r.task.at("defined")
}

// finish starts the domain when that was asked for. That it does not start
// undoes nothing.
func (r *mending) finish(ctx context.Context) error {
	s := &r.x.Spec
	if !s.Restore.Start || s.Restore.DisksOnly {
		return nil
	}
	name := r.name
	if name == "" { // an engine before this one restored it
		if name = s.Restore.NewName; name == "" {
			name = s.Name
		}
	}
	p, err := r.host.Poll(ctx)
	if err != nil {
		return r.unstarted(ctx, err)
	}
	i := slices.IndexFunc(p.VMs, func(vm backend.VM) bool { return vm.Name == name })
	if i < 0 {
		return r.unstarted(ctx, fmt.Errorf("%w: %s", backend.ErrNoDomain, name))
	}
	if p.VMs[i].State.Active() {
		return nil
	}
	err = r.host.Do(ctx, backend.Action{Verb: backend.VerbStart, UUID: p.VMs[i].UUID, Name: name})
	r.record("start", "restored", err)
	return r.unstarted(ctx, err)
}

func (r *mending) unstarted(ctx context.Context, err error) error {
	if err == nil || stopped(ctx) != nil {
		return nil
	}
	r.said = append(r.said, "it is restored, but did not start: "+words(err))
	return nil
}

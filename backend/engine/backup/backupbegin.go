package backup

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"berth/backend"
	"berth/backend/image/repo"
)

// beginRoom is how much a repository must have free for a backup to begin: that
// of one pack and its manifest.
const beginRoom = 96 << 20

// begin takes a point in time on the host.
func (w *work) begin(ctx context.Context) error {
	w.meter.phase(backend.PhasePreparing)
	if free, err := w.repo.place.Room(ctx); err == nil && free < beginRoom {
		return &backend.OpError{Op: "back up", Target: w.x.Spec.Name, Hint: "prune the repository, or give it a larger disk",
			Err: fmt.Errorf("%w: %d MiB are free in %s", backend.ErrNoRoom, free>>20, w.x.Spec.Repo.URL)}
	}
	facts, err := w.host.BackupFacts(ctx, w.x.Spec.VM.UUID)
	if errors.Is(err, backend.ErrNoDomain) {
		if err = w.follow(ctx, err); err == nil {
			facts, err = w.host.BackupFacts(ctx, w.x.Spec.VM.UUID)
		}
	}
	if err != nil {
		return err
	}
	if facts.Job != "" {
		return &backend.OpError{Op: "back up", Target: w.x.Spec.Name, Err: fmt.Errorf("%w: %s", backend.ErrBusy, facts.Job),
			Hint: "wait for it to end, or end it: virsh domjobabort " + w.x.Spec.VM.UUID.String()}
	}
	since, last, err := w.chooseBase(ctx)
	if err != nil {
		return err
	}
	w.n.Asked, w.n.Checkpoint = w.o.Clock.Now(), w.checkpointName()
	w.n.Drop = ours(facts.Checkpoints, w.repo.ID())
	known := slices.Contains(w.n.Drop, last)
	if !known && last != "" { // libvirt has forgotten it; its bitmaps may be there, as after a migration
		w.n.Drop = append(w.n.Drop, last)
	}
	if w.n.Journal == "" {
		w.n.Journal = random()
	}
	if err := w.save(ctx, "ask"); err != nil {
		return err
	}
	if !w.x.Spec.Backup.NoQuiesce && facts.Agent {
		w.meter.phase(backend.PhaseFreezing)
	}
	err = w.ask(ctx, since)
	if since != "" && errors.Is(err, backend.ErrBitmap) {
		w.base, w.n.Base = nil, ""
		w.n.Why = "its changes since the last backup are not known: " + words(err)
		if !known {
			w.n.Why = "the checkpoint of the last backup is gone"
		}
		err = w.ask(ctx, "")
	}
	if err != nil {
		if !lost(err) && ctx.Err() == nil && !errors.Is(err, errDies) { // nothing is left behind then
			w.n.forget()
			err = errors.Join(err, w.save(ctx, "refused"))
		}
		return err
	}
	w.point = w.session.Point()
	w.n.Token, w.n.At, w.n.XML, w.n.Stored = w.session.Token(), w.point.At, w.point.XML, w.point.Stored
	return w.save(ctx, "begun")
}

// ask begins the session.
func (w *work) ask(ctx context.Context, since string) error {
	s := &w.x.Spec
	if err := w.at("begin/before"); err != nil {
		return err
	}
	session, err := w.host.BeginBackup(ctx, backend.BackupRequest{
		VM: s.VM.UUID, Name: s.Name, Since: since, Checkpoint: w.n.Checkpoint, Drop: w.n.Drop,
		Quiesce: !s.Backup.NoQuiesce, ScratchDir: w.o.ScratchDir,
	})
	if err == nil {
		w.session = session
	}
	if e := w.at("begin/done"); e != nil {
		return e
	}
	return err
}

// chooseBase finds the point that an incremental backup goes on from, and says
// why when there is none. of is the checkpoint of the last point, whether it is
// gone on from or not.
func (w *work) chooseBase(ctx context.Context) (since, of string, err error) {
	w.base, w.n.Base, w.n.Why = nil, "", ""
	points, err := w.repo.Points(ctx)
	last := latest(points, w.x.Spec.VM.UUID)
	if last != nil {
		of = last.Checkpoint
	}
	switch {
	case w.x.Spec.Backup.Full:
		w.n.Why = "a full one was asked for"
	case err != nil && lost(err):
		return "", "", err
	case last == nil && err != nil: // those that could be read count
		w.n.Why = "the last point cannot be read: " + words(err)
	case last == nil:
		w.n.Why = "the first of this VM in this repository"
	case last.Checkpoint == "":
		w.n.Why = "the last backup could make no checkpoint"
	default:
		w.base, w.n.Base = last, last.ID
		return of, of, nil
	}
	return "", of, nil
}

// latest is a VM's last point.
func latest(points []repo.Manifest, vm backend.UUID) (last *repo.Manifest) {
	for i := range points {
		if p := &points[i]; p.VM == vm && (last == nil || p.At.After(last.At)) {
			last = p
		}
	}
	return last
}

// checkpointPrefix begins the names of a repository's checkpoints.
func checkpointPrefix(repoID string) string { return "berth-" + repoID[:min(8, len(repoID))] + "-" }

// checkpointName is one that no checkpoint has or had: a name that a forgotten
// one had might be taken for it, and dropped. It tells the time.
func (w *work) checkpointName() string {
	return checkpointPrefix(w.repo.ID()) + strconv.FormatInt(w.o.Clock.Now().Unix(), 10) + "-" + random()[:8]
}

// ours are the checkpoints that were made for a repository.
func ours(all []string, repoID string) (list []string) {
	for _, c := range all {
		if strings.HasPrefix(c, checkpointPrefix(repoID)) {
			list = append(list, c)
		}
	}
	return list
}

// random names something as nothing else is named.
func random() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // never fails (Go 1.24)
	return hex.EncodeToString(b[:])
}

// hostOf is the host of the transfer.
func (k *task) hostOf(ctx context.Context) (backend.Host, error) {
	return k.host(ctx, k.x.Spec.VM.Host)
}

package backup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"berth/backend"
	"berth/backend/store"
)

// Start orders transfers, all or none.
func (c *Client) Start(ctx context.Context, specs []backend.TransferSpec) (ids []backend.TransferID, err error) {
	for i := range specs {
		if err := check(&specs[i]); err != nil {
			return nil, err
		}
	}
	now := c.o.Clock.Now()
	err = c.o.Store.Update(ctx, func(tx *store.Tx) error {
		ids = nil
		for _, s := range specs {
			if err := c.enterHost(tx, s.VM.Host); err != nil {
				return err
			}
			id, err := tx.AddTransfer(backend.Transfer{Spec: s, Owner: c.o.Who, State: backend.TransferQueued, Since: now, Ordered: now})
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var untold []error
	for i := range specs {
		untold = append(untold, c.record(string(specs[i].Kind)+"-order", &specs[i], fmt.Sprintf("transfer %d, %s", ids[i], specs[i].Repo.URL)))
	}
	return ids, errors.Join(c.ensure(ctx), errors.Join(untold...))
}

// enterHost notes where a host is, so that the engine can reach it.
func (c *Client) enterHost(tx *store.Tx, name string) error {
	if name == "" {
		return nil
	}
	for _, h := range c.o.Fleet() {
		if h.Name() == name {
			if h.ReadOnly() {
				return &backend.OpError{Op: "order it", Target: name, Err: backend.ErrReadOnly, Hint: "connect to the host for writing"}
			}
			return tx.PutBackupHost(name, h.URI())
		}
	}
	known, err := tx.BackupHosts()
	if _, ok := known[name]; ok || err != nil {
		return err
	}
	return &backend.OpError{Op: "order it", Target: name, Err: fmt.Errorf("%w: no such host is at hand", backend.ErrInvalid), Hint: "connect to it with -c"}
}

// check refuses what can be seen to be wrong.
func check(s *backend.TransferSpec) error {
	wrong := func(format string, args ...any) error {
		return &backend.OpError{Op: string(s.Kind), Target: backend.Clean(s.Name), Err: fmt.Errorf("%w: "+format, append([]any{backend.ErrInvalid}, args...)...)}
	}
	needsRepo := s.Kind != backend.TransferCopy && s.Kind != backend.TransferConvert
	switch {
	case needsRepo && s.Repo.URL == "":
		return wrong("no repository is named")
	case needsRepo && !strings.Contains(s.Repo.URL, "://") && !path.IsAbs(s.Repo.URL):
		return wrong("%q is not an absolute path", backend.Clean(s.Repo.URL)) // the engine runs elsewhere
	case s.Limit < 0:
		return wrong("a limit of %d bytes a second", s.Limit)
	}
	switch s.Kind {
	case backend.TransferBackup:
		if s.VM.UUID.IsZero() || s.VM.Host == "" {
			return wrong("no VM is named")
		}
	case backend.TransferRestore:
		return checkRestore(s, wrong)
	case backend.TransferVerify:
		if s.Verify.Sample < 0 || s.Verify.Sample > 100 {
			return wrong("%g percent", s.Verify.Sample)
		}
	case backend.TransferForget:
		if s.Keep.IsZero() {
			return wrong("a retention without a rule keeps everything")
		}
	case backend.TransferCopy, backend.TransferConvert:
		return checkCopy(&s.Image, wrong)
	default:
		return wrong("%q is no kind of transfer", string(s.Kind))
	}
	return nil
}

func checkCopy(s *backend.CopySpec, wrong func(string, ...any) error) error {
	if !path.IsAbs(s.Source) || len(s.Targets) == 0 {
		return wrong("source and target are absolute paths")
	}
	places := map[string]bool{path.Clean(s.Source): true}
	for _, t := range s.Targets {
		if !path.IsAbs(t) {
			return wrong("source and target are absolute paths")
		}
		at := path.Clean(t)
		if places[at] {
			return wrong("%s is named twice", backend.Clean(t))
		}
		places[at] = true
	}
	return nil
}

func checkRestore(s *backend.TransferSpec, wrong func(string, ...any) error) error {
	r := &s.Restore
	switch {
	case r.Point == "" || s.VM.Host == "":
		return wrong("a point and a host are needed")
	case r.Format != "" && r.Format != "raw" && r.Format != "qcow2":
		return wrong("images are restored as raw or qcow2, not as %q", backend.Clean(r.Format))
	case strings.ContainsAny(r.NewName, "/\n\x00") || r.NewName != strings.TrimSpace(r.NewName):
		return wrong("%q cannot be a name", backend.Clean(r.NewName))
	case r.DisksOnly && r.Start:
		return wrong("disks alone cannot be started")
	}
	for t, p := range r.Disks {
		if !path.IsAbs(p) || path.Clean(p) != p {
			return wrong("%q for %s is not an absolute path", backend.Clean(p), backend.Clean(t))
		}
	}
	return nil
}

// Change does the same to every transfer named, all or none.
func (c *Client) Change(ctx context.Context, ids []backend.TransferID, ch backend.TransferChange) error {
	var changed []backend.Transfer
	err := c.o.Store.Update(ctx, func(tx *store.Tx) error {
		changed = nil
		for _, id := range ids {
			x, err := tx.Transfer(id)
			if err != nil {
				return err
			}
			text, err := tx.TransferNote(id)
			if err != nil {
				return err
			}
			n, err := parseNote(text)
			if err != nil {
				return err
			}
			if err := c.alter(&x, &n, ch); err != nil {
				return err
			}
			if err := tx.PutTransfer(x); err != nil {
				return err
			}
			if x.State == backend.TransferCancelled && ch.Cancel {
				if err := tx.AddEvent(eventOf(&x)); err != nil {
					return err
				}
			}
			changed = append(changed, x)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var untold []error
	needed := false
	for i := range changed {
		untold = append(untold, c.record("transfer-"+changeWords(ch), &changed[i].Spec, fmt.Sprintf("transfer %d", changed[i].ID)))
		needed = needed || !changed[i].State.Ended()
	}
	if needed {
		untold = append(untold, c.ensure(ctx))
	}
	return errors.Join(untold...)
}

func changeWords(ch backend.TransferChange) string {
	var w []string
	for _, p := range []struct {
		set  bool
		word string
	}{{ch.Pause, "pause"}, {ch.Resume, "resume"}, {ch.Cancel, "cancel"}, {ch.Retry, "retry"}, {ch.Limit != nil, "limit"}} {
		if p.set {
			w = append(w, p.word)
		}
	}
	return strings.Join(w, "-")
}

// alter changes one transfer. What has not begun is dealt with here; the engine
// sees to the rest.
func (c *Client) alter(x *backend.Transfer, n *note, ch backend.TransferChange) error {
	refuse := func(why string) error {
		return &backend.OpError{Op: changeWords(ch), Target: fmt.Sprintf("transfer %d", x.ID), Err: fmt.Errorf("%w: %s", backend.ErrState, why)}
	}
	now := c.o.Clock.Now()
	ended := x.State.Ended()
	switch {
	case ch.Retry && x.State != backend.TransferFailed && x.State != backend.TransferCancelled && x.State != backend.TransferWaiting:
		return refuse("it is " + string(x.State))
	case ended && !ch.Retry:
		return refuse("it has ended: " + string(x.State))
	case x.Cancel && !ended:
		return refuse("it is being cancelled")
	}
	move := func(s backend.TransferState) { x.State, x.Since = s, now }
	idle := x.State == backend.TransferQueued || x.State == backend.TransferPaused && x.Attempts == 0 ||
		x.State == backend.TransferWaiting && !n.began() && len(n.Undo) == 0
	if ch.Limit != nil {
		x.Spec.Limit = max(*ch.Limit, 0)
	}
	if ch.Retry {
		if ended {
			x.Ended, x.Attempts, x.Words, x.Point, x.Pause, x.Cancel, x.Started = noTime, 0, "", "", false, false, noTime
		}
		x.NextTry = noTime
		move(backend.TransferQueued)
	}
	switch {
	case ch.Cancel:
		x.Cancel = true
		if idle && x.Attempts == 0 { // nobody has touched it
			x.Ended, x.Words, x.NextTry = now, "cancelled", noTime
			move(backend.TransferCancelled)
		}
	case ch.Pause:
		x.Pause = true
		if idle {
			move(backend.TransferPaused)
		}
	case ch.Resume:
		x.Pause = false
		if x.State == backend.TransferPaused && x.Attempts == 0 {
			move(backend.TransferQueued)
		}
	}
	return nil
}

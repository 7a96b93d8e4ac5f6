package backup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/store"
)

var noTime time.Time

// PutSchedule adds a schedule (ID 0) or replaces one. When it runs next is worked
// out anew.
func (c *Client) PutSchedule(ctx context.Context, s backend.Schedule) (id int64, err error) {
	if err := c.checkSchedule(&s); err != nil {
		return 0, err
	}
	err = c.o.Store.Update(ctx, func(tx *store.Tx) error {
		if err := c.enterHosts(tx, &s); err != nil {
			return err
		}
		s.Next = noTime
		if s.ID != 0 {
			old, err := tx.Schedule(s.ID)
			if err != nil {
				return err
			}
			s.Last, s.LastBad, s.Missed = old.Last, old.LastBad, old.Missed
			if old.Cron == s.Cron && !old.Disabled {
				s.Next = old.Next
			}
		}
		if s.Next.IsZero() && !s.Disabled {
			t, err := parseCron(s.Cron, c.o.Zone)
			if err != nil {
				return err
			}
			s.Next = t.next(c.o.Clock.Now())
		}
		if s.Owner == "" {
			s.Owner = c.o.Who
		}
		id, err = tx.PutSchedule(s)
		return err
	})
	if err != nil {
		return 0, err
	}
	told := c.record("schedule-put", &backend.TransferSpec{Name: s.Name}, fmt.Sprintf("schedule %d: %s to %s", id, s.Cron, s.Repo.URL))
	if s.Disabled {
		return id, told
	}
	return id, errors.Join(told, c.ensure(ctx))
}

// enterHosts notes where the hosts of a schedule are: those of its VMs, those it
// names, or all at hand.
func (c *Client) enterHosts(tx *store.Tx, s *backend.Schedule) error {
	for _, k := range s.VMs {
		if err := c.enterHost(tx, k.Host); err != nil {
			return err
		}
	}
	for _, name := range s.Hosts {
		if err := c.enterHost(tx, name); err != nil {
			return err
		}
	}
	if len(s.VMs) > 0 || len(s.Hosts) > 0 {
		return nil
	}
	for _, h := range c.o.Fleet() {
		if h.ReadOnly() {
			continue
		}
		if err := tx.PutBackupHost(h.Name(), h.URI()); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) checkSchedule(s *backend.Schedule) error {
	wrong := func(format string, args ...any) error {
		return &backend.OpError{Op: "schedule", Target: backend.Clean(s.Name), Err: fmt.Errorf("%w: "+format, append([]any{backend.ErrInvalid}, args...)...)}
	}
	if _, err := parseCron(s.Cron, c.o.Zone); err != nil {
		return err
	}
	ways := 0
	for _, set := range []bool{len(s.VMs) > 0, s.All, s.Tag != ""} {
		if set {
			ways++
		}
	}
	switch {
	case ways != 1:
		return wrong("VMs, all of them, or a tag: one of these")
	case len(s.Names) != 0 && len(s.Names) != len(s.VMs):
		return wrong("%d names for %d VMs", len(s.Names), len(s.VMs))
	case s.Repo.URL == "":
		return wrong("no repository is named")
	case !strings.Contains(s.Repo.URL, "://") && !path.IsAbs(s.Repo.URL):
		return wrong("%q is not an absolute path", backend.Clean(s.Repo.URL))
	case s.Verify < 0 || s.Verify > 100:
		return wrong("%g percent", s.Verify)
	case s.Limit < 0:
		return wrong("a limit of %d bytes a second", s.Limit)
	case c.o.handedOver(s.Repo):
		return wrong("a schedule needs a passphrase file that stays")
	}
	return nil
}

// RemoveSchedule forgets one; what it ordered goes on, and its backups stay.
func (c *Client) RemoveSchedule(ctx context.Context, id int64) error {
	if err := c.o.Store.Update(ctx, func(tx *store.Tx) error { return tx.DeleteSchedule(id) }); err != nil {
		return err
	}
	return c.record("schedule-remove", &backend.TransferSpec{}, fmt.Sprintf("schedule %d", id))
}

// RunSchedule has a schedule's run begin now; when it runs next stays as it is.
// It wraps backend.ErrBusy while a run is under way.
func (c *Client) RunSchedule(ctx context.Context, id int64) (ids []backend.TransferID, err error) {
	var s backend.Schedule
	if err := c.o.Store.View(ctx, func(tx *store.Tx) (err error) { s, err = tx.Schedule(id); return err }); err != nil {
		return nil, err
	}
	vms, trouble, err := c.chooseNow(ctx, &s)
	if err != nil {
		return nil, err
	}
	now := c.o.Clock.Now()
	err = c.o.Store.Update(ctx, func(tx *store.Tx) error {
		if s, err = tx.Schedule(id); err != nil {
			return err
		}
		text, err := tx.ScheduleNote(id)
		if err != nil {
			return err
		}
		if r, err := parseRound(text); err != nil || r.open() {
			return errors.Join(err, &backend.OpError{Op: "run the schedule", Target: backend.Clean(s.Name), Err: fmt.Errorf("%w: a run of it is under way", backend.ErrBusy),
				Hint: "wait for it to end"})
		}
		r := round{At: now, Stage: stageBackup}
		for _, t := range trouble {
			r.Bad = append(r.Bad, words(t))
		}
		if ids, err = orderBackups(tx, &s, vms, now, &r); err != nil {
			return err
		}
		r.IDs, r.All = ids, ids
		s.Last, s.LastBad, s.Missed = now, "", 0
		_, err = tx.PutSchedule(s)
		return errors.Join(err, putRound(tx, id, r), tx.AddEvent(scheduleEvent(&s, now, "schedule started", "by "+c.o.Who+": "+startedWords(&r))))
	})
	if err != nil {
		return nil, err
	}
	return ids, errors.Join(c.record("schedule-run", &backend.TransferSpec{}, fmt.Sprintf("schedule %d", id)), c.ensure(ctx))
}

// chooseNow finds the VMs of a schedule on the hosts at hand and on those that
// the engine knows. What could not be asked is trouble, as long as any is found.
func (c *Client) chooseNow(ctx context.Context, s *backend.Schedule) (vms []chosen, trouble []error, err error) {
	m := &Manager{o: c.o.Options, hosts: &hosts{o: &c.o.Options, open: map[string]*openHost{}}}
	var uris map[string]string
	if err := c.o.Store.View(ctx, func(tx *store.Tx) (err error) { uris, err = tx.BackupHosts(); return err }); err != nil {
		return nil, nil, err
	}
	mine := map[backend.Host]bool{}
	for _, h := range c.o.Fleet() {
		uris[h.Name()], mine[h] = h.URI(), true
		m.hosts.open[h.Name()] = &openHost{Host: h, uri: h.URI()}
	}
	m.hosts.know(uris)
	vms, trouble = m.choose(ctx, s)
	for _, o := range m.hosts.open {
		if !mine[o.Host] {
			if err := o.Close(); err != nil {
				trouble = append(trouble, err)
			}
		}
	}
	if len(vms) == 0 {
		return nil, nil, errors.Join(trouble...)
	}
	return vms, trouble, nil
}

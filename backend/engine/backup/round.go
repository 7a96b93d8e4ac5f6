package backup

import (
	"context"
	"fmt"

	"berth/backend"
	"berth/backend/store"
)

// further brings a schedule's run to its next stage when all of this one's
// transfers have ended.
func (m *Manager) further(ctx context.Context, s *backend.Schedule, r round) (moved bool, err error) {
	if r.Stage == stageCommand {
		m.command(ctx, *s, r)
		return false, nil // its end comes by itself
	}
	var ended []backend.Transfer
	err = m.o.Store.View(ctx, func(tx *store.Tx) (err error) {
		ended, err = tx.Transfers(store.TransferFilter{IDs: append([]backend.TransferID{}, r.IDs...)})
		return err
	})
	if err != nil {
		return false, err
	}
	good := 0
	for _, x := range ended {
		if !x.State.Ended() {
			return false, nil
		}
		if x.State == backend.TransferDone {
			good++
		}
	}
	for _, x := range ended {
		if x.State != backend.TransferDone {
			r.Bad = append(r.Bad, fmt.Sprintf("%s %s: %s", x.Spec.Kind, x.Spec.Name, x.Words))
		}
	}
	return true, m.enter(ctx, s, r, good)
}

// enter enters the stage that follows; good is how many transfers of this one
// ended well.
func (m *Manager) enter(ctx context.Context, s *backend.Schedule, r round, good int) error {
	now := m.o.Clock.Now()
	add := func(tx *store.Tx, spec backend.TransferSpec, n note) error {
		spec.Repo, spec.Schedule, spec.Limit = s.Repo, s.ID, s.Limit
		id, err := tx.AddTransfer(backend.Transfer{Owner: s.Owner, State: backend.TransferQueued, Since: now, Ordered: now, Spec: spec})
		if err != nil {
			return err
		}
		r.IDs = []backend.TransferID{id}
		r.All = append(r.All, id)
		return putNote(tx, id, n)
	}
	return m.putSchedule(ctx, s, func(tx *store.Tx) error {
		switch from := r.Stage; {
		case from == stageBackup && !s.Keep.IsZero() && good > 0: // when nothing new came, nothing old goes
			r.Stage = stageForget
			spec := backend.TransferSpec{Kind: backend.TransferForget, Name: roundName(s), Keep: s.Keep}
			if err := add(tx, spec, note{VMs: r.VMs}); err != nil {
				return err
			}
		case (from == stageBackup || from == stageForget) && s.Verify > 0:
			r.Stage = stageVerify
			spec := backend.TransferSpec{Kind: backend.TransferVerify, Name: roundName(s), Verify: backend.VerifySpec{Sample: s.Verify}}
			if err := add(tx, spec, note{}); err != nil {
				return err
			}
		default:
			return m.over(tx, s, r)
		}
		return putRound(tx, s.ID, r)
	})
}

func roundName(s *backend.Schedule) string {
	if s.Name != "" {
		return s.Name
	}
	return fmt.Sprintf("schedule %d", s.ID)
}

// over ends a run: what came of it is noted. When there is a command, the run is
// open until that was told.
func (m *Manager) over(tx *store.Tx, s *backend.Schedule, r round) error {
	now := m.o.Clock.Now()
	s.LastBad = backend.Clean(joined(r.Bad))
	kept, err := tx.Schedule(s.ID)
	if err != nil {
		return err
	}
	kept.LastBad = s.LastBad
	if _, err := tx.PutSchedule(kept); err != nil {
		return err
	}
	what, detail := "schedule done", count(len(r.VMs), "VM")
	if s.LastBad != "" {
		what, detail = "schedule failed", s.LastBad
	}
	if err := tx.AddEvent(scheduleEvent(s, now, what, detail)); err != nil {
		return err
	}
	if s.Command == "" {
		return putRound(tx, s.ID, round{})
	}
	r.Stage, r.Ended = stageCommand, now
	return putRound(tx, s.ID, r)
}

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"berth/backend"
)

const (
	// followStep is how often transfers are looked at, whatever has changed.
	followStep = 500 * time.Millisecond
	// plainStep is how often one says where it is when nobody watches it live.
	plainStep = 10 * time.Second
	// cancelDeadline is how long the end of what was cancelled is waited for: it
	// has scratch files and checkpoints to take away.
	cancelDeadline = 2 * time.Minute
	// detachDeadline bounds what is done when the terminal has gone.
	detachDeadline = 10 * time.Second
	// engineGrace is how long an engine may be gone before another is brought up.
	engineGrace = 5 * time.Second
)

// followOptions say how to follow transfers.
type followOptions struct {
	jobs   int // at most so many are ordered at a time; 0: all at once
	detach bool
	json   bool
}

// follower orders transfers and shows how they go until the last has ended.
type follower struct {
	app     *app
	backups backend.Backups
	o       followOptions
	refs    refSource
	queue   []backend.TransferSpec // that are not ordered yet

	ids      []backend.TransferID // that were, in their order
	told     map[backend.TransferID]toldOf
	ended    map[backend.TransferID]bool
	failed   int
	live     *liveLines // nil: nobody watches
	noEngine time.Time  // since when none was seen
}

// toldOf is what was last said of a transfer.
type toldOf struct {
	state backend.TransferState
	phase backend.Phase
	at    time.Time
	line  string
}

func (w *follower) run(ctx context.Context) error {
	w.told, w.ended = map[backend.TransferID]toldOf{}, map[backend.TransferID]bool{}
	if !w.o.json && !w.o.detach {
		w.live = w.app.liveLines()
	}
	if w.o.detach {
		return w.detached(ctx)
	}
	err := w.follow(ctx)
	if ctx.Err() != nil {
		err = w.interrupted(ctx)
	}
	w.live.clear()
	if err == nil && w.failed > 0 {
		return errReported
	}
	return err
}

// detached orders everything and leaves it to the engine.
func (w *follower) detached(ctx context.Context) error {
	if err := w.orderMore(ctx, 0); err != nil {
		return err
	}
	st, err := w.backups.State(ctx)
	if err != nil {
		return err
	}
	if w.o.json {
		for _, id := range w.ids {
			if t := transferByID(&st, id); t != nil {
				if err := w.printJSON(t); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, id := range w.ids {
		label := strconv.FormatInt(int64(id), 10)
		if t := transferByID(&st, id); t != nil {
			label = transferLabel(t)
		}
		if _, err := fmt.Fprintf(w.app.Stdout, "%s: ordered\n", label); err != nil {
			return err
		}
	}
	return nil
}

// follow orders and watches until all has ended.
func (w *follower) follow(ctx context.Context) error {
	if err := w.orderMore(ctx, 0); err != nil {
		return err
	}
	for {
		st, err := w.backups.State(ctx)
		if err != nil {
			return err
		}
		open, err := w.take(ctx, &st)
		if err != nil {
			return err
		}
		if len(open) == 0 && len(w.queue) == 0 {
			return nil
		}
		if err := w.orderMore(ctx, len(open)); err != nil {
			return err
		}
		if err := w.wait(ctx, st.Revision); err != nil {
			return err
		}
	}
}

// wait returns when something has changed, or a moment later.
func (w *follower) wait(ctx context.Context, revision int64) error {
	step, cancel := context.WithTimeout(ctx, followStep)
	defer cancel()
	err := w.backups.Wait(step, revision)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if step.Err() != nil {
		return nil
	}
	return err
}

// orderMore orders what is left, or as much as may run beside what is open.
func (w *follower) orderMore(ctx context.Context, open int) error {
	n := len(w.queue)
	if w.o.jobs > 0 {
		n = min(n, max(0, w.o.jobs-open))
	}
	if n == 0 {
		return nil
	}
	ids, err := w.start(ctx, w.queue[:n])
	w.ids, w.queue = append(w.ids, ids...), w.queue[n:]
	if err != nil && len(ids) > 0 {
		w.app.complain(err) // it is ordered all the same: the engine did not come up
		return nil
	}
	return err
}

// take tells what is new of the state and returns the transfers that are open.
func (w *follower) take(ctx context.Context, st *backend.BackupsState) (open []*backend.Transfer, err error) {
	var news []*backend.Transfer
	for _, id := range w.ids {
		if w.ended[id] {
			continue
		}
		t := transferByID(st, id)
		switch {
		case t == nil:
			w.ended[id] = true
			w.failed++
			w.live.clear()
			w.app.complain(fmt.Errorf("transfer %d: %w (any more): somebody removed it", id, backend.ErrNoTransfer))
		case t.State.Ended():
			w.ended[id] = true
			news = append(news, t)
		default:
			open = append(open, t)
		}
	}
	for _, t := range news {
		if err := w.tellEnd(t, st.At); err != nil {
			return nil, err
		}
	}
	w.seeEngine(ctx, st, len(open) > 0)
	return open, w.tellOpen(open, st.At)
}

// seeEngine brings an engine up when the one that works for this has gone.
func (w *follower) seeEngine(ctx context.Context, st *backend.BackupsState, needed bool) {
	if st.Engine.Running || !needed || w.app.flags.demo {
		w.noEngine = time.Time{}
		return
	}
	now := time.Now()
	if w.noEngine.IsZero() {
		w.noEngine = now
		return
	}
	if now.Sub(w.noEngine) < engineGrace {
		return
	}
	w.noEngine = now
	err := error(backend.ErrEngine)
	if s, ok := w.backups.(backend.EngineStarter); ok {
		err = s.StartEngine(ctx)
	}
	if err != nil && ctx.Err() == nil {
		w.live.clear()
		w.app.complain(fmt.Errorf("%w; what was ordered waits for it: berth engine start", err))
		w.noEngine = now.Add(time.Hour) // once is enough
	}
}

// tellOpen shows where those that are open are.
func (w *follower) tellOpen(open []*backend.Transfer, now time.Time) error {
	if w.live.on() {
		return w.live.draw(open, now, len(w.queue))
	}
	for _, t := range open {
		if err := w.tellChange(t, now); err != nil {
			return err
		}
	}
	return nil
}

// tellChange says where a transfer is, when that is worth a line.
func (w *follower) tellChange(t *backend.Transfer, now time.Time) error {
	was := w.told[t.ID]
	is := toldOf{state: t.State, phase: t.Progress.Phase, at: now, line: progressText(t, now)}
	fresh := is.state != was.state || is.phase != was.phase
	if !fresh && (now.Sub(was.at) < plainStep && !w.o.json || is.line == was.line) {
		return nil
	}
	w.told[t.ID] = is
	if w.o.json {
		return w.printJSON(t)
	}
	_, err := fmt.Fprintln(w.app.Stderr, is.line)
	return err
}

func (w *follower) printJSON(t *backend.Transfer) error {
	enc := json.NewEncoder(w.app.Stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(newTransferRecord(t))
}

// tellEnd says what became of a transfer.
func (w *follower) tellEnd(t *backend.Transfer, now time.Time) error {
	w.live.clear()
	if t.State != backend.TransferDone {
		w.failed++
	}
	if w.o.json {
		return w.printJSON(t)
	}
	if t.State == backend.TransferDone {
		_, err := fmt.Fprintln(w.app.Stdout, doneText(t))
		return err
	}
	w.app.complain(errors.New(lostText(t)))
	return nil
}

// transferByID is the transfer of the state, or nil.
func transferByID(st *backend.BackupsState, id backend.TransferID) *backend.Transfer {
	i := slices.IndexFunc(st.Transfers, func(t backend.Transfer) bool { return t.ID == id })
	if i < 0 {
		return nil
	}
	return &st.Transfers[i]
}

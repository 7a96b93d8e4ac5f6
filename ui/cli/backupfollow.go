package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"berth/backend"
	"berth/model"
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

// subject is the VM of a transfer, or what it is.
func subject(t *backend.Transfer) string {
	if t.Spec.Name != "" {
		return backend.Clean(t.Spec.Name)
	}
	return fmt.Sprintf("%s %d", t.Spec.Kind, t.ID)
}

// doneText reads "web1: backed up in 12s: 1.3G read, 320M new, 120M stored
// (2.7×); point 3fa21b0c9d12".
func doneText(t *backend.Transfer) string {
	p := &t.Progress
	word := map[backend.TransferKind]string{backend.TransferBackup: "backed up", backend.TransferRestore: "restored",
		backend.TransferVerify: "verified", backend.TransferForget: "forgotten by its rules", backend.TransferCopy: "copied", backend.TransferConvert: "converted"}[t.Spec.Kind]
	text := subject(t) + ": " + word
	if !t.Started.IsZero() && t.Ended.After(t.Started) {
		text += " in " + spent(t.Ended.Sub(t.Started))
	}
	switch t.Spec.Kind {
	case backend.TransferBackup:
		text += fmt.Sprintf(": %s read, %s new, %s stored%s", model.Bytes(float64(p.Done)), model.Bytes(float64(p.New)), model.Bytes(float64(p.Out)), ratioText(p, " (", ")"))
		if t.Point != "" {
			text += "; point " + shortID(t.Point)
		}
		if p.Why != "" {
			text += "; full: " + p.Why
		}
	default:
		if p.Total > 0 {
			text += ": " + model.Bytes(float64(p.Done))
		}
	}
	if t.Words != "" {
		text += "; " + t.Words
	}
	return backend.Clean(text)
}

// spent is how long something took, with a tenth where that matters.
func spent(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return model.Duration(d)
}

// lostText says what failed and what to do.
func lostText(t *backend.Transfer) string {
	text := fmt.Sprintf("%s: %s", subject(t), t.State)
	if t.Words != "" {
		text += ": " + t.Words
	}
	if t.State == backend.TransferFailed {
		text += fmt.Sprintf("; when that is put right: berth backup retry %d", t.ID)
	}
	return text
}

func ratioText(p *backend.Progress, before, after string) string {
	if p.New <= 0 || p.Out <= 0 {
		return ""
	}
	return fmt.Sprintf("%s%.1f×%s", before, float64(p.New)/float64(p.Out), after)
}

// progressText is where a transfer is, on a line that is not drawn anew.
func progressText(t *backend.Transfer, now time.Time) string {
	parts := append([]string{subject(t) + ": " + stageText(t, now)}, figures(t)...)
	return strings.Join(parts, "  ")
}

// stageText is what a transfer is doing, or why it does nothing.
func stageText(t *backend.Transfer, now time.Time) string {
	text := string(t.State)
	switch {
	case t.Cancel:
		text = "cancelling"
	case t.State == backend.TransferRunning && t.Progress.Phase != "":
		text = string(t.Progress.Phase)
		if t.Progress.Disk != "" {
			text += " " + t.Progress.Disk
		}
	case t.Words != "":
		text += ": " + t.Words
	}
	if t.State == backend.TransferWaiting && t.NextTry.After(now) {
		text += "; again in " + model.Duration(t.NextTry.Sub(now))
	}
	return backend.Clean(text)
}

// figures are the amounts of a transfer that runs.
func figures(t *backend.Transfer) []string {
	p := &t.Progress
	if t.State != backend.TransferRunning && t.State != backend.TransferPaused || p.Done == 0 && p.Total == 0 {
		return nil
	}
	var out []string
	if p.Total > 0 {
		out = append(out, fmt.Sprintf("%.0f%%", 100*float64(p.Done)/float64(p.Total)), model.Bytes(float64(p.Done))+"/"+model.Bytes(float64(p.Total)))
	} else {
		out = append(out, model.Bytes(float64(p.Done)))
	}
	return append(out, pace(t)...)
}

// pace is how fast it goes, and when it will be done.
func pace(t *backend.Transfer) []string {
	p := &t.Progress
	var out []string
	if t.State == backend.TransferRunning && p.Rate > 0 {
		text := model.Rate(float64(p.Rate)) + "/s"
		if p.Mean > 0 {
			text += " (mean " + model.Rate(float64(p.Mean)) + "/s)"
		}
		out = append(out, text)
	}
	if t.State == backend.TransferRunning && p.ETA > 0 {
		out = append(out, model.Duration(p.ETA)+" left")
	}
	if r := ratioText(p, "", ""); r != "" {
		out = append(out, r)
	}
	return out
}

// interrupted is what follows a signal: ^C cancels what was ordered; a lost
// terminal, or a machine that goes down, leaves it to the engine.
func (w *follower) interrupted(ctx context.Context) error {
	signal := interruption(ctx)
	fresh := context.WithoutCancel(ctx)
	if signal != nil && signal.Signal == syscall.SIGINT {
		return w.cancel(fresh, signal)
	}
	w.live.clear()
	if w.app.flags.demo {
		return context.Cause(ctx)
	}
	fresh, done := context.WithTimeout(fresh, detachDeadline)
	defer done()
	w.o.jobs = 0
	if err := w.orderMore(fresh, 0); err != nil {
		return fmt.Errorf("%w; of what was asked for %d were not ordered: %w", context.Cause(ctx), len(w.queue), err)
	}
	return fmt.Errorf("%w; the engine goes on with it: berth backup jobs", context.Cause(ctx))
}

// cancel ends what was ordered and waits until nothing of it is left.
func (w *follower) cancel(ctx context.Context, signal error) error {
	w.queue = nil
	open := slices.DeleteFunc(slices.Clone(w.ids), func(id backend.TransferID) bool { return w.ended[id] })
	if len(open) == 0 {
		return signal
	}
	ctx, done := context.WithTimeout(ctx, cancelDeadline)
	defer done()
	w.live.clear()
	w.app.complain(errors.New("cancelling, until nothing is left behind; ^C again leaves that to the engine"))
	for _, id := range open { // one that has ended meanwhile holds back no other
		if err := w.backups.Change(ctx, []backend.TransferID{id}, backend.TransferChange{Cancel: true}); err != nil && !errors.Is(err, backend.ErrState) {
			return fmt.Errorf("%w; transfer %d cannot be cancelled: %w", signal, id, err)
		}
	}
	if err := w.follow(ctx); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w; not all has ended after %s: berth backup jobs", signal, cancelDeadline)
		}
		return fmt.Errorf("%w; %w", signal, err)
	}
	return signal
}

// transferByID is the transfer of the state, or nil.
func transferByID(st *backend.BackupsState, id backend.TransferID) *backend.Transfer {
	i := slices.IndexFunc(st.Transfers, func(t backend.Transfer) bool { return t.ID == id })
	if i < 0 {
		return nil
	}
	return &st.Transfers[i]
}

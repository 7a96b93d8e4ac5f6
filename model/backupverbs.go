package model

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
	"berth/model/config"
)

// transferVerb is something that can be done to transfers.
type transferVerb struct {
	id, label   string
	doing, done string
	warn        string // what the confirmation says; a verb without is asked about only for several
	yes         string
	change      backend.TransferChange
	can         func(*backend.Transfer) error
}

// Why a verb makes no sense on a transfer.
var (
	errTransferEnded   = errors.New("it has ended")
	errTransferRuns    = errors.New("it is not over yet")
	errTransferDone    = errors.New("it ended well")
	errNotPaused       = errors.New("it is not paused")
	errPausedAlready   = errors.New("it is paused already")
	errBeingCancelled  = errors.New("it is being cancelled")
	errOthersJob       = errors.New("somebody else started it; it can only be ended")
	errNothingSelected = errors.New("no transfer is selected")
)

func transferLives(t *backend.Transfer) error {
	switch {
	case t.State.Ended():
		return errTransferEnded
	case t.Cancel:
		return errBeingCancelled
	}
	return nil
}

var (
	transferPause = transferVerb{id: "pause", label: "Pause", doing: "pausing", done: "paused", change: backend.TransferChange{Pause: true},
		can: func(t *backend.Transfer) error {
			if t.Pause || t.State == backend.TransferPaused {
				return errPausedAlready
			}
			return transferLives(t)
		}}
	transferResume = transferVerb{id: "resume", label: "Resume", doing: "resuming", done: "goes on", change: backend.TransferChange{Resume: true},
		can: func(t *backend.Transfer) error {
			if !t.Pause && t.State != backend.TransferPaused {
				return errNotPaused
			}
			return transferLives(t)
		}}
	transferCancel = transferVerb{id: "cancel", label: "Cancel", yes: "Cancel it", doing: "cancelling", done: "being cancelled", change: backend.TransferChange{Cancel: true},
		warn: "What it has read is not lost where a repository is its target: the next backup takes it up. A restore or a copy leaves nothing behind.", can: transferLives}
	transferRetry = transferVerb{id: "retry", label: "Retry", doing: "retrying", done: "ordered again", change: backend.TransferChange{Retry: true},
		can: func(t *backend.Transfer) error {
			switch t.State {
			case backend.TransferFailed, backend.TransferCancelled, backend.TransferWaiting:
				return nil
			case backend.TransferDone:
				return errTransferDone
			}
			return errTransferRuns
		}}
)

// rowTargets are the lines that an action on the transfers is meant for.
func (s *Backups) rowTargets() []*TransferRow {
	var out []*TransferRow
	for _, k := range s.list.targets() {
		if r := s.list.rows[k]; r != nil {
			out = append(out, r)
		}
	}
	return out
}

// transferWhy says why a verb can be done on none of the targets.
func (a *App) transferWhy(can func(*backend.Transfer) error) string {
	if why := a.backupsRefuse(); why != "" {
		return why
	}
	return noneCan(a.Backups.rowTargets(), errNothingSelected.Error(), "marked", onTransfer(can))
}

// onTransfer is can for a line, which may be a job of somebody else's.
func onTransfer(can func(*backend.Transfer) error) func(*TransferRow) error {
	return func(r *TransferRow) error {
		if r.Transfer == nil {
			return errOthersJob
		}
		return can(r.Transfer)
	}
}

// ableTransfers are the transfers among the targets on which a verb makes
// sense, and what is said of the others.
func (a *App) ableTransfers(can func(*backend.Transfer) error) (ts []*backend.Transfer, left []string) {
	rows, left := ableOf(a.Backups.rowTargets(), (*TransferRow).Name, onTransfer(can))
	for _, r := range rows {
		ts = append(ts, r.Transfer)
	}
	return ts, left
}

func transferIDs(ts []*backend.Transfer) []backend.TransferID {
	ids := make([]backend.TransferID, len(ts))
	for i, t := range ts {
		ids[i] = t.ID
	}
	return ids
}

// transfersName names transfers in a message: the one, or how many.
func transfersName(ts []*backend.Transfer) string {
	if len(ts) == 1 {
		r := TransferRow{Transfer: ts[0]}
		return backend.Clean(string(ts[0].Spec.Kind) + " of " + r.Name())
	}
	return fmt.Sprintf("%d transfers", len(ts))
}

// rowSlid refuses once when another line than the person selected is under the
// cursor, because theirs left the list.
func (a *App) rowSlid() (tea.Cmd, bool) {
	l := &a.Backups.list
	if a.Screen != ScreenBackups || !l.slid() {
		return nil, false
	}
	l.Move(0)
	return a.Warn("the selected line left the list; this is " + a.Backups.SelectedRow().Name() + ": the same key again acts on it"), true
}

// runTransferVerb does a verb on the targets, after a question where it ends
// something or is meant for several.
func (a *App) runTransferVerb(v *transferVerb) tea.Cmd {
	if cmd, slid := a.rowSlid(); slid {
		return cmd
	}
	ts, left := a.ableTransfers(v.can)
	if len(ts) == 0 {
		return a.Warn(v.label + ": nothing is left that it could be done to")
	}
	ids := transferIDs(ts)
	if len(ts) == 1 && v.warn == "" && len(left) == 0 {
		return a.changeTransfers(v, ids)
	}
	c := Confirm{Title: fmt.Sprintf("%s: %s?", v.label, transfersName(ts)), Yes: v.label}
	if v.yes != "" && len(ts) == 1 {
		c.Yes = v.yes
	}
	if v.warn != "" {
		c.Body = []string{v.warn}
	}
	for _, t := range ts {
		r := TransferRow{Transfer: t}
		c.Names = append(c.Names, fmt.Sprintf("%s of %s, %s", t.Spec.Kind, r.Name(), t.State))
	}
	c.Names = append(c.Names, left...)
	c.OnYes = func(a *App, _ *Confirm) tea.Cmd { return a.changeTransfers(v, ids) }
	a.Push(newConfirm(c))
	return nil
}

// changeTransfers does a verb on the transfers that still are as it needs them.
func (a *App) changeTransfers(v *transferVerb, ids []backend.TransferID) tea.Cmd {
	r := a.transferRequest(v, ids)
	if r == nil {
		return a.Warn(v.label + ": nothing is left that it could be done to")
	}
	if len(ids) > 1 {
		a.Backups.list.ClearMarks()
	}
	return a.askBackups(r)
}

// transferRequest asks for a verb on those of the transfers that allow it; nil
// when none does.
func (a *App) transferRequest(v *transferVerb, ids []backend.TransferID) *backupRequest {
	var ts []*backend.Transfer
	for _, id := range ids {
		if t := a.Backups.Transfer(id); t != nil && v.can(t) == nil {
			ts = append(ts, t)
		}
	}
	if len(ts) == 0 {
		return nil
	}
	able := transferIDs(ts)
	r := &backupRequest{ids: able, doing: v.doing, done: transfersName(ts) + ": " + v.done, audit: transferAudit(ts, "backup "+v.id, ""),
		do: func(ctx context.Context, b backend.Backups) error { return b.Change(ctx, able, v.change) }}
	switch v {
	case &transferPause:
		r.back = func(a *App) *backupRequest { return a.transferRequest(&transferResume, able) }
	case &transferResume:
		r.back = func(a *App) *backupRequest { return a.transferRequest(&transferPause, able) }
	}
	return r
}

// transferAudit is an entry for each transfer.
func transferAudit(ts []*backend.Transfer, verb, detail string) []auditLine {
	out := make([]auditLine, len(ts))
	for i, t := range ts {
		out[i] = auditLine{t.Spec.VM, t.Spec.Name, verb, strings.TrimSpace(fmt.Sprintf("%s %d %s", t.Spec.Kind, t.ID, detail))}
	}
	return out
}

func (a *App) pauseTransferWhy() string {
	why := a.transferWhy(transferPause.can)
	if why != "" && a.transferWhy(transferResume.can) == "" {
		return ""
	}
	return why
}

// pauseTransfer pauses, or resumes where all targets are paused.
func (a *App) pauseTransfer() tea.Cmd {
	if a.transferWhy(transferPause.can) != "" {
		return a.runTransferVerb(&transferResume)
	}
	return a.runTransferVerb(&transferPause)
}

// cancelTransferWhy is that of cancelling, which can end a job of others too.
func (a *App) cancelTransferWhy() string {
	if r := a.Backups.SelectedRow(); a.oneJob(r) {
		if a.ReadOnly() {
			return errReadOnly.Error()
		}
		return ""
	}
	return a.transferWhy(transferCancel.can)
}

// oneJob reports whether an action is meant for one job of somebody else's.
func (a *App) oneJob(r *TransferRow) bool {
	all, hidden := a.Backups.list.Marks()
	return r != nil && r.Job != nil && all == hidden
}

func (a *App) cancelTransfer() tea.Cmd {
	if r := a.Backups.SelectedRow(); a.oneJob(r) {
		if cmd, slid := a.rowSlid(); slid {
			return cmd
		}
		return a.abortJob(*r.Job)
	}
	return a.runTransferVerb(&transferCancel)
}

// parseLimit reads bytes a second; nothing and 0 are no limit.
func parseLimit(s string) (int64, error) {
	if s == "" || s == "none" {
		return 0, nil
	}
	n, err := config.ParseSize(strings.TrimSuffix(s, "/s"))
	switch {
	case err != nil:
		return 0, err
	case n > math.MaxInt64:
		return 0, errors.New("that is too much")
	case n > 0 && n < 4096:
		return 0, fmt.Errorf("%d bytes a second: do you mean %dM?", n, n)
	}
	return int64(n), nil
}

// limitText is a limit as parseLimit reads it.
func limitText(n int64) string {
	if n <= 0 {
		return ""
	}
	return exactSize(n)
}

// askLimit asks how fast the targets may read.
func (a *App) askLimit() tea.Cmd {
	if cmd, slid := a.rowSlid(); slid {
		return cmd
	}
	ts, _ := a.ableTransfers(transferLives)
	ids := transferIDs(ts)
	p := newPrompt("Limit of "+transfersName(ts), "Bytes read a second, as 50M; nothing: as fast as it goes.", limitText(ts[0].Spec.Limit), func(a *App, text string) tea.Cmd {
		n, err := parseLimit(strings.TrimSpace(text))
		if err != nil {
			return a.Warn(err.Error())
		}
		return a.setLimit(ids, n)
	})
	p.Check = func(text string) error { _, err := parseLimit(strings.TrimSpace(text)); return err }
	a.Push(p)
	return nil
}

func (a *App) setLimit(ids []backend.TransferID, n int64) tea.Cmd {
	r := a.limitRequest(ids, n)
	if r == nil {
		return a.Warn("limit: it has ended meanwhile")
	}
	if len(ids) > 1 {
		a.Backups.list.ClearMarks()
	}
	return a.askBackups(r)
}

// limitRequest asks for a limit on those of the transfers that still live.
func (a *App) limitRequest(ids []backend.TransferID, n int64) *backupRequest {
	var ts []*backend.Transfer
	for _, id := range ids {
		if t := a.Backups.Transfer(id); t != nil && transferLives(t) == nil {
			ts = append(ts, t)
		}
	}
	if len(ts) == 0 {
		return nil
	}
	said := "no limit"
	if n > 0 {
		said = "at most " + Bytes(float64(n)) + "/s"
	}
	able, was := transferIDs(ts), ts[0].Spec.Limit
	return &backupRequest{ids: able, doing: "limiting", done: transfersName(ts) + ": " + said, audit: transferAudit(ts, "backup limit", said),
		do: func(ctx context.Context, b backend.Backups) error {
			return b.Change(ctx, able, backend.TransferChange{Limit: &n})
		},
		back: func(a *App) *backupRequest { return a.limitRequest(able, was) }}
}

package model

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
	"berth/model/config"
)

// backupRequest is one thing that backups are asked for, from the answer Yes to
// the state that shows it.
type backupRequest struct {
	ids   []backend.TransferID // whose rows show it pending
	doing string               // "pausing"
	done  string               // "web-01: paused"
	audit []auditLine
	do    func(context.Context, backend.Backups) error
	back  func(*App) *backupRequest // what takes it back; nil: nothing does
	// after, when set, is done once it has succeeded.
	after func(*App) tea.Cmd
}

// backupDone is the answer to a request, and the state after it.
type backupDone struct {
	req      *backupRequest
	state    backend.BackupsState
	stateErr error
	err      error
	auditErr error
}

// askBackups begins a request.
func (a *App) askBackups(r *backupRequest) tea.Cmd {
	s := a.Backups
	if err := s.Missing(); err != nil {
		return a.Warn(err.Error())
	}
	for _, id := range r.ids {
		s.pending[id] = r.doing
	}
	s.requests++
	var records []func(error) error
	for _, l := range r.audit {
		records = append(records, a.recorder(l.key, l.name, l.verb, l.detail))
	}
	b, parent := s.b, s.ctx
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, requestDeadline)
		defer cancel()
		m := backupDone{req: r}
		m.err = r.do(ctx, b)
		for _, record := range records {
			m.auditErr = errors.Join(m.auditErr, record(m.err))
		}
		m.state, m.stateErr = b.State(ctx)
		return m
	}
}

func (a *App) onBackupDone(m backupDone) tea.Cmd {
	s, r := a.Backups, m.req
	s.requests--
	for _, id := range r.ids {
		delete(s.pending, id)
	}
	cmds := []tea.Cmd{a.auditFailed(m.auditErr)}
	before := s.states()
	if m.stateErr == nil && s.take(m.state) {
		cmds = append(cmds, a.backupsChanged(), a.tellEnded(before))
	}
	if m.err != nil {
		return tea.Batch(append(cmds, a.Bad(m.err.Error()))...)
	}
	a.Events.Add(LogEntry{At: a.clock.Now(), Level: LevelOK, Kind: "backup", Text: r.done})
	a.undo = nil
	if r.back != nil {
		a.undo = &undoStep{Label: "undoes it", Run: func(a *App) tea.Cmd {
			if back := r.back(a); back != nil {
				return a.askBackups(back)
			}
			return a.Warn("nothing is left to undo")
		}}
	}
	if r.after != nil {
		cmds = append(cmds, r.after(a))
	}
	return tea.Batch(append(cmds, a.OK(a.undoable(r.done)))...)
}

// onBackups brings the messages of the screens of backups on.
func (a *App) onBackups(msg tea.Msg) tea.Cmd {
	if m, ok := msg.(backupDone); ok {
		return a.onBackupDone(m)
	}
	before := a.Backups.states()
	changed, cmd := a.Backups.Update(msg)
	if changed {
		cmd = tea.Batch(cmd, a.backupsChanged(), a.tellEnded(before))
	}
	return tea.Batch(cmd, a.reviveForBackups())
}

// backupsChanged brings a new state to what is made from it.
func (a *App) backupsChanged() tea.Cmd {
	if a.noteBackups() {
		a.VMs.Rebuild()
	}
	return nil
}

// states are the states of all transfers; nil before the first answer.
func (s *Backups) states() map[backend.TransferID]backend.TransferState {
	if !s.HasData {
		return nil
	}
	out := make(map[backend.TransferID]backend.TransferState, len(s.State.Transfers))
	for i := range s.State.Transfers {
		out[s.State.Transfers[i].ID] = s.State.Transfers[i].State
	}
	return out
}

// tellEnded tells of transfers that have ended since: one is told on the
// status line, all in the event list.
func (a *App) tellEnded(before map[backend.TransferID]backend.TransferState) tea.Cmd {
	if before == nil {
		return nil
	}
	var last *backend.Transfer
	bad := 0
	for i := range a.Backups.State.Transfers {
		t := &a.Backups.State.Transfers[i]
		was, known := before[t.ID]
		if known && was == t.State || !t.State.Ended() {
			continue // one that is not known was ordered and has ended since
		}
		e := LogEntry{At: t.Ended, Host: t.Spec.VM.Host, VM: t.Spec.Name, Key: t.Spec.VM, Level: LevelOK, Kind: "backup", Text: EndText(t)}
		switch t.State {
		case backend.TransferFailed:
			e.Level = LevelBad
			bad++
		case backend.TransferCancelled:
			e.Level = LevelWarn
		}
		a.Events.Add(e)
		if last == nil || t.State == backend.TransferFailed {
			last = t
		}
	}
	switch {
	case last == nil:
		return nil
	case bad > 1:
		return a.bad(fmt.Sprintf("%d transfers failed: %s lists them", bad, a.KeyFor("backups")))
	case bad == 1:
		return a.bad(EndText(last))
	}
	return a.Info(EndText(last))
}

// EndText is how a transfer ended, in one sentence.
func EndText(t *backend.Transfer) string {
	row := TransferRow{Transfer: t}
	text := fmt.Sprintf("%s of %s: %s", t.Spec.Kind, row.Name(), t.State)
	if t.State == backend.TransferDone && t.Spec.Kind == backend.TransferBackup {
		text += fmt.Sprintf(", %s read, %s new, %s stored", Bytes(float64(t.Progress.Done)), Bytes(float64(t.Progress.New)), Bytes(float64(t.Progress.Out)))
	}
	if t.Words != "" {
		text += ": " + t.Words
	}
	return backend.Clean(text)
}

// backupsRefuse says why nothing can be asked of backups now, or "".
func (a *App) backupsRefuse() string {
	switch {
	case a.Backups.Missing() != nil:
		return a.Backups.Missing().Error()
	case a.opt.ReadOnly || a.ReadOnly():
		return errReadOnly.Error()
	case !a.Backups.HasData:
		return "the backups have not answered yet"
	}
	return ""
}

// backupEngineWhy says why an engine cannot be started from here, or "".
func (a *App) backupEngineWhy() string {
	if why := a.backupsRefuse(); why != "" {
		return why
	}
	if _, ok := a.Backups.b.(backend.EngineStarter); !ok {
		return "these backups have no engine of their own"
	}
	if a.Backups.State.Engine.Running {
		return "it runs already"
	}
	return ""
}

func (a *App) startBackupEngine() tea.Cmd {
	return a.askBackups(&backupRequest{done: "the engine runs", audit: []auditLine{{verb: "backup engine"}},
		do: func(ctx context.Context, b backend.Backups) error {
			if e, ok := b.(backend.EngineStarter); ok {
				return e.StartEngine(ctx)
			}
			return backend.ErrUnsupported
		}})
}

// reviveForBackups brings back an engine that was lost while transfers need
// one. It is the queue's too: the two share the least time between attempts.
func (a *App) reviveForBackups() tea.Cmd {
	s, now := a.Backups, a.clock.Now()
	if !s.State.Engine.Lost || a.backupEngineWhy() != "" || now.Sub(a.Queue.revived) < reviveEvery {
		return nil
	}
	for i := range s.State.Transfers {
		if !s.State.Transfers[i].State.Ended() {
			a.Queue.revived = now
			return tea.Batch(a.Warn("the engine was lost; starting it again"), a.startBackupEngine())
		}
	}
	return nil
}

// order orders transfers. Where a repository is encrypted and no file of its
// secret is known, the passphrase is asked for first.
func (a *App) order(specs []backend.TransferSpec, done string) tea.Cmd {
	for i := range specs {
		if a.opt.HandOver != nil && a.sealed(specs[i].Repo) {
			p := newPrompt("Passphrase of "+backend.Clean(specs[i].Repo.URL), "Handed to the engine for this once; esc orders nothing.", "", func(a *App, text string) tea.Cmd {
				return a.orderNow(specs, done, []byte(text))
			})
			p.Input.EchoMode = textinput.EchoPassword
			a.Push(p)
			return nil
		}
	}
	return a.orderNow(specs, done, nil)
}

// sealed reports whether a repository is encrypted and nobody has said where
// its secret is.
func (a *App) sealed(ref backend.RepoRef) bool {
	r := a.Backups.Repo(ref.URL)
	return r != nil && r.Encrypted && ref.PassphraseFile == "" && ref.IdentityFile == ""
}

// orderNow orders transfers; a passphrase is handed over for each that needs
// one.
func (a *App) orderNow(specs []backend.TransferSpec, done string, passphrase []byte) tea.Cmd {
	handOver := a.opt.HandOver
	var needs []int
	for i := range specs {
		if passphrase != nil && a.sealed(specs[i].Repo) {
			needs = append(needs, i)
		}
	}
	r := &backupRequest{done: done, do: func(ctx context.Context, b backend.Backups) error {
		sent, undo, err := withSecrets(specs, needs, func() (string, func() error, error) { return handOver(passphrase) })
		if err == nil {
			_, err = b.Start(ctx, sent)
		}
		if err != nil {
			for _, back := range undo {
				err = errors.Join(err, back())
			}
		}
		return err
	}}
	for i := range specs {
		r.audit = append(r.audit, auditLine{specs[i].VM, specs[i].Name, string(specs[i].Kind), specWords(&specs[i])})
	}
	return a.askBackups(r)
}

// withSecrets hands a passphrase over for each of the transfers that need one:
// whoever carries a transfer out removes its file. undo removes them where
// nothing was ordered.
func withSecrets(specs []backend.TransferSpec, needs []int, handOver func() (string, func() error, error)) (sent []backend.TransferSpec, undo []func() error, err error) {
	sent = slices.Clone(specs)
	for _, i := range needs {
		file, back, err := handOver()
		if err != nil {
			return nil, undo, err
		}
		sent[i].Repo.PassphraseFile, undo = file, append(undo, back)
	}
	return sent, undo, nil
}

// specWords is what was asked for, for the trail: only what is not usual.
func specWords(s *backend.TransferSpec) string {
	var parts []string
	add := func(on bool, text string) {
		if on {
			parts = append(parts, text)
		}
	}
	add(s.Repo.URL != "", "repo="+s.Repo.URL)
	add(s.Limit > 0, "limit="+Bytes(float64(s.Limit)))
	add(s.Backup.Full, "full")
	add(s.Backup.NoQuiesce, "no-quiesce")
	add(len(s.Backup.Tags) > 0, "tags="+strings.Join(s.Backup.Tags, ","))
	add(s.Restore.Point != "", "point="+s.Restore.Point)
	add(s.Restore.NewName != "", "name="+s.Restore.NewName)
	add(s.Restore.Pool != "", "pool="+s.Restore.Pool)
	add(s.Restore.DisksOnly, "disks-only")
	add(s.Restore.Start, "start")
	add(s.Verify.Sample > 0, fmt.Sprintf("sample=%g%%", s.Verify.Sample))
	add(!s.Keep.IsZero(), "keep="+config.RetentionText(s.Keep))
	add(s.Image.Source != "", s.Image.Source+" to "+strings.Join(s.Image.Targets, " "))
	return strings.Join(parts, " ")
}

package model

import (
	"errors"
	"fmt"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

var errReadOnly = errors.New("read-only: start berth with --write")

// hostRefuses says why nothing can be changed on a row's host now, or nil.
func (a *App) hostRefuses(r *Row) error {
	s := a.Fleet.HostState(r.Host)
	switch {
	case s == nil:
		return errors.New("its host is gone")
	case a.opt.ReadOnly || s.Host.ReadOnly():
		return errReadOnly
	case r.HostDown:
		return errors.New("host " + r.Host + " does not answer")
	}
	return nil
}

// refuse says why a verb makes no sense on a row now, or nil.
func (a *App) refuse(v backend.Verb, r *Row) error {
	if err := a.hostRefuses(r); err != nil {
		return err
	}
	if r.Pending != "" && !overrides(v, r.Pending) {
		return fmt.Errorf("%s is still %s (%s stops waiting)", r.Name, r.Pending.Info().Doing, a.KeyFor("give-up"))
	}
	if err := v.Check(&r.VM); err != nil {
		return err
	}
	return CheckTwin(v, &r.VM, a.Fleet.rowsOf(r.UUID))
}

// refused is refuse in words, or "".
func (a *App) refused(v backend.Verb, r *Row) string {
	if err := a.refuse(v, r); err != nil {
		return err.Error()
	}
	return ""
}

// able splits rows into those a verb can be done on and the reasons for the
// others.
func (a *App) able(v backend.Verb, rows []*Row) (can []*Row, why []string) {
	for _, r := range rows {
		if w := a.refused(v, r); w != "" {
			why = append(why, w)
		} else {
			can = append(can, r)
		}
	}
	return can, why
}

// disabledCache remembers verbDisabled's answers while nothing changes that
// they depend on: footers and help ask on every frame, and the marked VMs may be many.
type disabledCache struct {
	version int
	why     map[backend.Verb]string
}

// verbDisabled says why a verb can be done on none of the targets.
func (a *App) verbDisabled(v backend.Verb) string {
	rows := a.targets()
	if len(rows) < 2 {
		return a.disabledOnAll(v, rows)
	}
	if a.disabled.why == nil || a.disabled.version != a.VMs.version+a.Tasks.version {
		a.disabled = disabledCache{a.VMs.version + a.Tasks.version, map[backend.Verb]string{}}
	}
	why, known := a.disabled.why[v]
	if !known {
		why = a.disabledOnAll(v, rows)
		a.disabled.why[v] = why
	}
	return why
}

func (a *App) disabledOnAll(v backend.Verb, rows []*Row) string {
	return noneCan(rows, "no VM is selected", "marked VMs", func(r *Row) error { return a.refuse(v, r) })
}

// slid reports that another VM than the person selected is under the cursor,
// because theirs left the list. It says so once: then the new one is selected.
func (a *App) slid() (was, is string, ok bool) {
	if a.Screen != ScreenVMs || len(a.VMs.marks) > 0 || !a.VMs.Slid() {
		return "", "", false
	}
	was = "the selected VM"
	if r := a.Fleet.Row(a.VMs.cursor); r != nil {
		was = r.Name
	}
	a.VMs.Move(0)
	return was, a.VMs.Selected().Name, true
}

func (a *App) verbDisabledOn(v backend.Verb, r *Row) string {
	if r == nil {
		return "no VM is selected"
	}
	return a.refused(v, r)
}

// asks reports whether a verb is confirmed first, even on a single VM: one
// that interrupts the guest's service unless the settings say otherwise, and
// one that loses something whatever they say. Pausing can be undone with the
// same key.
func (a *App) asks(v backend.Verb) bool {
	least := backend.RiskInterrupt
	if a.opt.AskLossOnly {
		least = backend.RiskLoss
	}
	return v.Info().Risk >= least && v != backend.VerbSuspend
}

// runVerb does a verb on the targets, after a confirmation where it is risky
// or meant for several VMs.
func (a *App) runVerb(v backend.Verb) tea.Cmd {
	if was, is, ok := a.slid(); ok {
		return a.Warn(fmt.Sprintf("%s left the list; this is %s: the same key again acts on it", was, is))
	}
	rows := a.targets()
	can, why := a.able(v, rows)
	if len(rows) == 1 && !a.asks(v) {
		return a.start(v, keys(can))
	}
	c := a.confirmVerb(v, can)
	for _, w := range why {
		c.Names = append(c.Names, "left out: "+w)
	}
	a.Push(c)
	return nil
}

// confirmVerb asks whether a verb is to be done on rows, and lists them all.
func (a *App) confirmVerb(v backend.Verb, rows []*Row) *Confirm {
	i := v.Info()
	c := Confirm{Title: fmt.Sprintf("%s %s?", i.Label, rows[0].Name), Yes: i.Label, Danger: i.Risk >= backend.RiskLoss}
	if len(rows) > 1 {
		c.Title = fmt.Sprintf("%s %d VMs?", i.Label, len(rows))
	}
	if i.Warn != "" {
		c.Body = append(c.Body, i.Warn)
	}
	for _, r := range rows {
		c.Names = append(c.Names, fmt.Sprintf("%s on %s, %s", r.Name, r.Host, r.State))
	}
	ks := keys(rows) // not the rows: they may have changed or gone by the time of the answer
	c.OnYes = func(a *App, _ *Confirm) tea.Cmd { return a.start(v, ks) }
	return newConfirm(c)
}

func keys(rows []*Row) []backend.Key {
	ks := make([]backend.Key, len(rows))
	for i, r := range rows {
		ks[i] = r.Key()
	}
	return ks
}

// begin begins an action, looking once more whether it can be done: things
// may have changed since the question was asked.
func (a *App) begin(k backend.Key, act backend.Action) (tea.Cmd, error) {
	r := a.Fleet.Row(k)
	if r == nil {
		return nil, fmt.Errorf("%s is gone", act.Name)
	}
	if err := a.refuse(act.Verb, r); err != nil {
		return nil, err
	}
	return a.Tasks.Start(k, act)
}

// startAction begins one action, or says why it cannot be done.
func (a *App) startAction(k backend.Key, act backend.Action) tea.Cmd {
	cmd, err := a.begin(k, act)
	if err != nil {
		return a.Warn(err.Error())
	}
	return cmd
}

// start begins a verb on VMs.
func (a *App) start(v backend.Verb, ks []backend.Key) tea.Cmd {
	var cmds []tea.Cmd
	var failed []string
	for _, k := range ks {
		name := "a VM"
		if r := a.Fleet.Row(k); r != nil {
			name = r.Name
		}
		cmd, err := a.begin(k, backend.Action{Verb: v, UUID: k.UUID, Name: name})
		if err != nil {
			failed = append(failed, err.Error())
			continue
		}
		cmds = append(cmds, cmd)
	}
	if len(failed) > 0 {
		cmds = append(cmds, a.Warn(strings.Join(failed, "; ")))
	} else if len(ks) > 1 {
		a.VMs.ClearMarks() // they have served their purpose
		cmds = append(cmds, a.Info(fmt.Sprintf("%s %d VMs", v.Info().Doing, len(ks))))
	}
	return tea.Batch(cmds...)
}

func (a *App) noVM() string {
	if a.one() == nil {
		return "no VM is selected"
	}
	return ""
}

// pauseDisabled and pause toggle: any target that is paused resumes, the
// others pause, whichever the selected VM says.
func (a *App) pauseVerb() backend.Verb {
	rows := a.targets()
	if len(rows) > 0 && (rows[0].State == backend.Paused || rows[0].State == backend.PMSuspended) {
		return backend.VerbResume
	}
	return backend.VerbSuspend
}

func (a *App) pauseDisabled() string { return a.verbDisabled(a.pauseVerb()) }
func (a *App) pause() tea.Cmd        { return a.runVerb(a.pauseVerb()) }

func (a *App) autostartVerb() backend.Verb {
	if rows := a.targets(); len(rows) > 0 && rows[0].Autostart {
		return backend.VerbAutostartOff
	}
	return backend.VerbAutostartOn
}

func (a *App) autostartDisabled() string { return a.verbDisabled(a.autostartVerb()) }
func (a *App) autostart() tea.Cmd        { return a.runVerb(a.autostartVerb()) }

func (a *App) nothingPending() string {
	if r := a.one(); r == nil || a.Tasks.Of(r.Key()) == nil {
		return "nothing is under way on it"
	}
	return ""
}

func (a *App) giveUp() tea.Cmd {
	t := a.Tasks.Of(a.one().Key())
	cmd := a.Tasks.Cancel(t)
	return tea.Batch(cmd, a.ended([]*Task{t}))
}

// rename asks for the new name of the selected VM.
func (a *App) rename() tea.Cmd {
	r := a.one()
	k, old := r.Key(), r.Name
	p := newPrompt("Rename "+old, "The new name. Letters, digits and . _ - are safe everywhere.", old,
		func(a *App, name string) tea.Cmd {
			if name == old {
				return a.Info("the name is unchanged")
			}
			return a.startAction(k, backend.Action{Verb: backend.VerbRename, UUID: k.UUID, Name: old, New: name})
		})
	p.Check = func(name string) error { return a.checkName(k, name) }
	a.Push(p)
	return nil
}

// checkName refuses what libvirt would refuse, or what would be a trap.
func (a *App) checkName(k backend.Key, name string) error {
	switch {
	case name == "":
		return errors.New("a VM needs a name")
	case strings.TrimSpace(name) != name:
		return errors.New("no blanks at either end")
	case strings.ContainsAny(name, "/\n\t") || backend.Clean(name) != name:
		return errors.New("no slash, control or invisible characters")
	}
	for _, r := range a.Fleet.rows {
		if r.Host == k.Host && r.UUID != k.UUID && r.Name == name {
			return fmt.Errorf("%s already has a VM called %s", k.Host, name)
		}
	}
	return nil
}

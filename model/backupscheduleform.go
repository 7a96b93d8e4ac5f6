package model

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
	"berth/model/config"
)

func (a *App) scheduleWhy() string {
	if why := a.backupsRefuse(); why != "" {
		return why
	}
	if a.Backups.Schedules.Selected() == nil {
		return "no schedule is selected"
	}
	return ""
}

// scheduleTargets are the schedules that an action is meant for.
func (a *App) scheduleTargets() []*backend.Schedule {
	l := &a.Backups.Schedules
	var out []*backend.Schedule
	for _, id := range l.targets() {
		if c := l.byID[id]; c != nil {
			out = append(out, c)
		}
	}
	return out
}

// scheduleSlid refuses once when another schedule than the person selected is
// under the cursor.
func (a *App) scheduleSlid() (tea.Cmd, bool) {
	l := &a.Backups.Schedules
	if !l.slid() {
		return nil, false
	}
	l.Move(0)
	return a.Warn("the selected schedule is gone; this is " + ScheduleName(l.Selected()) + ": the same key again acts on it"), true
}

// newSchedule opens the form of a schedule that is not there yet.
func (a *App) newSchedule() tea.Cmd {
	c := backend.Schedule{Cron: "0 2 * * *", All: true, Limit: a.opt.BackupLimit,
		Keep: backend.Retention{Last: 3, Daily: 7, Weekly: 4, Monthly: 6}}
	if !a.opt.BackupKeep.IsZero() {
		c.Keep = a.opt.BackupKeep
	}
	f := a.scheduleForm(c)
	a.Push(f)
	return a.foresee(f)
}

func (a *App) editSchedule() tea.Cmd {
	if cmd, slid := a.scheduleSlid(); slid {
		return cmd
	}
	f := a.scheduleForm(*a.Backups.Schedules.Selected())
	a.Push(f)
	return a.foresee(f)
}

func (a *App) scheduleForm(c backend.Schedule) *Form {
	was := c
	verify := ""
	if c.Verify > 0 {
		verify = strconv.FormatFloat(c.Verify, 'f', -1, 64) + "%"
	}
	fresh := ""
	if c.Fresh > 0 {
		fresh = config.DurationText(c.Fresh)
	}
	fields := []Field{
		textField("name", "name", c.Name, "as it is numbered", "what it is called", nil),
		textField("cron", "when", c.Cron, "0 2 * * *", "minute hour day month weekday, or @daily, @weekly, @hourly", checkCron),
		textField("which", "VMs", WhichVMs(&c), "all", "all, all on HOST, tag:WORD, or names with commas", func(s string) error { return a.parseWhich(s, &backend.Schedule{}) }),
	}
	fields = append(fields, a.repoFields(c.Repo.URL)...)
	fields = append(fields,
		textField("keep", "keep", config.RetentionText(c.Keep), "everything", "last=3 daily=7 weekly=4 monthly=6 within=30d tag=gold", func(s string) error { _, err := parseKeep(s); return err }),
		textField("verify", "verify", verify, "nothing", "percent of the chunks that are read back after each run", optional(func(s string) error { _, err := parseSample(s); return err })),
		switchField("full", "full", c.Backup.Full, "read all of it each time"),
		switchField("quiesce", "quiesce", !c.Backup.NoQuiesce, "have guests' agents freeze their file systems for the instant"),
		textField("tags", "tags", strings.Join(c.Backup.Tags, " "), "none", "words that its points carry", nil),
		textField("limit", "limit", limitText(c.Limit), "none", "bytes read a second, as 50M", optional(func(s string) error { _, err := parseLimit(s); return err })),
		textField("fresh", "fresh", fresh, "twice the interval", "after which time without a newer point a VM stands out", optional(func(s string) error { _, err := config.ParseDuration(s); return err })),
		textField("command", "command", c.Command, "none", "shell command that gets each run's result as JSON on its standard input", nil),
		switchField("enabled", "enabled", !c.Disabled, "runs by itself"))
	f := &Form{Title: "New schedule", Yes: "Add", Fields: fields}
	if c.ID != 0 {
		f.Title, f.Yes = "Change "+backend.Clean(ScheduleName(&c)), "Change"
	}
	f.Foresee = func(a *App, f *Form) []PreviewLine { return a.scheduleLines(f, was) }
	f.Filled = func(f *Form) error { _, err := a.scheduleOf(f, was); return err }
	f.OnYes = func(a *App, f *Form) tea.Cmd {
		c, err := a.scheduleOf(f, was)
		if err != nil {
			return a.Warn(err.Error())
		}
		return a.askBackups(a.putSchedule(c, &was))
	}
	return f
}

// scheduleOf is the schedule that a form stands for.
func (a *App) scheduleOf(f *Form, was backend.Schedule) (backend.Schedule, error) {
	c := was
	var err, e error
	take := func() { err = errors.Join(err, e) }
	c.Name, c.Cron = f.Field("name").Text(), f.Field("cron").Text()
	e = checkCron(c.Cron)
	take()
	e = a.parseWhich(f.Field("which").Text(), &c)
	take()
	c.Repo, e = a.repoOf(f)
	take()
	c.Keep, e = parseKeep(f.Field("keep").Text())
	take()
	if text := f.Field("verify").Text(); text == "" {
		c.Verify = 0
	} else if c.Verify, e = parseSample(text); e == nil && c.Verify == 0 {
		c.Verify = 100
	}
	take()
	c.Limit, e = parseLimit(f.Field("limit").Text())
	take()
	c.Fresh, e = parseSpan(f.Field("fresh").Text())
	take()
	c.Command = f.Field("command").Text()
	c.Backup = backend.BackupSpec{Full: f.Field("full").On, NoQuiesce: !f.Field("quiesce").On, Tags: slices.Clone(words(f.Field("tags").Text()))}
	c.Disabled = !f.Field("enabled").On
	if r := a.Backups.Repo(c.Repo.URL); r != nil && r.Encrypted && c.Repo.PassphraseFile == "" && c.Repo.IdentityFile == "" {
		err = errors.Join(err, errors.New("the repository is encrypted and nobody is there to ask at night: name the file of its passphrase"))
	}
	return c, err
}

// scheduleLines say what a schedule would do.
func (a *App) scheduleLines(f *Form, was backend.Schedule) []PreviewLine {
	var out []PreviewLine
	c := was
	if a.parseWhich(f.Field("which").Text(), &c) == nil {
		n := a.covered(&c)
		level := LevelInfo
		if n == 0 {
			level = LevelWarn
		}
		out = append(out, PreviewLine{level, "It backs up " + oneOrMany(n, "%d VM", "%d VMs") + " of the connected hosts, as of now."})
	}
	now := a.clock.Now()
	if runs := nextRuns(f.Field("cron").Text(), now, 3); len(runs) > 0 && f.Field("cron").Err == nil {
		texts := make([]string, len(runs))
		for i, at := range runs {
			texts[i] = at.Format("Mon 2 Jan 15:04")
		}
		out = append(out, PreviewLine{LevelInfo, "It runs next " + strings.Join(texts, ", ") + " by this machine's clock."})
	}
	if keep, err := parseKeep(f.Field("keep").Text()); err == nil && keep.IsZero() {
		out = append(out, PreviewLine{LevelInfo, "Nothing is ever forgotten: the repository grows."})
	}
	return append(out, a.repoLines(f)...)
}

// putSchedule adds or replaces a schedule; was is what undo brings back, nil
// where nothing does.
func (a *App) putSchedule(c backend.Schedule, was *backend.Schedule) *backupRequest {
	verb, done := "backup schedule add", backend.Clean(c.Name)+": added"
	if c.Name == "" {
		done = "schedule: added"
	}
	if c.ID != 0 {
		verb, done = "backup schedule set", backend.Clean(ScheduleName(&c))+": changed"
	}
	r := &backupRequest{done: done, audit: []auditLine{{name: ScheduleName(&c), verb: verb, detail: scheduleText(&c)}},
		do: func(ctx context.Context, b backend.Backups) error { _, err := b.PutSchedule(ctx, c); return err }}
	if c.ID != 0 && was != nil {
		old := *was
		r.back = func(a *App) *backupRequest {
			if a.Backups.Schedules.byID[old.ID] == nil {
				return nil
			}
			return a.putSchedule(old, &c)
		}
	}
	return r
}

// scheduleText is a schedule in words, for the trail.
func scheduleText(c *backend.Schedule) string {
	text := fmt.Sprintf("cron=%q vms=%q repo=%s", c.Cron, WhichVMs(c), c.Repo.URL)
	if !c.Keep.IsZero() {
		text += fmt.Sprintf(" keep=%q", config.RetentionText(c.Keep))
	}
	if c.Command != "" {
		text += fmt.Sprintf(" command=%q", c.Command)
	}
	if c.Disabled {
		text += " disabled"
	}
	return text
}

// toggleSchedules disables the targets, or enables them where all are
// disabled. It asks nothing: undo takes it back.
func (a *App) toggleSchedules() tea.Cmd {
	if cmd, slid := a.scheduleSlid(); slid {
		return cmd
	}
	cs := a.scheduleTargets()
	off := slices.ContainsFunc(cs, func(c *backend.Schedule) bool { return !c.Disabled })
	var ids []int64
	for _, c := range cs {
		if c.Disabled != off {
			ids = append(ids, c.ID)
		}
	}
	a.Backups.Schedules.ClearMarks()
	return a.askBackups(a.disableRequest(ids, off))
}

// disableRequest disables or enables schedules that are still there; nil when
// none is.
func (a *App) disableRequest(ids []int64, off bool) *backupRequest {
	word := "enabled"
	if off {
		word = "disabled"
	}
	r := &backupRequest{}
	var changed []backend.Schedule
	for _, id := range ids {
		if c := a.Backups.Schedules.byID[id]; c != nil {
			put := *c
			put.Disabled = off
			changed = append(changed, put)
			r.audit = append(r.audit, auditLine{name: ScheduleName(c), verb: "backup schedule " + strings.TrimSuffix(word, "d")})
		}
	}
	if len(changed) == 0 {
		return nil
	}
	r.done = backend.Clean(ScheduleName(&changed[0])) + ": " + word
	if len(changed) > 1 {
		r.done = fmt.Sprintf("%d schedules: %s", len(changed), word)
	}
	r.do = func(ctx context.Context, b backend.Backups) error {
		for i := range changed {
			if _, err := b.PutSchedule(ctx, changed[i]); err != nil {
				return err
			}
		}
		return nil
	}
	r.back = func(a *App) *backupRequest { return a.disableRequest(ids, !off) }
	return r
}

// removeSchedules asks whether schedules are to be forgotten.
func (a *App) removeSchedules() tea.Cmd {
	var gone []backend.Schedule
	for _, c := range a.scheduleTargets() {
		gone = append(gone, *c)
	}
	return a.confirmSchedules("Remove", "backup schedule remove", "removed", "What they have backed up stays. VMs that no schedule has any more are backed up only when somebody does it.",
		func(*App) *backupRequest { return addAgain(gone) },
		func(ctx context.Context, b backend.Backups, id int64) error { return b.RemoveSchedule(ctx, id) })
}

// runSchedules asks whether schedules are to run now.
func (a *App) runSchedules() tea.Cmd {
	return a.confirmSchedules("Run now", "backup schedule run", "started", "Their VMs are backed up now, and what comes after it is done: verifying, forgetting, the command.", nil,
		func(ctx context.Context, b backend.Backups, id int64) error {
			_, err := b.RunSchedule(ctx, id)
			return err
		})
}

func (a *App) confirmSchedules(label, verb, done, warn string, back func(*App) *backupRequest, do func(context.Context, backend.Backups, int64) error) tea.Cmd {
	if cmd, slid := a.scheduleSlid(); slid {
		return cmd
	}
	cs := a.scheduleTargets()
	c := Confirm{Title: fmt.Sprintf("%s: %s?", label, count(len(cs), "schedule")), Yes: label, Body: []string{warn}}
	if len(cs) == 1 {
		c.Title = fmt.Sprintf("%s: %s?", label, backend.Clean(ScheduleName(cs[0])))
	}
	var ids []int64
	r := &backupRequest{}
	for _, s := range cs {
		ids = append(ids, s.ID)
		c.Names = append(c.Names, fmt.Sprintf("%s: %s, %s", ScheduleName(s), s.Cron, WhichVMs(s)))
		r.audit = append(r.audit, auditLine{name: ScheduleName(s), verb: verb})
	}
	r.done = strings.TrimPrefix(strings.TrimSuffix(c.Title, "?"), label+": ") + ": " + done
	r.do = func(ctx context.Context, b backend.Backups) error {
		for _, id := range ids {
			if err := do(ctx, b, id); err != nil {
				return err
			}
		}
		return nil
	}
	r.back = back
	c.OnYes = func(a *App, _ *Confirm) tea.Cmd {
		a.Backups.Schedules.ClearMarks()
		return a.askBackups(r)
	}
	a.Push(newConfirm(c))
	return nil
}

// addAgain adds schedules that were removed; they get new numbers.
func addAgain(gone []backend.Schedule) *backupRequest {
	r := &backupRequest{done: count(len(gone), "schedule") + ": added again"}
	for i := range gone {
		gone[i].ID = 0
		r.audit = append(r.audit, auditLine{name: gone[i].Name, verb: "backup schedule add", detail: scheduleText(&gone[i])})
	}
	r.do = func(ctx context.Context, b backend.Backups) error {
		for i := range gone {
			if _, err := b.PutSchedule(ctx, gone[i]); err != nil {
				return err
			}
		}
		return nil
	}
	return r
}

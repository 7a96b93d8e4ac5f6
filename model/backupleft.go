package model

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// How hosts are asked for what broken-off backups left behind.
const (
	leftoversDeadline = 20 * time.Second
	leftoversEvery    = 5 * time.Minute // while a screen of backups is shown
)

// leftovers are what broken-off backups left on the hosts.
type leftovers struct {
	byHost map[string][]backend.Leftover
	errs   map[string]error
	gen    int
	asking int
}

type (
	leftoversMsg struct {
		gen   int
		host  string
		found []backend.Leftover
		err   error
	}
	leftoversTick struct{ gen int }
)

// askLeftovers asks every host that can tell.
func (s *Backups) askLeftovers() tea.Cmd {
	s.left.gen++
	s.left.asking = 0
	if s.left.byHost == nil {
		s.left.byHost, s.left.errs = map[string][]backend.Leftover{}, map[string]error{}
	}
	var cmds []tea.Cmd
	for _, h := range s.fleet.hosts {
		b, ok := h.Host.(backend.Backuper)
		if !ok || h.Err != nil {
			continue
		}
		name, gen, parent := h.Host.Name(), s.left.gen, s.ctx
		s.left.asking++
		cmds = append(cmds, func() tea.Msg {
			ctx, cancel := context.WithTimeout(parent, leftoversDeadline)
			defer cancel()
			found, err := b.Leftovers(ctx, nil)
			return leftoversMsg{gen: gen, host: name, found: found, err: err}
		})
	}
	return tea.Batch(append(cmds, s.clock.After(leftoversEvery, leftoversTick{s.left.gen}))...)
}

func (s *Backups) onLeftovers(msg tea.Msg) (changed bool, cmd tea.Cmd) {
	switch m := msg.(type) {
	case leftoversTick:
		if m.gen == s.left.gen && s.shown {
			return false, s.askLeftovers()
		}
	case leftoversMsg:
		if m.gen != s.left.gen || errors.Is(m.err, context.Canceled) {
			return false, nil
		}
		s.left.asking--
		delete(s.left.errs, m.host)
		if m.err != nil {
			s.left.errs[m.host] = m.err
			return true, nil
		}
		s.left.byHost[m.host] = m.found
		return true, nil
	}
	return false, nil
}

// Leftovers are what broken-off backups left behind and nothing needs any
// more, as far as this session can tell: what belongs to a VM that is being
// backed up, by whomever, is left out, for it may be in use.
func (s *Backups) Leftovers() []backend.Leftover {
	if s.b != nil && !s.HasData {
		return nil // what is alive is not known yet
	}
	var out []backend.Leftover
	for _, found := range s.left.byHost {
		for _, l := range found {
			if s.Active(l.VM) == nil && (l.Kind == "job" || !s.underJob(l.VM)) {
				out = append(out, l)
			}
		}
	}
	slices.SortFunc(out, func(a, b backend.Leftover) int {
		return compareAny(a.Host, b.Host, a.Name, b.Name, a.Kind, b.Kind, a.What, b.What)
	})
	return out
}

// underJob reports whether libvirt backs a domain up right now.
func (s *Backups) underJob(id backend.UUID) bool {
	for _, of := range s.jobs.byHost {
		for i := range of.jobs {
			if of.jobs[i].VM == id && of.jobs[i].Kind == "backup" {
				return true
			}
		}
	}
	return false
}

// compareAny compares pairs of texts in turn.
func compareAny(pairs ...string) int {
	for i := 0; i+1 < len(pairs); i += 2 {
		switch {
		case pairs[i] < pairs[i+1]:
			return -1
		case pairs[i] > pairs[i+1]:
			return 1
		}
	}
	return 0
}

func (a *App) leftoversWhy() string {
	switch s := a.Backups; {
	case a.ReadOnly():
		return errReadOnly.Error()
	case len(s.Leftovers()) == 0 && s.left.asking > 0:
		return "the hosts are still looking"
	case len(s.Leftovers()) == 0:
		return "no broken-off backup has left anything behind"
	}
	return ""
}

// cleanLeftovers asks whether what is left over is to be removed.
func (a *App) cleanLeftovers() tea.Cmd {
	found := a.Backups.Leftovers()
	c := Confirm{Title: fmt.Sprintf("Clean up %s?", count(len(found), "leftover")), Yes: "Clean up",
		Body: []string{"Broken-off backups left these behind. A job is ended, a scratch file deleted, a checkpoint dropped: the next backup that would have gone on from that checkpoint is a full one. Where another person's berth is backing up right now, wait until it is done."}}
	for i := range found {
		c.Names = append(c.Names, leftoverText(&found[i], a.clock.Now()))
	}
	c.OnYes = func(a *App, _ *Confirm) tea.Cmd { return a.cleanNow(found) }
	a.Push(newConfirm(c))
	return nil
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func leftoverText(l *backend.Leftover, now time.Time) string {
	text := fmt.Sprintf("%s of %s on %s", l.Kind, l.Name, l.Host)
	if l.What != "" {
		text += ": " + l.What
	}
	if l.Size > 0 {
		text += ", " + Bytes(float64(l.Size))
	}
	if !l.Since.IsZero() {
		text += ", since " + When(l.Since, now)
	}
	return text
}

// cleanNow removes what still is left over, host by host.
func (a *App) cleanNow(asked []backend.Leftover) tea.Cmd {
	type piece struct {
		l      backend.Leftover
		b      backend.Backuper
		record func(error) error
	}
	var todo []piece
	now := a.Backups.Leftovers()
	for _, l := range asked {
		h := a.Fleet.HostState(l.Host)
		if h == nil || !slices.Contains(now, l) {
			continue
		}
		if b, ok := h.Host.(backend.Backuper); ok {
			todo = append(todo, piece{l, b, a.recorder(backend.Key{Host: l.Host, UUID: l.VM}, l.Name, "backup clean", l.Kind+" "+l.What)})
		}
	}
	if len(todo) == 0 {
		return a.Warn("nothing is left over any more")
	}
	parent := a.ctx
	return tea.Batch(a.Info("cleaning up"), func() tea.Msg {
		var errs, audits error
		done := 0
		for _, p := range todo {
			ctx, cancel := context.WithTimeout(parent, requestDeadline)
			err := p.b.CleanUp(ctx, p.l)
			cancel()
			audits = errors.Join(audits, p.record(err))
			if err == nil {
				done++
			}
			errs = errors.Join(errs, err)
		}
		return result(func(a *App) tea.Cmd { return a.cleaned(done, errs, audits) })
	})
}

func (a *App) cleaned(done int, err, auditErr error) tea.Cmd {
	cmds := []tea.Cmd{a.auditFailed(auditErr), a.Backups.askLeftovers(), a.Backups.askJobs()}
	if err != nil {
		return tea.Batch(append(cmds, a.Bad(err.Error()))...)
	}
	return tea.Batch(append(cmds, a.OK(count(done, "leftover")+" cleaned up"))...)
}

package model

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"berth/backend"
)

// ScheduleList are the schedules, those that run next first.
type ScheduleList struct {
	picker[int64]
	filter textFilter[*backend.Schedule]
	byID   map[int64]*backend.Schedule
}

var scheduleKeys = []textKey[*backend.Schedule]{
	{"is", "enabled, disabled, failed, missed", scheduleStates, scheduleIs},
	{"name", "its name, with * and ? as wildcards", nil, func(c *backend.Schedule) []string { return []string{c.Name} }},
	{"owner", "who made it", nil, func(c *backend.Schedule) []string { return []string{c.Owner} }},
	{"repo", "the repository", nil, func(c *backend.Schedule) []string { return []string{c.Repo.URL} }},
	{"vm", "a VM that it names", nil, func(c *backend.Schedule) []string { return c.Names }},
}

// ScheduleFilterKeys returns the keys of the filter on schedules, by name.
func ScheduleFilterKeys() []FilterKey { return keyHelp(scheduleKeys) }

func scheduleStates() []string { return []string{"enabled", "disabled", "failed", "missed"} }

func scheduleIs(c *backend.Schedule) []string {
	out := []string{"enabled"}
	if c.Disabled {
		out[0] = "disabled"
	}
	if c.LastBad != "" {
		out = append(out, "failed")
	}
	if c.Missed > 0 {
		out = append(out, "missed")
	}
	return out
}

func scheduleTexts(c *backend.Schedule) []string {
	return append([]string{c.Name, c.Cron, c.Repo.URL, c.Owner, WhichVMs(c)}, scheduleIs(c)...)
}

// rebuildSchedules works out which schedules are listed.
func (s *Backups) rebuildSchedules() {
	l := &s.Schedules
	l.byID = map[int64]*backend.Schedule{}
	var shown []*backend.Schedule
	for i := range s.State.Schedules {
		c := &s.State.Schedules[i]
		l.byID[c.ID] = c
		if l.filter.match(c) {
			shown = append(shown, c)
		}
	}
	slices.SortStableFunc(shown, func(a, b *backend.Schedule) int {
		return cmp.Or(boolOrder(a.Disabled, b.Disabled), boolOrder(a.Next.IsZero(), b.Next.IsZero()), a.Next.Compare(b.Next), strings.Compare(a.Name, b.Name))
	})
	lines := make([]pickLine[int64], len(shown))
	for i, c := range shown {
		lines[i].key = c.ID
	}
	l.show(lines, func(id int64) bool { return l.byID[id] != nil })
}

// boolOrder puts false before true.
func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Schedule returns the schedule on a line, or nil.
func (l *ScheduleList) Schedule(line int) *backend.Schedule {
	if line < 0 || line >= len(l.lines) {
		return nil
	}
	return l.byID[l.lines[line].key]
}

// Selected is the selected schedule, or nil.
func (l *ScheduleList) Selected() *backend.Schedule {
	if id, ok := l.selected(); ok {
		return l.byID[id]
	}
	return nil
}

// Marked reports whether a schedule is marked.
func (l *ScheduleList) Marked(id int64) bool { return l.marked(id) }

// ScheduleName is what a schedule is called.
func ScheduleName(c *backend.Schedule) string {
	if c.Name != "" {
		return c.Name
	}
	return fmt.Sprintf("schedule %d", c.ID)
}

// WhichVMs is which VMs a schedule backs up, as its form reads it: "all",
// "all on hv1", "tag:web", "web-1, web-2".
func WhichVMs(c *backend.Schedule) string {
	text := ""
	switch {
	case c.All:
		text = "all"
	case c.Tag != "":
		text = "tag:" + c.Tag
	default:
		return strings.Join(c.Names, ", ")
	}
	if len(c.Hosts) > 0 {
		text += " on " + strings.Join(c.Hosts, ", ")
	}
	return text
}

// parseWhich reads which VMs are meant into a schedule.
func (a *App) parseWhich(text string, c *backend.Schedule) error {
	c.All, c.Tag, c.VMs, c.Names, c.Hosts = false, "", nil, nil, nil
	head, hosts, on := strings.Cut(text, " on ")
	head = strings.TrimSpace(head)
	tag, tagged := strings.CutPrefix(head, "tag:")
	switch {
	case head == "":
		return errors.New("say which VMs: all, tag:web, or names")
	case strings.EqualFold(head, "all"):
		c.All = true
	case tagged && tag == "":
		return errors.New("tag: needs a word behind it")
	case tagged:
		c.Tag = tag
	case on:
		return errors.New(`"on" goes with all and tag: a VM's name says where it is`)
	default:
		return a.parseNames(head, c)
	}
	for _, h := range words(hosts) {
		if a.Fleet.HostState(h) == nil {
			return fmt.Errorf("no host is called %s", h)
		}
		c.Hosts = append(c.Hosts, h)
	}
	if on && len(c.Hosts) == 0 {
		return errors.New("on which host?")
	}
	return nil
}

// parseNames reads names of VMs, parted by commas, as name or host/name.
func (a *App) parseNames(text string, c *backend.Schedule) error {
	for _, name := range strings.Split(text, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		var found []*Row
		for _, r := range a.Fleet.rows {
			if r.Name == name || r.Host+"/"+r.Name == name {
				found = append(found, r)
			}
		}
		switch len(found) {
		case 0:
			return fmt.Errorf("no VM is called %s", name)
		case 1:
			c.VMs, c.Names = append(c.VMs, found[0].Key()), append(c.Names, name)
		default:
			return fmt.Errorf("%d VMs are called %s: write host/%s", len(found), name, name)
		}
	}
	if len(c.VMs) == 0 {
		return errors.New("say which VMs: all, tag:web, or names")
	}
	return nil
}

// covered is how many VMs of the fleet a schedule backs up now.
func (a *App) covered(c *backend.Schedule) int {
	n := 0
	for _, r := range a.Fleet.rows {
		if covers(c, r) {
			n++
		}
	}
	return n
}

// checkCron says what is wrong with a time plan, or nil.
func checkCron(text string) error {
	plan, err := cron.ParseStandard(text)
	if err != nil {
		return errors.New("five fields (minute hour day month weekday) or @hourly, @daily, @weekly, @monthly: " + strings.TrimPrefix(err.Error(), "expected "))
	}
	if plan.Next(time.Unix(1, 0)).IsZero() {
		return errors.New("that never comes")
	}
	return nil
}

// nextRuns are the next moments of a time plan.
func nextRuns(text string, now time.Time, n int) []time.Time {
	plan, err := cron.ParseStandard(text)
	if err != nil {
		return nil
	}
	var out []time.Time
	for at := now; len(out) < n; {
		if at = plan.Next(at); at.IsZero() {
			break
		}
		out = append(out, at)
	}
	return out
}

package backup

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"berth/backend"
)

// timetable says when a schedule runs.
type timetable struct {
	plan  cron.Schedule
	zone  *time.Location
	hours bool // it names hours, rather than every one
}

// parseCron reads five fields or @daily and the like. It wraps
// backend.ErrInvalid.
func parseCron(text string, zone *time.Location) (timetable, error) {
	if strings.Contains(text, "TZ=") {
		return timetable{}, fmt.Errorf("%w: %q names a time zone; schedules run in the engine's", backend.ErrInvalid, text)
	}
	plan, err := cron.ParseStandard(text)
	if err != nil {
		return timetable{}, &backend.OpError{Op: "read the schedule", Target: backend.Clean(text), Err: fmt.Errorf("%w: %w", backend.ErrInvalid, err),
			Hint: "five fields: minute hour day month weekday, as 30 2 * * *; or @hourly, @daily, @weekly, @monthly, @every 6h"}
	}
	t := timetable{plan: plan, zone: zone}
	if f := strings.Fields(text); len(f) == 5 {
		t.hours = !strings.HasPrefix(f[1], "*")
	} else {
		t.hours = !strings.HasPrefix(text, "@hourly") && !strings.HasPrefix(text, "@every")
	}
	if t.next(time.Date(2024, 1, 1, 0, 0, 0, 0, zone)).IsZero() {
		return t, fmt.Errorf("%w: %q never comes", backend.ErrInvalid, text)
	}
	return t, nil
}

// next is the first run after a moment; zero: never. A time that the clocks
// skip in spring is run when it would have come had they not; one that comes
// twice in autumn is run the first time, as Vixie cron does.
func (t timetable) next(after time.Time) time.Time {
	after = after.In(t.zone)
	for {
		n := t.plan.Next(after)
		if n.IsZero() {
			return n
		}
		if s := t.skipped(after, n); !s.IsZero() {
			return s
		}
		if !t.hours || !twice(n) {
			return n
		}
		after = n
	}
}

// skipped is a run between both moments whose time of day does not exist.
func (t timetable) skipped(after, until time.Time) time.Time {
	if !t.hours {
		return time.Time{}
	}
	_, offset := after.Zone()
	if _, now := until.Zone(); now == offset && until.Sub(after) < 120*24*time.Hour {
		return time.Time{}
	}
	for at := after; ; {
		_, offset = at.In(t.zone).Zone()
		n := t.plan.Next(at.In(time.FixedZone("", offset)))
		if n.IsZero() || !n.Before(until) {
			return time.Time{}
		}
		local := n.In(t.zone)
		if _, then := local.Zone(); then > offset && local.Add(-time.Duration(then-offset)*time.Second).Before(lastChange(local)) {
			return local
		}
		at = n
	}
}

// lastChange is when the offset of t's zone began to hold.
func lastChange(t time.Time) time.Time {
	from, _ := t.ZoneBounds()
	return from
}

// twice reports whether the same time of day was an hour, or whatever the clocks
// were set back by, before.
func twice(t time.Time) bool {
	from, _ := t.ZoneBounds()
	if from.IsZero() {
		return false
	}
	_, now := t.Zone()
	_, before := from.Add(-time.Nanosecond).Zone()
	return before > now && t.Sub(from) < time.Duration(before-now)*time.Second
}

// missed counts the runs from next up to now, the one that is due left out. It
// stops counting where it does not matter any more.
func (t timetable) missed(next, now time.Time) (n int) {
	const most = 10000
	for at := t.next(next); !at.IsZero() && !at.After(now) && n < most; at = t.next(at) {
		n++
	}
	return n
}

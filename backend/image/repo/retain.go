package repo

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"berth/backend"
)

// Retained is what a retention says about one point.
type Retained struct {
	Point Manifest
	// Why are the rules that keep it ("last 1", "daily 2026-11-23", "tag
	// release"); empty: it is to be forgotten.
	Why []string
}

// Keep reports whether any rule keeps the point.
func (r *Retained) Keep() bool { return len(r.Why) > 0 }

// Retain applies a retention to points, for each VM on its own, and returns
// them in order, newest first. Periods are those of the time zone of now, as in
// "the last point of each of the N latest days that have one"; weeks are
// those of ISO 8601. A rule for N periods keeps the latest point of each.
// Within counts from now, or from the VM's latest point when that is older: a
// VM that is not backed up any more loses nothing by time going by. Points
// from the future (a clock was wrong) are kept, and count for no rule, so that
// they push nothing out.
func Retain(points []Manifest, keep backend.Retention, now time.Time) []Retained {
	all := make([]Retained, len(points))
	for i, p := range points {
		all[i].Point = p
	}
	slices.SortStableFunc(all, func(a, b Retained) int {
		return cmp.Or(b.Point.At.Compare(a.Point.At), cmp.Compare(b.Point.ID, a.Point.ID))
	})
	if keep.IsZero() {
		for i := range all {
			all[i].Why = []string{"no rule"}
		}
		return all
	}
	of := map[backend.UUID][]*Retained{}
	for i := range all {
		vm := all[i].Point.VM
		of[vm] = append(of[vm], &all[i])
	}
	for _, points := range of {
		retainVM(points, keep, now)
	}
	return all
}

// ahead is how far in the future a point may be for the clocks of two
// machines to differ as they do.
const ahead = 10 * time.Minute

// retainVM applies a retention to one VM's points, newest first.
func retainVM(points []*Retained, keep backend.Retention, now time.Time) {
	for len(points) > 0 && points[0].Point.At.After(now.Add(ahead)) {
		points[0].Why = []string{"from the future: a clock was wrong"}
		points = points[1:]
	}
	if len(points) == 0 {
		return
	}
	retainLast(points, keep.Last)
	for _, p := range periods {
		retainPeriods(points, p, p.of(keep), now.Location())
	}
	if keep.Within > 0 {
		from := now
		if at := points[0].Point.At; at.Before(from) {
			from = at
		}
		for _, r := range points {
			if r.Point.At.After(from.Add(-keep.Within)) {
				r.Why = append(r.Why, "within "+inDays(keep.Within))
			}
		}
	}
	for _, r := range points {
		for _, t := range keep.Tags {
			if slices.Contains(r.Point.Tags, t) {
				r.Why = append(r.Why, "tag "+backend.Clean(t))
			}
		}
	}
}

func retainLast(points []*Retained, n int) {
	for i := range min(n, len(points)) {
		points[i].Why = append(points[i].Why, fmt.Sprintf("last %d", i+1))
	}
}

// period is a rule that keeps the latest point of each of so many stretches.
type period struct {
	name string
	of   func(backend.Retention) int
	in   func(time.Time) string // names the stretch that a moment is in
}

var periods = []period{
	// With the offset, the hour that comes twice when summer time ends is two.
	{"hourly", func(r backend.Retention) int { return r.Hourly }, func(t time.Time) string { return t.Format("2006-01-02 15h -0700") }},
	{"daily", func(r backend.Retention) int { return r.Daily }, func(t time.Time) string { return t.Format(time.DateOnly) }},
	{"weekly", func(r backend.Retention) int { return r.Weekly }, func(t time.Time) string {
		year, week := t.ISOWeek()
		return fmt.Sprintf("%d-W%02d", year, week)
	}},
	{"monthly", func(r backend.Retention) int { return r.Monthly }, func(t time.Time) string { return t.Format("2006-01") }},
	{"yearly", func(r backend.Retention) int { return r.Yearly }, func(t time.Time) string { return t.Format("2006") }},
}

func retainPeriods(points []*Retained, p period, n int, zone *time.Location) {
	last := ""
	for _, r := range points {
		if n <= 0 {
			return
		}
		in := p.in(r.Point.At.In(zone))
		if in == last {
			continue
		}
		last = in
		n--
		r.Why = append(r.Why, p.name+" "+in)
	}
}

// inDays tells a duration in days where it is whole days.
func inDays(d time.Duration) string {
	if day := 24 * time.Hour; d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}

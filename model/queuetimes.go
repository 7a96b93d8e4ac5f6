package model

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"berth/backend"
	"berth/model/config"
)

// When is a moment as a narrow column shows it, in now's time zone, at most 9
// cells: "14:05", "Tue 14:05", "3 Mar". The zero time is Unknown.
func When(t, now time.Time) string {
	if t.IsZero() {
		return Unknown
	}
	t = t.In(now.Location())
	day := func(t time.Time) time.Time {
		y, m, d := t.Date()
		return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	}
	switch days := int(day(t).Sub(day(now)) / (24 * time.Hour)); {
	case days == 0:
		return t.Format("15:04")
	case days > -7 && days < 7:
		return t.Format("Mon 15:04")
	case t.Year() == now.Year():
		return t.Format("2 Jan")
	}
	return t.Format("Jan 2006")
}

// Starts is when a waiting job will start: "now" where that is due, Unknown
// where nobody knows.
func Starts(eta, now time.Time) string {
	if !eta.IsZero() && !eta.After(now) {
		return "now"
	}
	return When(eta, now)
}

// Progress is how far a running job is against its estimate.
type Progress struct {
	Elapsed  time.Duration
	Expected time.Duration // altogether; 0 when it is open-ended
	Over     time.Duration // by how much it has outlived its estimate
}

// Left is the time it still has by its estimate.
func (p Progress) Left() time.Duration { return max(p.Expected-p.Elapsed, 0) }

// Fraction is how much of the estimate has passed, at most 1; below 0 when it
// is open-ended.
func (p Progress) Fraction() float64 {
	if p.Expected <= 0 {
		return -1
	}
	return min(1, float64(p.Elapsed)/float64(p.Expected))
}

// ProgressOf compares what a job has run, earlier starts included, with what
// it was believed to need. What its owner said counts, not the extensions it
// was given since.
func ProgressOf(j *backend.Job, now time.Time) Progress {
	p := Progress{Elapsed: j.Ran, Expected: j.Expected}
	if j.State.Holds() && !j.LastStart.IsZero() {
		p.Elapsed += max(now.Sub(j.LastStart), 0)
	}
	if j.Extended > 0 && j.Estimate > 0 {
		p.Expected = j.Estimate
	}
	if p.Expected > 0 {
		p.Over = max(p.Elapsed-p.Expected, 0)
	}
	return p
}

// Waited is how long a job has waited for its first start, or did wait.
func Waited(j *backend.Job, now time.Time) time.Duration {
	end := now
	if !j.Started.IsZero() {
		end = j.Started
	} else if j.State.Ended() && !j.Ended.IsZero() {
		end = j.Ended
	}
	return max(end.Sub(j.Submitted), 0)
}

var errPast = errors.New("that is over already")

// ParseBegin reads a moment to come: "14:30" (the next time it is so), "+2h",
// "2026-03-01 08:00". Empty is the zero time: at once.
func ParseBegin(s string, now time.Time) (time.Time, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return time.Time{}, nil
	}
	if rest, ok := strings.CutPrefix(s, "+"); ok {
		d, err := config.ParseDuration(rest)
		return now.Add(d), err
	}
	if t, err := time.ParseInLocation("15:04", s, now.Location()); err == nil {
		y, m, d := now.Date()
		at := time.Date(y, m, d, t.Hour(), t.Minute(), 0, 0, now.Location())
		if !at.After(now) {
			at = time.Date(y, m, d+1, t.Hour(), t.Minute(), 0, 0, now.Location())
		}
		return at, nil
	}
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02", time.RFC3339} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			if !t.After(now) {
				return time.Time{}, errPast
			}
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time; write 14:30, +2h or 2026-03-01 08:00", s)
}

// shiftText is a distance in time with its direction, as "34m sooner".
func shiftText(d time.Duration) string {
	switch {
	case d <= -time.Second:
		return Duration(-d) + " sooner"
	case d >= time.Second:
		return Duration(d) + " later"
	}
	return "the same"
}

// queueNote is what a VM's row says of its job.
func queueNote(j *backend.Job, r *Row, now time.Time) string {
	switch SectionOf(j.State) {
	case SectionWaiting:
		if j.Home != r.Host {
			return ""
		}
		text := string(j.State)
		if j.Position > 0 {
			text += fmt.Sprintf(" #%d", j.Position)
		}
		if eta := Starts(j.ETA, now); eta != Unknown {
			text += " " + eta
		}
		return text
	case SectionRunning:
		if j.RunsOn != r.Host {
			return ""
		}
		if p := ProgressOf(j, now); p.Expected > 0 && p.Over == 0 && j.State == backend.JobRunning {
			return "job, " + Duration(p.Left()) + " left"
		}
		return "job " + string(j.State)
	}
	return ""
}

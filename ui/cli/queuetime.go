package cli

import (
	"fmt"
	"strings"
	"time"

	"berth/model/config"
)

// The forms in which people write a moment that names its day.
var dayForms = []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"}

const momentForms = "write +2h, 22:00, tomorrow 02:00, sat 06:30, 2026-01-31 22:00 or RFC 3339"

// parseMoment reads a time to come: RFC 3339, "+2h", "22:00" (today, or
// tomorrow when that has passed), "tomorrow 02:00", "sat 06:30" or a date,
// in now's time zone. "now" is the zero time: at once.
func parseMoment(s string, now time.Time) (time.Time, error) {
	text := strings.ToLower(strings.Join(strings.Fields(s), " "))
	if text == "now" {
		return time.Time{}, nil
	}
	at, err := readMoment(text, now)
	if err != nil {
		return at, err
	}
	if !at.After(now) {
		return at, fmt.Errorf("%q has passed already; leave it out to begin at once", s)
	}
	return at, nil
}

func readMoment(text string, now time.Time) (time.Time, error) {
	if span, ok := strings.CutPrefix(text, "+"); ok {
		d, err := config.ParseDuration(span)
		return now.Add(d), err
	}
	if at, err := time.Parse(time.RFC3339, strings.ToUpper(text)); err == nil {
		return at, nil
	}
	for _, form := range dayForms {
		if at, err := time.ParseInLocation(form, strings.ToUpper(text), now.Location()); err == nil {
			return at, nil
		}
	}
	return relativeDay(text, now)
}

// relativeDay reads a time of day, alone or after the name of a day.
func relativeDay(text string, now time.Time) (time.Time, error) {
	problem := fmt.Errorf("%q is not a time; %s", text, momentForms)
	day, clock, named := strings.Cut(text, " ")
	if !named {
		day, clock = "", text
	}
	hm, err := time.Parse("15:04", clock)
	if err != nil {
		return time.Time{}, problem
	}
	ahead, ok := daysAhead(day, now.Weekday())
	if !ok {
		return time.Time{}, problem
	}
	at := func(days int) time.Time {
		return time.Date(now.Year(), now.Month(), now.Day()+days, hm.Hour(), hm.Minute(), 0, 0, now.Location())
	}
	if t := at(ahead); t.After(now) || day == "today" {
		return t, nil
	}
	if day == "" {
		return at(1), nil
	}
	return at(ahead + 7), nil // today's weekday, when the time has passed
}

// daysAhead is how many days after today a name of a day means.
func daysAhead(name string, today time.Weekday) (days int, ok bool) {
	switch name {
	case "", "today":
		return 0, true
	case "tomorrow":
		return 1, true
	}
	for d := range time.Saturday + 1 {
		full := strings.ToLower(d.String())
		if name == full || name == full[:3] {
			return int(d-today+7) % 7, true
		}
	}
	return 0, false
}

// spanValue is a flag's time as config.ParseDuration reads it, so that days
// can be written; "none" is 0.
type spanValue time.Duration

func (v *spanValue) Type() string { return "TIME" }

// String is what help shows as the default: nothing.
func (v *spanValue) String() string {
	if v == nil || *v == 0 {
		return ""
	}
	return time.Duration(*v).String()
}

// Set reads a flag's value.
func (v *spanValue) Set(s string) error {
	if s == "none" {
		*v = 0
		return nil
	}
	d, err := config.ParseDuration(s)
	if err != nil {
		return err
	}
	*v = spanValue(d)
	return nil
}

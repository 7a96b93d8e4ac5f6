package widget

import (
	"strings"
	"time"
)

// Tick is one mark of a time axis.
type Tick struct {
	X     int // its column
	Label string
}

// steps are the distances between ticks that people read easily.
var steps = []time.Duration{
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	24 * time.Hour, 2 * 24 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour, 28 * 24 * time.Hour, 91 * 24 * time.Hour,
}

// labelRoom is the least room of a tick's label, a blank included.
const labelRoom = 10

// Ticks are the marks of an axis w cells wide from one moment to another, in
// from's time zone: as dense as their labels allow, on whole steps of the
// clock or the calendar.
func Ticks(from, to time.Time, w int) []Tick {
	span := to.Sub(from)
	if w <= 0 || span <= 0 {
		return nil
	}
	step := steps[len(steps)-1]
	for _, s := range steps {
		if float64(s)/float64(span)*float64(w) >= labelRoom {
			step = s
			break
		}
	}
	y, m, d := from.Date()
	midnight := time.Date(y, m, d, 0, 0, 0, 0, from.Location())
	at := midnight.Add(from.Sub(midnight).Truncate(step))
	var out []Tick
	free := 0
	for ; at.Before(to); at = next(at, step) {
		if x := TimeX(at, from, to, w); x >= free && !at.Before(from) {
			out = append(out, Tick{x, tickLabel(at, step)})
			free = x + labelRoom - 1
		}
	}
	return out
}

// next is one step later; days are counted on the calendar, which summer time
// makes longer and shorter.
func next(at time.Time, step time.Duration) time.Time {
	if days := int(step / (24 * time.Hour)); days > 0 {
		return at.AddDate(0, 0, days)
	}
	return at.Add(step)
}

func tickLabel(at time.Time, step time.Duration) string {
	if at.Hour() == 0 && at.Minute() == 0 || step >= 24*time.Hour {
		if step >= 14*24*time.Hour {
			return at.Format("2 Jan")
		}
		return at.Format("Mon 2")
	}
	return at.Format("15:04")
}

// TimeX is the column of a moment on an axis w cells wide; below 0 or from w
// on when it lies beside it.
func TimeX(at, from, to time.Time, w int) int {
	part := at.Sub(from).Seconds() / to.Sub(from).Seconds()
	switch x := part * float64(w); {
	case x < 0:
		return -1
	case x >= float64(w):
		return w
	default:
		return int(x)
	}
}

// TickLabels draws the labels of ticks in exactly w cells; one that has no
// room is left out.
func TickLabels(ticks []Tick, w int) string {
	var b strings.Builder
	used := 0
	for _, t := range ticks {
		if width := Width(t.Label); t.X >= used && t.X+width <= w {
			b.WriteString(blanks(t.X - used))
			b.WriteString(t.Label)
			used = t.X + width
			if used < w {
				b.WriteByte(' ')
				used++
			}
		}
	}
	return b.String() + blanks(w-used)
}

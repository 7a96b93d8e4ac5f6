package engine

import "time"

// Clock is where the engine's time comes from.
type Clock interface {
	// Now is the time.
	Now() time.Time
	// Timer's channel receives the time once d has passed. stop releases it.
	Timer(d time.Duration) (c <-chan time.Time, stop func() bool)
}

// wall is the machine's own clock.
type wall struct{}

func (wall) Now() time.Time { return time.Now() }

func (wall) Timer(d time.Duration) (<-chan time.Time, func() bool) {
	t := time.NewTimer(d)
	return t.C, t.Stop
}

// short is a span as people write it: "2h", "1h30m", "45s".
func short(d time.Duration) string {
	if d >= time.Minute {
		d = d.Round(time.Second)
	}
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if n := len(s) - len(zero); n > 0 && s[n:] == zero {
			s = s[:n+1]
		}
	}
	return s
}

package engine

import (
	"time"

	"berth/backend/engine/clock"
)

// Clock is where the engine's time comes from.
type Clock = clock.Clock

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

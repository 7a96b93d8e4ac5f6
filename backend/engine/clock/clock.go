// Package clock is where the engine's time comes from.
package clock

import "time"

// Clock is where time comes from; tests have others than the machine's.
type Clock interface {
	// Now is the time.
	Now() time.Time
	// Timer's channel receives the time once d has passed. stop releases it.
	Timer(d time.Duration) (c <-chan time.Time, stop func() bool)
}

// Wall is the machine's own clock.
type Wall struct{}

// Now is the time.
func (Wall) Now() time.Time { return time.Now() }

// Timer is a time.Timer.
func (Wall) Timer(d time.Duration) (<-chan time.Time, func() bool) {
	t := time.NewTimer(d)
	return t.C, t.Stop
}

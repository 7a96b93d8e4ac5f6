package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// Steady is the time since the machine's boot, suspension included, which
// nobody can set (CLOCK_BOOTTIME, clock_gettime(2)).
func (Wall) Steady() (time.Duration, bool) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, false
	}
	return time.Duration(ts.Nano()), true
}

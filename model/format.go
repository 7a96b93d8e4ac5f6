package model

import (
	"math"
	"strconv"
	"time"
)

// Unknown is what stands where a figure is not known.
const Unknown = "–"

// Bytes is n in binary units, at most 5 cells wide: "0", "512B", "1.2G",
// "1023M". NaN, infinities and negative numbers are Unknown.
func Bytes(n float64) string {
	if math.IsNaN(n) || math.IsInf(n, 0) || n < 0 {
		return Unknown
	}
	if n < 0.5 {
		return "0"
	}
	const units = "BKMGTPEZY"
	unit := 0
	// 1023.5 rather than 1024: what would round up to 1024 takes the next unit.
	for n >= 1023.5 && unit < len(units)-1 {
		n /= 1024
		unit++
	}
	digits := 0
	if unit > 0 && n < 9.95 {
		digits = 1
	}
	if n >= 9999 {
		return "lots"
	}
	return strconv.FormatFloat(n, 'f', digits, 64) + units[unit:unit+1]
}

// Rate is bytes per second in the form of Bytes; "/s" belongs to the title.
func Rate(n float64) string { return Bytes(n) }

// Percent is p without its sign, at most 5 cells wide: "0.4", "12.3", "100".
// A tenth is shown below 100. NaN is Unknown.
func Percent(p float64) string {
	switch {
	case math.IsNaN(p) || math.IsInf(p, 0):
		return Unknown
	case p < 0.05 && p > -0.05:
		return "0.0"
	case p < 99.95 && p > -99.95:
		return strconv.FormatFloat(p, 'f', 1, 64)
	}
	return Count(p)
}

// Count is a whole number, at most 5 cells wide: "0", "812", "12.3k". NaN and
// negative numbers are Unknown.
func Count(n float64) string {
	switch {
	case math.IsNaN(n) || math.IsInf(n, 0) || n < 0:
		return Unknown
	case n < 9999.5:
		return strconv.FormatFloat(n, 'f', 0, 64)
	case n < 99950:
		return strconv.FormatFloat(n/1e3, 'f', 1, 64) + "k"
	case n < 999500:
		return strconv.FormatFloat(n/1e3, 'f', 0, 64) + "k"
	case n < 999.5e6:
		return strconv.FormatFloat(n/1e6, 'f', 0, 64) + "M"
	case n < 9999.5e9:
		return strconv.FormatFloat(n/1e9, 'f', 0, 64) + "G"
	}
	return "lots"
}

// Duration is d in its one or two largest units, at most 5 cells wide: "45s",
// "12m", "3h40m", "23h", "3d4h", "412d", "3.1y". A negative one is Unknown.
func Duration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return Unknown
	case d < time.Minute:
		return unit(d, time.Second, "s")
	case d < time.Hour:
		return unit(d, time.Minute, "m")
	case d < 10*time.Hour:
		return unit(d, time.Hour, "h") + unit(d%time.Hour, time.Minute, "m")
	case d < day:
		return unit(d, time.Hour, "h")
	case d < 10*day:
		return unit(d, day, "d") + unit(d%day, time.Hour, "h")
	case d < 1000*day:
		return unit(d, day, "d")
	}
	years := d.Hours() / 24 / 365.25
	if years < 99.95 {
		return strconv.FormatFloat(years, 'f', 1, 64) + "y"
	}
	return strconv.FormatFloat(years, 'f', 0, 64) + "y"
}

func unit(d, of time.Duration, name string) string {
	return strconv.FormatInt(int64(d/of), 10) + name
}

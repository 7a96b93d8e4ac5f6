package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a time as people write it: "90s", "15m", "2h30m", "3d",
// "1w2d". Days are of 24 hours. A number without a unit is refused, except 0,
// and so is what is below nothing or beyond what a time.Duration can hold.
func ParseDuration(s string) (time.Duration, error) {
	problem := fmt.Errorf("%q is not a time; write 90s, 15m, 2h or 3d", s)
	rest, total := strings.ToLower(strings.TrimSpace(s)), 0.0
	for _, u := range []struct {
		name string
		of   time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		head, tail, ok := strings.Cut(rest, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(head, 64)
		if err != nil || n < 0 || math.IsInf(n, 0) || math.IsNaN(n) {
			return 0, problem
		}
		total, rest = total+n*float64(u.of), tail
	}
	if rest == "" && total == 0 && !strings.ContainsAny(s, "0123456789") {
		return 0, problem
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 {
			return 0, problem
		}
		total += float64(d)
	}
	if total > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is too long", s)
	}
	return time.Duration(total), nil
}

// byteUnits are of 1024, as libvirt's own are.
var byteUnits = map[string]float64{
	"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50,
}

// ParseSize reads an amount of bytes: "512M", "1.5GiB", "2G", "0".
func ParseSize(s string) (uint64, error) {
	low := strings.ToLower(strings.TrimSpace(s))
	num := strings.TrimRight(low, "kmgtpib")
	unit := low[len(num):]
	if len(unit) > 1 {
		unit = strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i")
	}
	v, err := strconv.ParseFloat(num, 64)
	if err != nil || math.IsNaN(v) || v < 0 {
		return 0, fmt.Errorf("%q is not a size; write 512M or 2G", s)
	}
	scale, known := byteUnits[unit]
	if !known && v != 0 {
		return 0, fmt.Errorf("%q has no known unit; write 512M or 2G, of 1024", s)
	}
	if v*scale > 1<<62 {
		return 0, fmt.Errorf("%q is too large", s)
	}
	return uint64(v * scale), nil
}

// parsePercent reads "5%", from 0 to 100.
func parsePercent(s string) (float64, error) {
	num, is := strings.CutSuffix(strings.TrimSpace(s), "%")
	v, err := strconv.ParseFloat(num, 64)
	if !is || err != nil || !(v >= 0 && v <= 100) {
		return 0, fmt.Errorf("%q is not a percentage; write 0%% to 100%%", s)
	}
	return v, nil
}

// Amount is a part of something: so many bytes, so many percent, or the
// greater of both when both are set.
type Amount struct {
	Bytes   uint64
	Percent float64
}

// Of is the amount of a whole of so many bytes, never more than the whole.
func (a Amount) Of(whole uint64) uint64 {
	return min(max(a.Bytes, uint64(float64(whole)*a.Percent/100)), whole)
}

// String writes the amount as config files do: "512M 5%".
func (a Amount) String() string {
	var parts []string
	if a.Bytes > 0 {
		parts = append(parts, sizeText(a.Bytes))
	}
	if a.Percent > 0 {
		parts = append(parts, percentText(a.Percent))
	}
	if len(parts) == 0 {
		return "0"
	}
	return strings.Join(parts, " ")
}

// sizeText is exact: the largest unit that divides n.
func sizeText(n uint64) string {
	units := "BKMGTP"
	i := 0
	for n > 0 && n%1024 == 0 && i < len(units)-1 {
		n, i = n/1024, i+1
	}
	return strconv.FormatUint(n, 10) + units[i:i+1]
}

func percentText(v float64) string { return numberText(v) + "%" }

func numberText(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// DurationText is d as ParseDuration reads it, without parts that are nothing:
// "30d", "2m", "1h30m".
func DurationText(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

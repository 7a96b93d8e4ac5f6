package model

import (
	"math"
	"testing"
	"time"
	"unicode/utf8"
)

func TestBytes(t *testing.T) {
	for _, tt := range []struct {
		n    float64
		want string
	}{
		{0, "0"}, {0.4, "0"}, {1, "1B"}, {999, "999B"}, {1023, "1023B"}, {1023.6, "1.0K"}, {1024, "1.0K"}, {10189, "10K"}, {1 << 20, "1.0M"},
		{1.5 * (1 << 30), "1.5G"}, {1023 << 20, "1023M"}, {1023.7 * (1 << 20), "1.0G"}, {3 << 40, "3.0T"}, {math.NaN(), "–"}, {math.Inf(1), "–"}, {-1, "–"},
	} {
		if got := Bytes(tt.n); got != tt.want {
			t.Errorf("Bytes(%v) = %q, want %q", tt.n, got, tt.want)
		}
	}
}

func TestPercent(t *testing.T) {
	for _, tt := range []struct {
		p    float64
		want string
	}{{0, "0.0"}, {0.04, "0.0"}, {0.06, "0.1"}, {9.96, "10.0"}, {99.94, "99.9"}, {99.96, "100"}, {1600, "1600"}, {25600, "25.6k"}, {math.NaN(), "–"}} {
		if got := Percent(tt.p); got != tt.want {
			t.Errorf("Percent(%v) = %q, want %q", tt.p, got, tt.want)
		}
	}
}

func TestDuration(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0s"}, {45 * time.Second, "45s"}, {59*time.Second + 999*time.Millisecond, "59s"}, {12*time.Minute + 59*time.Second, "12m"},
		{3*time.Hour + 4*time.Minute, "3h4m"}, {9*time.Hour + 59*time.Minute, "9h59m"}, {23*time.Hour + 59*time.Minute, "23h"},
		{3*day + 4*time.Hour, "3d4h"}, {9*day + 23*time.Hour, "9d23h"}, {12 * day, "12d"}, {999 * day, "999d"}, {1200 * day, "3.3y"}, {-time.Second, "–"},
	} {
		if got := Duration(tt.d); got != tt.want {
			t.Errorf("Duration(%v) = %q, want %q", tt.d, got, tt.want)
		}
	}
}

// Columns of figures are five cells wide, whatever the figure.
func FuzzFiguresFitFiveCells(f *testing.F) {
	f.Add(1.0)
	f.Add(math.MaxFloat64)
	f.Add(9999.5)
	f.Fuzz(func(t *testing.T, n float64) {
		for name, s := range map[string]string{"Bytes": Bytes(n), "Percent": Percent(math.Abs(n)), "Count": Count(n), "Duration": Duration(time.Duration(n))} {
			if w := utf8.RuneCountInString(s); w < 1 || w > 5 {
				t.Errorf("%s(%v) = %q, %d cells", name, n, s, w)
			}
		}
	})
}

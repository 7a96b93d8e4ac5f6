package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// row is one line of the table; limit 0 means that there is no target.
type row struct {
	what, virsh string
	got         []float64
	limit       []float64
	unit        string
}

func (b *bench) add(what, virsh, unit string, got, limit []float64) {
	r := row{what, virsh, got, limit, unit}
	b.rows = append(b.rows, r)
	progress("%s", r)
}

func (r row) String() string {
	ok, target := "", "–"
	if len(r.limit) > 0 {
		ok, target = "yes", "≤ "+figures(r.limit, " / ≤ ")+" "+r.unit
		for i, l := range r.limit {
			if r.got[i] > l {
				ok = "**no**"
			}
		}
	}
	return fmt.Sprintf("| %s | %s | %s %s | %s | %s |", r.what, r.virsh, figures(r.got, " / "), r.unit, target, ok)
}

// figures prints numbers with as many digits as they deserve.
func figures(f []float64, sep string) (s string) {
	for i, v := range f {
		if i > 0 {
			s += sep
		}
		switch {
		case v == float64(int64(v)), v >= 100:
			s += fmt.Sprintf("%.0f", v)
		default:
			s += fmt.Sprintf("%.1f", v)
		}
	}
	return s
}

func (b *bench) print(w io.Writer) {
	fmt.Fprintln(w, "| what | virsh | berth | target | ok |\n|---|---|---|---|---|")
	for _, r := range b.rows {
		fmt.Fprintln(w, r)
	}
}

// quantile sorts d; q is 0 to 1.
func quantile(d []time.Duration, q float64) time.Duration {
	slices.Sort(d)
	return d[min(int(q*float64(len(d))), len(d)-1)]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

package queue

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// span is a length of time for people: "1h30m", "4d2h", "for ever".
func span(t Time) string {
	switch {
	case t >= Never:
		return "for ever"
	case t <= 0:
		return "0s"
	case t >= 48*hour:
		d := whole(int64(t/(24*hour))) + "d"
		if h := t % (24 * hour) / hour; h > 0 {
			d += whole(int64(h)) + "h"
		}
		return d
	case t >= 10*minute:
		t = t / minute * minute
	}
	s := (time.Duration(t) * time.Second).String()
	if s = strings.TrimSuffix(s, "0s"); !strings.HasSuffix(s, "m") {
		return (time.Duration(t) * time.Second).String()
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func whole(n int64) string { return strconv.FormatInt(n, 10) }

// percent is a part of 1 in words.
func percent(part float64) string { return whole(int64(math.Round(part*100))) + " %" }

// times is a factor in words.
func times(f float64) string { return strconv.FormatFloat(f, 'g', 3, 64) }

// gib is how many of the unit of memory (MiB) make one GiB.
const gib = 1024

// amount is memory in words, as the rest of the program writes it ("5.9G");
// offer is the same, but never more than there is.
func amount(mib int64) string { return inWords(mib, math.Round) }

func offer(mib int64) string { return inWords(mib, math.Floor) }

func inWords(mib int64, round func(float64) float64) string {
	switch tenths := round(float64(mib) / gib * 10); {
	case mib < gib:
		return whole(mib) + "M"
	case tenths >= 100:
		return whole(int64(round(float64(mib)/gib))) + "G"
	default:
		return strconv.FormatFloat(tenths/10, 'f', 1, 64) + "G"
	}
}

// shrink says which size to give a job instead of the one it has.
func shrink(from, to *Size) string {
	var parts []string
	if to.VCPU < from.VCPU {
		parts = append(parts, whole(to.VCPU)+" vCPUs instead of "+whole(from.VCPU))
	}
	if to.Memory < from.Memory {
		parts = append(parts, offer(to.Memory)+" of memory instead of "+amount(from.Memory))
	}
	return "give it " + strings.Join(parts, " and ")
}

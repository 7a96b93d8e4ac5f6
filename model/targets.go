package model

import (
	"fmt"

	"berth/backend"
)

// noneCan says why an action makes sense on none of its targets, or "" where it
// does on one. none is said where there are no targets, many what they are.
func noneCan[T any](targets []T, none, many string, can func(T) error) string {
	var first error
	for _, t := range targets {
		err := can(t)
		if err == nil {
			return ""
		}
		if first == nil {
			first = err
		}
	}
	switch n := len(targets); n {
	case 0:
		return none
	case 1:
		return first.Error()
	default:
		return fmt.Sprintf("none of the %d %s can: %v", n, many, first)
	}
}

// ableOf are the targets on which an action makes sense, and what is said of
// the others. name is what to call one where its error does not; it may be nil.
func ableOf[T any](targets []T, name func(T) string, can func(T) error) (able []T, left []string) {
	for _, t := range targets {
		err := can(t)
		switch {
		case err == nil:
			able = append(able, t)
		case name == nil:
			left = append(left, "left out: "+backend.Clean(err.Error()))
		default:
			left = append(left, "left out: "+backend.Clean(fmt.Sprintf("%s: %v", name(t), err)))
		}
	}
	return able, left
}

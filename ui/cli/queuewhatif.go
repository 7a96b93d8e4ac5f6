package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"berth/backend"
	"berth/model"
)

// moved is a job in a queue that was thought through, beside what it is now.
type moved struct {
	job backend.Job
	was *backend.Job // nil: it is not queued yet
}

// movedRecord is a moved job in JSON: a job's keys, and where it stands now.
type movedRecord struct {
	jobRecord
	PositionNow *int    `json:"position_now"`
	ETANow      *string `json:"eta_now"`
	HostNow     string  `json:"eta_host_now"`
}

var movedColumns = []cellColumn[moved]{
	{"POS", 0, true, func(m *moved, _ time.Time) string { return countOrNone(m.job.Position) }},
	{"NOW", 3, true, func(m *moved, _ time.Time) string {
		return ofNow(m, func(j *backend.Job) string { return countOrNone(j.Position) })
	}},
	{"JOB", 0, true, func(m *moved, _ time.Time) string { return movedNumber(m) }},
	{"NAME", 0, false, func(m *moved, _ time.Time) string { return backend.Clean(m.job.Name) }},
	{"ST", 2, false, func(m *moved, _ time.Time) string { return string(m.job.State) }},
	{"EST", 4, true, func(m *moved, _ time.Time) string { return estimateText(&m.job) }},
	{"ETA", 0, false, func(m *moved, now time.Time) string { return etaText(&m.job, now) }},
	{"NOW", 1, false, func(m *moved, now time.Time) string {
		return ofNow(m, func(j *backend.Job) string { return etaText(j, now) })
	}},
	{"SHIFT", 1, true, func(m *moved, _ time.Time) string { return shiftText(m) }},
	{"HOST", 3, false, func(m *moved, _ time.Time) string { return hostText(&m.job) }},
	{"REASON", 4, false, func(m *moved, _ time.Time) string { return reasonText(&m.job) }},
}

func ofNow(m *moved, say func(*backend.Job) string) string {
	if m.was == nil {
		return ""
	}
	return say(m.was)
}

func movedNumber(m *moved) string {
	if m.was == nil {
		return "new"
	}
	return strconv.FormatInt(int64(m.job.ID), 10)
}

// shiftText is by how much sooner or later a job would start: "-2h10m", "+5m".
func shiftText(m *moved) string {
	if m.was == nil || m.job.ETA.IsZero() || m.was.ETA.IsZero() {
		return ""
	}
	d := m.job.ETA.Sub(m.was.ETA)
	switch {
	case d.Abs() < time.Second:
		return "="
	case d < 0:
		return "-" + model.Duration(-d)
	}
	return "+" + model.Duration(d)
}

// whatIf prints the queue that would follow, and does nothing.
func (a *app) whatIf(ctx context.Context, q backend.Queue, format string, before *backend.QueueState, h backend.Hypothesis) error {
	after, err := q.WhatIf(ctx, h)
	if err != nil {
		return err
	}
	list := compare(before, &after)
	if format == "json" {
		out := make([]movedRecord, len(list))
		for i := range list {
			out[i] = newMovedRecord(&list[i], after.At)
		}
		return encodeJSON(a.Stdout, out)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(a.Stdout, "no job would wait or start")
		return err
	}
	return printCells(a, a.Stdout, movedColumns, list, after.At)
}

// compare lists what waits in the one state or the other, in the order of the
// one that would be.
func compare(before, after *backend.QueueState) []moved {
	var list []moved
	for _, j := range after.Jobs {
		was := jobByID(before, j.ID)
		if j.State.Waiting() || was != nil && was.State.Waiting() || was == nil && !j.State.Ended() {
			list = append(list, moved{job: j, was: was})
		}
	}
	// Those that would start at once stand before those that would wait.
	slices.SortStableFunc(list, func(x, y moved) int { return x.job.Position - y.job.Position })
	return list
}

func newMovedRecord(m *moved, now time.Time) movedRecord {
	rec := movedRecord{jobRecord: newJobRecord(&m.job, now)}
	if m.was != nil {
		rec.PositionNow, rec.ETANow, rec.HostNow = positionOf(m.was), stamp(m.was.ETA), backend.Clean(m.was.ETAHost)
	}
	return rec
}

func positionOf(j *backend.Job) *int {
	if j.Position == 0 {
		return nil
	}
	return &j.Position
}

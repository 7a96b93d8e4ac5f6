package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"berth/backend"
	"berth/model"
)

// filtersByQueue reports whether the queue has to be asked for the filter.
func filtersByQueue(f model.Filter) bool { return slices.Contains(f.Keys(), "queue") }

// needsQueue reports whether the queue has to be asked for the list.
func (p *listPlan) needsQueue() bool {
	if p.format == "json" || p.format == "csv" && !p.chosen || p.by == "queue" || filtersByQueue(p.filter) {
		return true
	}
	return slices.ContainsFunc(p.columns, func(c model.Column) bool { return c.ID == "queue" })
}

// noteJobs writes on the rows what the queue has to say of them. Where there
// is no queue none is made; one that cannot be read is complained about.
func (a *app) noteJobs(ctx context.Context, rows []*model.Row) {
	if _, err := os.Stat(filepath.Join(a.config.Paths.StateDir, stateFile)); err != nil || a.flags.demo {
		return
	}
	q, err := a.openQueue(ctx, func() []backend.Host { return nil })
	if err != nil {
		a.complain(err)
		return
	}
	st, err := q.State(ctx)
	if cerr := q.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		a.complain(err)
		return
	}
	jobs := map[backend.Key]*backend.Job{}
	for i := range st.Jobs {
		j := &st.Jobs[i]
		if j.State.Ended() {
			continue
		}
		jobs[backend.Key{Host: j.Home, UUID: j.VM}] = j
		if j.RunsOn != "" {
			jobs[backend.Key{Host: j.RunsOn, UUID: j.VM}] = j
		}
	}
	for _, r := range rows {
		if j := jobs[r.Key()]; j != nil {
			r.Queued = jobNote(j)
		}
	}
}

// jobNote is a job in a word or two: "queued #3", "running".
func jobNote(j *backend.Job) string {
	if j.Position > 0 {
		return string(j.State) + " #" + strconv.Itoa(j.Position)
	}
	return string(j.State)
}

package store

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/backend"
)

// jobColumns are the table job but for its id.
var jobColumns = slices.Concat(
	[]column[backend.Job]{
		uuid("vm", func(j *backend.Job) *backend.UUID { return &j.VM }),
		text("name", func(j *backend.Job) *string { return &j.Name }),
		text("home", func(j *backend.Job) *string { return &j.Home }),
		text("owner", func(j *backend.Job) *string { return &j.Owner }),
	},
	amount("", func(j *backend.Job) *backend.Resources { return &j.Size }),
	[]column[backend.Job]{
		integer("priority", func(j *backend.Job) *int { return &j.Priority }),
		integer("nice", func(j *backend.Job) *int { return &j.Nice }),
		integer("estimate", func(j *backend.Job) *time.Duration { return &j.Estimate }),
		integer("time_limit", func(j *backend.Job) *time.Duration { return &j.Limit }),
		text("host", func(j *backend.Job) *string { return &j.Host }),
		list("follows", func(j *backend.Job) *[]backend.JobID { return &j.After }),
		moment("not_before", func(j *backend.Job) *time.Time { return &j.Begin }),
		flag("held", func(j *backend.Job) *bool { return &j.Held }),
		flag("preemptible", func(j *backend.Job) *bool { return &j.Preemptible }),
		list("tags", func(j *backend.Job) *[]string { return &j.Tags }),
		list("near", func(j *backend.Job) *[]string { return &j.Near }),
		list("apart", func(j *backend.Job) *[]string { return &j.Apart }),

		text("state", func(j *backend.Job) *backend.JobState { return &j.State }),
		moment("since", func(j *backend.Job) *time.Time { return &j.Since }),
		moment("submitted", func(j *backend.Job) *time.Time { return &j.Submitted }),
		moment("started", func(j *backend.Job) *time.Time { return &j.Started }),
		moment("ended", func(j *backend.Job) *time.Time { return &j.Ended }),
		text("runs_on", func(j *backend.Job) *string { return &j.RunsOn }),
		moment("last_start", func(j *backend.Job) *time.Time { return &j.LastStart }),
		text("launch", func(j *backend.Job) *backend.Launch { return &j.Launch }),
		integer("ran", func(j *backend.Job) *time.Duration { return &j.Ran }),
		integer("preempted", func(j *backend.Job) *int { return &j.Preempted }),
		integer("attempts", func(j *backend.Job) *int { return &j.Attempts }),
		moment("next_try", func(j *backend.Job) *time.Time { return &j.NextTry }),
		integer("extended", func(j *backend.Job) *int { return &j.Extended }),
		integer("front", func(j *backend.Job) *int64 { return &j.Front }),
		integer("aged", func(j *backend.Job) *time.Duration { return &j.Aged }),
		moment("aged_at", func(j *backend.Job) *time.Time { return &j.AgedAt }),
		flag("cancel", func(j *backend.Job) *bool { return &j.Cancel }),
		flag("forced", func(j *backend.Job) *bool { return &j.Force }),
		text("words", func(j *backend.Job) *string { return &j.Words }),
	},
)

var (
	jobID     = integer("id", func(j *backend.Job) *backend.JobID { return &j.ID })
	readCols  = slices.Concat([]column[backend.Job]{jobID}, jobColumns, planColumns)
	selectJob = "SELECT job.id, " + names(jobColumns, "job.") + ", " + names(planColumns, "plan.") +
		" FROM job LEFT JOIN plan ON plan.job = job.id"
	insertJob = insertInto("job", jobColumns)
	updateJob = updateOf("job", jobColumns)
)

// Filter selects jobs. Its parts are joined by and, but for Active and
// EndedSince: both together are what has not ended, or ended only then. The
// zero Filter selects every job.
type Filter struct {
	Active     bool      // not ended
	EndedSince time.Time // ended then or later
	VM         backend.UUID
	Host       string // whose berth it holds or held last
	Owner      string
	States     []backend.JobState
	IDs        []backend.JobID // those that exist
}

// Job returns one job. It wraps backend.ErrNoJob.
func (t *Tx) Job(id backend.JobID) (backend.Job, error) {
	jobs, err := t.Jobs(Filter{IDs: []backend.JobID{id}})
	if err != nil {
		return backend.Job{}, err
	}
	if len(jobs) == 0 {
		return backend.Job{}, noJob("look up", id)
	}
	return jobs[0], nil
}

func noJob(op string, id backend.JobID) error {
	return &backend.OpError{Op: op, Target: fmt.Sprintf("job %d", id), Err: backend.ErrNoJob, Hint: "see berth queue list"}
}

// Jobs returns what f selects, by number.
func (t *Tx) Jobs(f Filter) ([]backend.Job, error) {
	var w terms
	w.over(f.Active, f.EndedSince)
	if f.VM != (backend.UUID{}) {
		w.add("vm = ?", f.VM.String())
	}
	if f.Host != "" {
		w.add("runs_on = ?", f.Host)
	}
	if f.Owner != "" {
		w.add("owner = ?", f.Owner)
	}
	addIn(&w, "state", f.States)
	addIn(&w, "job.id", f.IDs)
	return rows(t, "job", readCols, selectJob+w.where()+" ORDER BY job.id", w.args...)
}

// AddJob adds a job and returns the number it got, which no other job ever had
// or will have; j.ID is not looked at. It wraps backend.ErrState when a job of
// the same VM has not ended.
func (t *Tx) AddJob(j backend.Job) (backend.JobID, error) {
	vals, err := values(jobColumns, &j)
	if err != nil {
		return 0, err
	}
	r, err := t.execResult(insertJob, vals...)
	if err != nil {
		return 0, t.orQueued(&j, err)
	}
	t.dirty |= partQueue
	id, err := r.LastInsertId()
	if err != nil {
		return 0, err
	}
	j.ID = backend.JobID(id)
	return j.ID, t.PutPlan([]backend.Job{j})
}

// PutJob writes all of a job that is there. It wraps backend.ErrNoJob, and
// backend.ErrState when it would bring an ended job back while another of the
// same VM has not ended.
func (t *Tx) PutJob(j backend.Job) error {
	vals, err := values(jobColumns, &j)
	if err != nil {
		return err
	}
	n, err := t.change(updateJob, append(vals, int64(j.ID))...)
	if err != nil {
		return t.orQueued(&j, err)
	}
	if n == 0 {
		return noJob("change", j.ID)
	}
	return t.PutPlan([]backend.Job{j})
}

// orQueued says which job of the VM is in the way when err comes from there
// being one.
func (t *Tx) orQueued(j *backend.Job, err error) error {
	if !taken(err) {
		return err
	}
	var other int64
	find := t.row("SELECT id FROM job WHERE vm = ? AND over = 0 AND id <> ?", j.VM.String(), int64(j.ID))
	if e := find.Scan(&other); e != nil && !errors.Is(e, sql.ErrNoRows) {
		return errors.Join(err, e)
	}
	return &backend.OpError{
		Op: "queue", Target: j.Name, Err: fmt.Errorf("%w: it is job %d already", backend.ErrState, other),
		Hint: fmt.Sprintf("see berth queue show %d", other),
	}
}

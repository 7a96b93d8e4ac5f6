package store

import (
	"time"

	"berth/backend"
)

// planColumns are the table plan but for the job's number: what the last pass
// over the queue said of it.
var planColumns = []column[backend.Job]{
	integer("expected", func(j *backend.Job) *time.Duration { return &j.Expected }),
	text("why", func(j *backend.Job) *backend.ReasonCode { return &j.Why.Code }),
	text("dimension", func(j *backend.Job) *string { return &j.Why.Dimension }),
	integer("why_of", func(j *backend.Job) *backend.JobID { return &j.Why.Of }),
	text("why_host", func(j *backend.Job) *string { return &j.Why.Host }),
	text("detail", func(j *backend.Job) *string { return &j.Why.Detail }),
	moment("eta", func(j *backend.Job) *time.Time { return &j.ETA }),
	text("eta_host", func(j *backend.Job) *string { return &j.ETAHost }),
	moment("promised", func(j *backend.Job) *time.Time { return &j.Promised }),
	integer("position", func(j *backend.Job) *int { return &j.Position }),
	real("score", func(j *backend.Job) *float64 { return &j.Score }),
}

// putPlan leaves a row alone that would not change, so that a pass that said
// nothing new writes nothing; and one of a job that is gone.
var putPlan = "INSERT INTO plan (job, " + names(planColumns, "") + ") SELECT ?, " + marks(len(planColumns)) +
	" WHERE EXISTS (SELECT 1 FROM job WHERE id = ?1)" +
	" ON CONFLICT (job) DO UPDATE SET (" + names(planColumns, "") + ") = (" + names(planColumns, "excluded.") + ")" +
	" WHERE (" + names(planColumns, "plan.") + ") IS NOT (" + names(planColumns, "excluded.") + ")"

// PutPlan writes what a pass over the queue said of each job, and nothing else
// of it. Jobs that are gone meanwhile are left out.
func (t *Tx) PutPlan(jobs []backend.Job) error {
	for i := range jobs {
		vals, err := values(planColumns, &jobs[i])
		if err != nil {
			return err
		}
		if _, err := t.change(putPlan, append([]any{int64(jobs[i].ID)}, vals...)...); err != nil {
			return err
		}
	}
	return nil
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
)

// waitFlags are those of berth queue wait.
type waitFlags struct {
	timeout spanValue
	output  string
}

func (a *app) waitCommand() *cobra.Command {
	var f waitFlags
	cmd := &cobra.Command{
		Use:   "wait JOB...",
		Short: "Wait until jobs have ended; the exit code tells how",
		Long: "Wait until jobs have ended, and print each as it does. The exit code is 0 when\n" +
			"all are done, 1 when one ended in another way (timeout, failed, cancelled,\n" +
			"rejected, error) or --timeout passed.",
		Example: "  berth queue submit build1 && berth queue wait build1 && berth vm start deploy",
		Args:    withUsage(someJobs),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runWait(cmd, &f, args) },
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().Var(&f.timeout, "timeout", "give up after `TIME`")
	textOrJSON(cmd, &f.output)
	completeFlag(cmd, "timeout", fixed("10m", "1h", "1d"))
	a.completeJobs(cmd, func(j *backend.Job) bool { return !j.State.Ended() })
	return cmd
}

func (a *app) runWait(cmd *cobra.Command, f *waitFlags, args []string) error {
	if err := checkFormat(f.output, "text", "json"); err != nil {
		return err
	}
	return a.withQueue(cmd, func(q backend.Queue) error {
		ctx := cmd.Context()
		if f.timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, time.Duration(f.timeout))
			defer cancel()
		}
		err := a.awaitJobs(ctx, q, f, args)
		if errors.Is(err, context.DeadlineExceeded) && interruption(ctx) == nil {
			return fmt.Errorf("%w: not all had ended after %s", backend.ErrTimeout, spanText(f.timeout))
		}
		return ended(ctx, err)
	})
}

// over reports whether nothing more will come of a job by itself.
func over(s backend.JobState) bool { return s.Ended() || s == backend.JobError }

func (a *app) awaitJobs(ctx context.Context, q backend.Queue, f *waitFlags, args []string) error {
	st, err := q.State(ctx)
	if err != nil {
		return err
	}
	ids, err := findJobs(&st, args)
	if err != nil {
		return err
	}
	a.engineTrouble(&st) // it may be a long wait
	var records []jobRecord
	failed := false
	for {
		var left []backend.JobID
		for _, id := range ids {
			j, err := lookUp(ctx, q, &st, id)
			if err != nil {
				return err
			}
			if !over(j.State) {
				left = append(left, id)
				continue
			}
			failed = failed || j.State != backend.JobDone
			records = append(records, newJobRecord(j, st.At))
			if f.output == "text" {
				if _, err := fmt.Fprintln(a.Stdout, endText(j)); err != nil {
					return err
				}
			}
		}
		if ids = left; len(ids) == 0 {
			break
		}
		if err := q.Wait(ctx, st.Revision); err != nil {
			return err
		}
		if st, err = q.State(ctx); err != nil {
			return err
		}
	}
	if f.output == "json" {
		slices.SortFunc(records, func(x, y jobRecord) int { return int(x.Job - y.Job) })
		if err := encodeJSON(a.Stdout, records); err != nil {
			return err
		}
	}
	if failed {
		return errReported
	}
	return nil
}

// lookUp is the job, even one that ended so long ago that State leaves it out.
func lookUp(ctx context.Context, q backend.Queue, st *backend.QueueState, id backend.JobID) (*backend.Job, error) {
	if j := jobByID(st, id); j != nil {
		return j, nil
	}
	e, err := q.Explain(ctx, id)
	if err != nil {
		return nil, err
	}
	return &e.Job, nil
}

func endText(j *backend.Job) string {
	text := fmt.Sprintf("%d: %s: %s", j.ID, j.Name, j.State)
	if j.Words != "" && j.State != backend.JobDone {
		text += ": " + j.Words
	}
	return backend.Clean(text)
}

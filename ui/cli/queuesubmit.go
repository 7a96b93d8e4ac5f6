package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
)

// submitFlags are those of berth queue submit.
type submitFlags struct {
	output      string
	filter      string
	priority    int
	nice        int
	estimate    spanValue
	limit       spanValue
	host        string
	after       []string
	begin       string
	hold        bool
	preemptible bool
	tags        []string
	near        []string
	apart       []string
	whatIf      bool
}

func (a *app) submitCommand() *cobra.Command {
	var f submitFlags
	cmd := &cobra.Command{
		Use:   "submit VM...",
		Short: "Queue VMs to be started when a host has room",
		Long: "Queue VMs to be started when a host has room for them. Each becomes a job, which\n" +
			"is done when its guest shuts off. All VMs are queued, or none.\n\n" +
			"VM is a VM's name, its UUID, or either after its host, as in hv1/web1. Without\n" +
			"--host it starts on whichever host can run it.\n\n" +
			"--estimate is how long it will run, as you believe: good ones let it start sooner,\n" +
			"and outliving one costs nothing. --limit stops it when it has run that long, and\n" +
			"is the estimate when there is none. With neither, earlier runs are asked.\n\n" +
			"--begin takes: " + strings.TrimPrefix(momentForms, "write ") + ".\n\n" +
			"Prints a line a job, its number first; -o json a list as berth queue list does.",
		Example: "  berth queue submit build1 --estimate 40m --tag ci\n" +
			"  berth queue submit deploy --after build1 --limit 1h\n" +
			"  berth queue submit --filter 'tag:nightly' --begin 'tomorrow 02:00' --preemptible",
		Args: withUsage(func(_ *cobra.Command, args []string) error { return checkNames("submit", f.filter, args) }),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runSubmit(cmd, &f, args) },
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.IntVar(&f.priority, "priority", backend.DefaultPriority, "`N` from 0 to 100; more is sooner")
	fl.Var(&f.estimate, "estimate", "it will run for about `TIME`, as 40m, 2h or 3d")
	fl.Var(&f.limit, "limit", "stop it after `TIME`")
	fl.StringVar(&f.host, "host", "", "start it on `HOST` only")
	fl.StringSliceVar(&f.after, "after", nil, "not before `JOB` has ended well; may be given several times")
	fl.StringVar(&f.begin, "begin", "", "not before `TIME`")
	fl.BoolVar(&f.hold, "hold", false, "keep it back until berth queue release")
	fl.BoolVar(&f.preemptible, "preemptible", false, "a much more important job may put it aside for a while")
	fl.IntVar(&f.nice, "nice", 0, "step back by `N` of the priority's points (order priority)")
	fl.StringSliceVar(&f.tags, "tag", nil, "give it `TAG`, for --near and --apart of others; may be given several times")
	fl.StringSliceVar(&f.near, "near", nil, "only on a host where a job with `TAG` runs")
	fl.StringSliceVar(&f.apart, "apart", nil, "on no host where a job with `TAG` runs")
	fl.StringVar(&f.filter, "filter", "", "all VMs for which `EXPR` holds, instead of VMs")
	fl.BoolVar(&f.whatIf, "what-if", false, "only show what the queue would be")
	fl.StringVarP(&f.output, "output", "o", "text", "`FORMAT`: text or json")
	a.completeSubmit(cmd)
	return cmd
}

func (a *app) runSubmit(cmd *cobra.Command, f *submitFlags, args []string) error {
	if err := a.load(cmd); err != nil {
		return err
	}
	spec, err := f.spec(time.Now())
	if err != nil {
		return &usageError{err: err}
	}
	filter, err := model.ParseFilter(f.filter)
	if err != nil {
		return &usageError{err: err}
	}
	if err := errors.Join(a.mayChange(), checkFormat(f.output, "text", "json")); err != nil {
		return err
	}
	return a.overFleet(cmd.Context(), func(fl *fleet) error {
		rows, err := a.submitted(cmd.Context(), fl, filter, args)
		if err != nil {
			return err
		}
		return a.overQueue(cmd.Context(), fl, func(q backend.Queue) error { return a.submit(cmd.Context(), q, f, spec, rows) })
	})
}

// submitted are the VMs to submit. Since all are queued or none, one that
// cannot be found is the end of it.
func (a *app) submitted(ctx context.Context, fl *fleet, filter model.Filter, args []string) ([]*model.Row, error) {
	inv := takeInventory(ctx, fl, filterDepth(filter))
	if err := interrupted(ctx); err != nil {
		return nil, fmt.Errorf("%w; nothing was queued", err)
	}
	a.reportDown(inv)
	if inv.silent() {
		return nil, errReported
	}
	if filtersByQueue(filter) {
		a.noteJobs(ctx, inv.rows)
	}
	rows, failed := a.targets(inv, filter, args)
	for _, r := range rows {
		if h := inv.hosts[r.Host]; h.ReadOnly() {
			a.complain(fmt.Errorf("%s: %w: %s was opened without permission to change anything", inv.label(r), backend.ErrReadOnly, h.Name()))
			failed = true
		}
	}
	if failed && (filter.Empty() || len(rows) == 0) {
		a.complain(errors.New("nothing was queued"))
		return nil, errReported
	}
	return rows, nil
}

// spec is what the flags come to, but for VM, Name and After.
func (f *submitFlags) spec(now time.Time) (backend.JobSpec, error) {
	s := backend.JobSpec{
		Priority: f.priority, Nice: f.nice, Estimate: time.Duration(f.estimate), Limit: time.Duration(f.limit), Host: f.host,
		Hold: f.hold, Preemptible: f.preemptible, Tags: f.tags, Near: f.near, Apart: f.apart,
	}
	if err := checkPriority(f.priority); err != nil {
		return s, err
	}
	for _, t := range slices.Concat(f.tags, f.near, f.apart) {
		if err := checkTag(t); err != nil {
			return s, err
		}
	}
	if f.begin == "" {
		return s, nil
	}
	var err error
	if s.Begin, err = parseMoment(f.begin, now); err != nil {
		return s, fmt.Errorf("--begin: %w", err)
	}
	return s, nil
}

func checkPriority(n int) error {
	if n < 0 || n > 100 {
		return fmt.Errorf("--priority %d: use 0 to 100", n)
	}
	return nil
}

// checkTag refuses what could not be named in a list or a filter.
func checkTag(t string) error {
	if t == "" || strings.ContainsAny(t, ", \t\n") || backend.Clean(t) != t {
		return fmt.Errorf("%q cannot be a tag: write one word without commas", backend.Clean(t))
	}
	return nil
}

func (a *app) submit(ctx context.Context, q backend.Queue, f *submitFlags, spec backend.JobSpec, rows []*model.Row) error {
	before, err := q.State(ctx)
	if err != nil {
		return err
	}
	if spec.After, err = findJobs(&before, f.after); err != nil {
		return fmt.Errorf("--after: %w", err)
	}
	specs := make([]backend.JobSpec, len(rows))
	for i, r := range rows {
		specs[i] = spec
		specs[i].VM, specs[i].Name = r.Key(), r.Name
	}
	if f.whatIf {
		return a.whatIf(ctx, q, f.output, &before, backend.Hypothesis{Submit: specs})
	}
	ids, err := q.Submit(ctx, specs)
	if len(ids) == 0 {
		return err
	}
	// A queued job whose engine does not come up is queued all the same.
	return errors.Join(err, a.tellSubmitted(ctx, q, f.output, ids, specs))
}

func (a *app) tellSubmitted(ctx context.Context, q backend.Queue, format string, ids []backend.JobID, specs []backend.JobSpec) error {
	if format == "json" {
		return a.tellJobs(ctx, q, ids)
	}
	for i, id := range ids {
		word := "queued"
		if specs[i].Hold {
			word = "held"
		}
		if _, err := fmt.Fprintf(a.Stdout, "%d: %s: %s\n", id, backend.Clean(specs[i].Name), word); err != nil {
			return err
		}
	}
	return nil
}

// tellJobs prints jobs as they are now, as JSON.
func (a *app) tellJobs(ctx context.Context, q backend.Queue, ids []backend.JobID) error {
	st, err := q.State(ctx)
	if err != nil {
		return err
	}
	var jobs []backend.Job
	for _, id := range ids {
		if j := jobByID(&st, id); j != nil {
			jobs = append(jobs, *j)
		}
	}
	return a.printJobs("json", jobs, st.At)
}

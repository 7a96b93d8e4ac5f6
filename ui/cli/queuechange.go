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
	"berth/model/config"
)

// changeSpec is one `berth queue WORD JOB...` command.
type changeSpec struct {
	name, short, long string
	change            backend.JobChange
	done              string // what became of each job
	forced            string // with --force; empty: there is no such flag
	want              func(*backend.Job) bool
}

func changeCommands() []changeSpec {
	open := func(j *backend.Job) bool { return !j.State.Ended() }
	return []changeSpec{
		{name: "hold", short: "Keep jobs from starting", change: backend.JobChange{Hold: true}, done: "held",
			want: func(j *backend.Job) bool { return j.State.Waiting() && !j.Held }},
		{name: "release", short: "Let held jobs start again", change: backend.JobChange{Release: true}, done: "released",
			want: func(j *backend.Job) bool { return j.Held }},
		{name: "cancel", short: "End jobs: those that wait leave the queue, guests that run are shut down", change: backend.JobChange{Cancel: true},
			done: "cancelling", forced: "cancelling by force", want: open,
			long: "The guest of a running job is asked to shut down, and its power is cut when it\nhas not within the config's queue.stop_grace (2m). With --force it is cut at once:\nunwritten data is lost. berth queue wait tells when it has ended."},
		{name: "top", short: "Move jobs to the front of the queue", change: backend.JobChange{Top: true}, done: "moved to the front",
			want: func(j *backend.Job) bool { return j.State.Waiting() }},
		{name: "retry", short: "Queue jobs again that failed, or try refused starts now", change: backend.JobChange{Retry: true}, done: "queued again",
			want: func(j *backend.Job) bool {
				return j.State == backend.JobFailed || j.State == backend.JobError || !j.NextTry.IsZero()
			}},
	}
}

// changeFlags are those of commands that change jobs.
type changeFlags struct {
	output string
	yes    bool
	force  bool
	whatIf bool
}

func (f *changeFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.whatIf, "what-if", false, "only show what the queue would be")
	textOrJSON(cmd, &f.output)
}

func (a *app) changeCommand(s changeSpec) *cobra.Command {
	var f changeFlags
	long := s.short + ".\n\n"
	if s.long != "" {
		long += s.long + "\n\n"
	}
	cmd := &cobra.Command{
		Use:   s.name + " JOB...",
		Short: s.short,
		Long:  long + "JOB is a job's number or its VM's name. All jobs are changed, or none.",
		Args:  withUsage(someJobs),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := s.change
			c.Force = f.force
			done := s.done
			if f.force {
				done = s.forced
			}
			return a.runChange(cmd, &f, args, c, done)
		},
	}
	cmd.Flags().SortFlags = false
	if s.change.Cancel {
		cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
		cmd.Flags().BoolVar(&f.force, "force", false, "cut the power at once")
	}
	f.add(cmd)
	a.completeJobs(cmd, s.want)
	return cmd
}

func (a *app) runChange(cmd *cobra.Command, f *changeFlags, args []string, c backend.JobChange, done string) error {
	return a.changeQueue(cmd, checkFormat(f.output, "text", "json"), func(q backend.Queue, st *backend.QueueState) error {
		ctx := cmd.Context()
		ids, err := findJobs(st, args)
		if err != nil {
			return err
		}
		if f.whatIf {
			return a.whatIf(ctx, q, f.output, st, backend.Hypothesis{Jobs: ids, Change: c})
		}
		if c.Cancel && !f.yes {
			if err := a.askCancel(ctx, st, ids, f.force); err != nil {
				return err
			}
		}
		if err := q.Change(ctx, ids, c); err != nil {
			return err
		}
		if f.output == "json" {
			return a.tellJobs(ctx, q, ids)
		}
		for _, id := range ids {
			if _, err := fmt.Fprintf(a.Stdout, "%s: %s\n", jobLabel(st, id), done); err != nil {
				return err
			}
		}
		return nil
	})
}

// askCancel asks before guests that run are ended. Without a terminal only
// what loses data needs --yes.
func (a *app) askCancel(ctx context.Context, st *backend.QueueState, ids []backend.JobID, force bool) error {
	var run []string
	for _, id := range ids {
		if j := jobByID(st, id); j != nil && j.State.Holds() {
			run = append(run, jobLabel(st, id))
		}
	}
	if len(run) == 0 {
		return nil
	}
	if !isTerminal(a.Stdin) {
		if force {
			return usagef("", "cancel --force can lose data and there is no terminal to ask on; add --yes if you mean it")
		}
		return nil
	}
	warn := "Their guests are shut down."
	if force {
		warn = "Their power is cut: what the guests have not written is lost."
	}
	what := strings.Join(run, ", ")
	if len(run) > 1 {
		what = fmt.Sprintf("%d running jobs: %s", len(run), what)
	}
	return a.confirm(ctx, fmt.Sprintf("Cancel %s?\n%s", what, warn))
}

// setFlags are those of berth queue set.
type setFlags struct {
	changeFlags
	priority        int
	nice            int
	estimate, limit spanValue
	host, begin     string
	preemptible     bool
	tags            []string
}

func (a *app) setJobCommand() *cobra.Command {
	var f setFlags
	cmd := &cobra.Command{
		Use:   "set JOB...",
		Short: "Change what was asked for jobs",
		Long: "Change what was asked for jobs. What is not named stays as it is.\n\n" +
			"JOB is a job's number or its VM's name. All jobs are changed, or none. A\n" +
			"priority also reaches a running VM: its CPU shares and I/O weight follow.",
		Example: "  berth queue set build2 --priority 80 --what-if\n" +
			"  berth queue set 12 13 --limit 6h --host any",
		Args: withUsage(someJobs),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, done, err := f.change(cmd, time.Now())
			if err != nil {
				return &usageError{err: err}
			}
			return a.runChange(cmd, &f.changeFlags, args, c, done)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.IntVar(&f.priority, "priority", 0, "`N` from 0 to 100; more is sooner")
	fl.IntVar(&f.nice, "nice", 0, "step back by `N` of the priority's points")
	fl.Var(&f.estimate, "estimate", "it will run for about `TIME`; none")
	fl.Var(&f.limit, "limit", "stop it after `TIME`; none")
	fl.StringVar(&f.host, "host", "", "start it on `HOST` only; any")
	fl.StringVar(&f.begin, "begin", "", "not before `TIME`; now")
	fl.BoolVar(&f.preemptible, "preemptible", false, "a much more important job may put it aside; --preemptible=false: none may")
	fl.StringSliceVar(&f.tags, "tag", nil, "give it `TAG`, and no others; an empty one takes all away")
	f.add(cmd)
	a.completeJobs(cmd, func(j *backend.Job) bool { return !j.State.Ended() })
	completeFlag(cmd, "host", a.completeQueueHosts("any"))
	completeFlag(cmd, "begin", fixed("now", "+1h", "22:00"))
	for _, flag := range []string{"priority", "nice", "estimate", "limit", "tag"} {
		completeFlag(cmd, flag, fixed())
	}
	return cmd
}

// change is what the flags that were given come to, and in words.
func (f *setFlags) change(cmd *cobra.Command, now time.Time) (c backend.JobChange, done string, err error) {
	var words []string
	given := func(name, value string) bool {
		if !cmd.Flags().Changed(name) {
			return false
		}
		words = append(words, name+" "+value)
		return true
	}
	if given("priority", fmt.Sprint(f.priority)) {
		c.Priority, err = &f.priority, checkPriority(f.priority)
	}
	if given("nice", fmt.Sprint(f.nice)) {
		c.Nice = &f.nice
	}
	if given("estimate", spanText(f.estimate)) {
		c.Estimate = (*time.Duration)(&f.estimate)
	}
	if given("limit", spanText(f.limit)) {
		c.Limit = (*time.Duration)(&f.limit)
	}
	if given("host", f.host) {
		if f.host == "any" {
			f.host = ""
		}
		c.Host = &f.host
	}
	if given("begin", f.begin) {
		at, berr := parseMoment(f.begin, now)
		c.Begin, err = &at, errors.Join(err, flagProblem("begin", berr))
	}
	if given("preemptible", fmt.Sprint(f.preemptible)) {
		c.Preemptible = &f.preemptible
	}
	if given("tag", strings.Join(f.tags, " ")) {
		tags, terr := cleanTags(f.tags)
		c.Tags, err = &tags, errors.Join(err, flagProblem("tag", terr))
	}
	if len(words) == 0 && err == nil {
		err = errors.New("set what? Give --priority, --estimate, --limit, --host, --begin, --preemptible, --nice or --tag")
	}
	return c, strings.Join(words, ", "), err
}

func flagProblem(flag string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("--%s: %w", flag, err)
}

func cleanTags(in []string) ([]string, error) {
	tags := slices.DeleteFunc(slices.Clone(in), func(t string) bool { return t == "" })
	for _, t := range tags {
		if err := checkTag(t); err != nil {
			return nil, err
		}
	}
	return tags, nil
}

func spanText(d spanValue) string {
	if d == 0 {
		return "none"
	}
	return config.DurationText(time.Duration(d))
}

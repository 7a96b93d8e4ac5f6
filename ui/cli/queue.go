package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model/config"
)

// QueueOptions say which queue to open.
type QueueOptions struct {
	Config *config.Config
	// Fleet are the hosts at hand, whose VMs can be submitted. Reading the queue
	// needs none.
	Fleet func() []backend.Host
	// Demo: a queue within this process over the fleet, which is a demo's.
	Demo bool
	// Ensure sees to it that an engine runs, which running tells; nil in the demo.
	Ensure func(ctx context.Context, running func(context.Context) (bool, error)) error
	Env    func(string) string
}

// queueCommand groups what can be done to the queue without the screen.
func (a *app) queueCommand() *cobra.Command {
	var f listQueueFlags
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "Let VMs wait for a berth, and see why and until when they do",
		Long: "The queue starts VMs when a host has room for them, in the order of its policy.\n" +
			"A job asks for one VM to run; it is done when the guest shuts off. An engine\n" +
			"process of its own starts them, which the first job brings up and which goes on\n" +
			"when you log out: see berth engine --help.\n\n" +
			"JOB is a job's number, or the name of its VM, as web1 or hv1/web1. Without a\n" +
			"command the queue is listed.",
		Example: "  berth queue submit build1 build2 --estimate 2h --tag ci\n" +
			"  berth queue show build2            why it waits, and what would start it sooner\n" +
			"  berth queue policy --order sjf --what-if\n" +
			"  berth queue wait build1 && echo ok",
		Args:             withUsage(noSuchCommand),
		RunE:             func(cmd *cobra.Command, _ []string) error { return a.runQueueList(cmd, &f) },
		PersistentPreRun: endOnInterrupt,
	}
	a.addListQueueFlags(cmd, &f)
	cmd.AddCommand(a.submitCommand(), a.listQueueCommand(), a.showJobCommand())
	for _, s := range changeCommands() {
		cmd.AddCommand(a.changeCommand(s))
	}
	cmd.AddCommand(a.setJobCommand(), a.waitCommand(), a.logCommand(), a.policyCommand(), a.queueHostsCommand(), a.drainCommand(), a.fencedCommand(), a.forgetCommand(),
		a.simulateCommand())
	return cmd
}

// endOnInterrupt lets ^C end what is under way; the console takes it as a key.
func endOnInterrupt(cmd *cobra.Command, _ []string) {
	ctx, stop := WithSignals(cmd.Context(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second one ends the process
	cmd.SetContext(ctx)
}

// withQueue runs do over the queue, without connecting to hosts.
func (a *app) withQueue(cmd *cobra.Command, do func(backend.Queue) error) (err error) {
	if err := a.load(cmd); err != nil {
		return err
	}
	var f fleet
	if a.flags.demo {
		f.hosts = a.demoHosts()
	}
	defer func() { err = closeAll(err, &f) }()
	return a.overQueue(cmd.Context(), &f, do)
}

func (a *app) overQueue(ctx context.Context, f *fleet, do func(backend.Queue) error) (err error) {
	q, err := a.openQueue(ctx, func() []backend.Host { return f.hosts })
	if err != nil {
		return err
	}
	defer func() {
		if cerr := q.Close(); err == nil {
			err = cerr
		}
	}()
	return do(q)
}

func (a *app) openQueue(ctx context.Context, hosts func() []backend.Host) (backend.Queue, error) {
	o := QueueOptions{Config: a.config, Fleet: hosts, Demo: a.flags.demo, Env: a.Env}
	if !a.flags.demo {
		o.Ensure = a.ensureEngine
	}
	return a.Queue(ctx, o)
}

// changeQueue runs do over the queue as it stands, unless nothing may be
// changed or the command line is wrong.
func (a *app) changeQueue(cmd *cobra.Command, wrong error, do func(backend.Queue, *backend.QueueState) error) error {
	if err := a.load(cmd); err != nil {
		return err
	}
	if err := errors.Join(a.mayChange(), wrong); err != nil {
		return err
	}
	return a.withQueue(cmd, func(q backend.Queue) error {
		st, err := q.State(cmd.Context())
		if err != nil {
			return err
		}
		return do(q, &st)
	})
}

// mayChange refuses what changes the queue when nothing may be changed.
func (a *app) mayChange() error {
	if a.config.ReadOnly {
		return fmt.Errorf("%w: berth was told to change nothing (readonly: %s)", backend.ErrReadOnly, a.config.Origin("readonly"))
	}
	return nil
}

// checkFormat refuses an output format that a command does not have.
func checkFormat(format string, allowed ...string) error {
	if slices.Contains(allowed, format) {
		return nil
	}
	list := strings.Join(allowed[:len(allowed)-1], ", ") + " or " + allowed[len(allowed)-1]
	return usagef("", "-o %q: use %s", format, list)
}

// findJobs finds the jobs that arguments name, without doubles and in their order.
func findJobs(st *backend.QueueState, args []string) ([]backend.JobID, error) {
	return findEach(args, func(arg string) (backend.JobID, error) { return findJob(st, arg) })
}

// findJob resolves a JOB argument: a number, or the name or UUID of a VM, with
// its host before it or not. Of several jobs of a VM the one that has not
// ended is meant, else the latest. A number is not looked up.
func findJob(st *backend.QueueState, arg string) (backend.JobID, error) {
	if n, err := strconv.ParseInt(strings.TrimPrefix(arg, "#"), 10, 64); err == nil {
		if n < 1 {
			return 0, &usageError{err: fmt.Errorf("%q is not a job's number; they count from 1", arg)}
		}
		return backend.JobID(n), nil
	}
	found := jobsNamed(st, arg)
	if open := slices.DeleteFunc(slices.Clone(found), func(j *backend.Job) bool { return j.State.Ended() }); len(open) > 0 {
		found = open
	}
	if len(found) == 0 {
		return 0, fmt.Errorf("%s: %w; berth queue list --all shows what there is", backend.Clean(arg), backend.ErrNoJob)
	}
	latest, vms := found[0], map[backend.Key]string{}
	for _, j := range found {
		vms[backend.Key{Host: j.Home, UUID: j.VM}] = fmt.Sprintf("%d (%s/%s)", j.ID, backend.Clean(j.Home), backend.Clean(j.Name))
		if j.ID > latest.ID {
			latest = j
		}
	}
	if len(vms) > 1 {
		names := slices.Sorted(maps.Values(vms))
		return 0, fmt.Errorf("%s: %w: say which of the jobs %s", backend.Clean(arg), backend.ErrAmbiguous, strings.Join(names, ", "))
	}
	return latest.ID, nil
}

func jobsNamed(st *backend.QueueState, arg string) []*backend.Job {
	host, name, qualified := strings.Cut(arg, "/")
	if !qualified {
		host, name = "", arg
	}
	uuid, notUUID := backend.ParseUUID(name)
	var found []*backend.Job
	for i := range st.Jobs {
		j := &st.Jobs[i]
		if (j.Name == name || notUUID == nil && j.VM == uuid) && (host == "" || host == j.Home || host == j.RunsOn) {
			found = append(found, j)
		}
	}
	return found
}

// jobByID is the job of the state, or nil.
func jobByID(st *backend.QueueState, id backend.JobID) *backend.Job {
	i := slices.IndexFunc(st.Jobs, func(j backend.Job) bool { return j.ID == id })
	if i < 0 {
		return nil
	}
	return &st.Jobs[i]
}

// jobLabel is how messages name a job: "12 (web1)".
func jobLabel(st *backend.QueueState, id backend.JobID) string {
	if j := jobByID(st, id); j != nil {
		return fmt.Sprintf("%d (%s)", id, backend.Clean(j.Name))
	}
	return strconv.FormatInt(int64(id), 10)
}

// someJobs wants one JOB or more.
func someJobs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%s what? Give one JOB or more", cmd.Name())
	}
	return nil
}

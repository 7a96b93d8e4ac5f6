package cli

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/queue"
	"berth/backend/queue/sim"
)

// simulateFlags are those of berth queue simulate.
type simulateFlags struct {
	trace, policy, backfill, placement string
	procs                              int64
	hosts                              []string
	perfect, firm, compare             bool
	output, schedule                   string
}

func (a *app) simulateCommand() *cobra.Command {
	var f simulateFlags
	cmd := &cobra.Command{
		Use:   "simulate --trace FILE --procs N | --hosts N×VCPU×MIB",
		Short: "Play a workload through the queue's policies, and measure them",
		Long: "Play a trace of jobs through the very code that runs the queue, and print how\n" +
			"long they waited. Nothing is started, and no host is asked.\n\n" +
			"A trace is in the Standard Workload Format (.swf), or CSV with the columns\n" +
			"id,submit,run,est,vcpu,mem_mib (times in seconds); either may be gzipped. A job\n" +
			"is stopped at its estimate, and one that fits no host is left out and counted.\n" +
			"With --procs the jobs run on one host of so many processors, and memory is not\n" +
			"looked at.\n\n" +
			"  policy     which job is next: " + listed(queue.Orders()) + "\n" +
			"  backfill   which jobs may overtake: " + listed(queue.Backfills()) + "\n" +
			"  placement  which of the hosts with room: " + listed(queue.Placements()) + "\n\n" +
			"The first word of each is the default. The other policies are played as in the\n" +
			"literature, where a later job may take the head's place; --firm plays them as\n" +
			"berth's queue does, which keeps the start that it promised the head.\n\n" +
			"Figures: flow is wait and run; bsld the bounded slowdown, (wait + run) / max(10 s,\n" +
			"run) and at least 1; utilisation is of all hosts from the first submit to the last end.",
		Example: "  berth queue simulate --trace KTH-SP2.swf.gz --procs 100 --policy fcfs --backfill easy\n" +
			"  berth queue simulate --trace vms.csv --hosts 3x96x393216 --schedule starts.csv -o json\n" +
			"  berth queue simulate --trace vms.csv --hosts 3x96x393216 --compare",
		Args: withUsage(noArguments("a trace goes behind --trace")),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runSimulate(cmd, &f) },
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.trace, "trace", "", "the jobs: `FILE`.swf or .csv, .gz or not; - is standard input")
	fl.Int64Var(&f.procs, "procs", 0, "one host of `N` processors")
	fl.StringSliceVar(&f.hosts, "hosts", nil, "`N×VCPU×MIB`: so many hosts of so many vCPUs and so much memory; several kinds by commas")
	fl.StringVar(&f.policy, "policy", "", "which job is next: `WORD`")
	fl.StringVar(&f.backfill, "backfill", "", "which jobs may overtake: `WORD`")
	fl.StringVar(&f.placement, "placement", "", "which of the hosts with room: `WORD`")
	fl.BoolVar(&f.perfect, "perfect-estimates", false, "tell the queue how long each job really runs")
	fl.BoolVar(&f.firm, "firm", false, "keep promised starts under every policy")
	fl.StringVar(&f.schedule, "schedule", "", "write to `FILE` when and where each job ran: id,submit,start,end,host,promised_start")
	fl.BoolVar(&f.compare, "compare", false, "play every policy (or those of the words given) and draw how they did")
	fl.StringVarP(&f.output, "output", "o", "table", "`FORMAT`: table or json")
	completeFlag(cmd, "policy", fixed(texts(queue.Orders())...))
	completeFlag(cmd, "backfill", fixed(texts(queue.Backfills())...))
	completeFlag(cmd, "placement", fixed(texts(queue.Placements())...))
	completeFlag(cmd, "hosts", fixed("3x96x393216"))
	completeFlag(cmd, "procs", fixed())
	completeFlag(cmd, "output", fixed("table", "json"))
	cmd.ValidArgsFunction = fixed()
	return cmd
}

// bench is what policies are played on.
type bench struct {
	work    sim.Workload
	hosts   []queue.Host
	machine string // the hosts in words
	perfect bool
}

func (a *app) runSimulate(cmd *cobra.Command, f *simulateFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	if err := a.load(cmd); err != nil {
		return err
	}
	b, err := a.bench(f)
	if err != nil {
		return err
	}
	if f.compare {
		return a.comparePolicies(cmd.Context(), f, b)
	}
	t := trial{policy: f.resolved(queue.Policy{})}
	if err := t.play(cmd.Context(), b); err != nil {
		return err
	}
	if f.schedule != "" {
		if err := writeSchedule(f.schedule, t.rows); err != nil {
			return err
		}
	}
	return a.printTrial(f.output, &t, b)
}

// check refuses flags that make no sense, before anything is read.
func (f *simulateFlags) check() error {
	switch {
	case f.trace == "":
		return usagef("", "simulate which jobs? Give --trace FILE")
	case f.procs != 0 && len(f.hosts) > 0:
		return usagef("", "--procs and --hosts exclude one another")
	case f.procs < 0 || f.procs > maxSimulated:
		return usagef("", "--procs %d: use 1 to %d", f.procs, int64(maxSimulated))
	case f.compare && f.schedule != "":
		return usagef("", "--compare plays many policies, and --schedule writes of one: leave one of them out")
	}
	for _, err := range []error{
		checkFormat(f.output, "table", "json"),
		checkWord("policy", f.policy, texts(queue.Orders())),
		checkWord("backfill", f.backfill, texts(queue.Backfills())),
		checkWord("placement", f.placement, texts(queue.Placements())),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// resolved is p with the words of the command line over it and the default's
// where there are none. Orders but for berth's own and FCFS, where it makes no
// difference, are played without promises unless --firm.
func (f *simulateFlags) resolved(p queue.Policy) queue.Policy {
	own := queue.Default()
	p.Order = firstWord(queue.Order(f.policy), p.Order, own.Order)
	p.Backfill = firstWord(queue.Backfill(f.backfill), p.Backfill, own.Backfill)
	p.Placement = firstWord(queue.Placement(f.placement), p.Placement, own.Placement)
	p.Firm = f.firm || p.Order == queue.FCFS || p.Order == own.Order && own.Firm
	return p
}

func firstWord[T ~string](words ...T) T {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// bench reads the trace and makes the hosts to play it on.
func (a *app) bench(f *simulateFlags) (*bench, error) {
	b := &bench{perfect: f.perfect}
	var err error
	if b.hosts, b.machine, err = parseHosts(f.hosts); err != nil {
		return nil, err
	}
	if b.work, err = a.readTrace(f.trace); err != nil {
		return nil, err
	}
	if len(b.hosts) > 0 {
		return b, nil
	}
	procs := f.procs
	if procs == 0 {
		procs = b.work.Procs
	}
	if procs == 0 {
		return nil, usagef("", "on how many processors? The trace does not say: give --procs N or --hosts N×VCPU×MIB")
	}
	b.hosts, b.machine = sim.One(procs), fmt.Sprintf("1 × %d processors", procs)
	for i := range b.work.Jobs {
		b.work.Jobs[i].Size.Memory = 0
	}
	return b, nil
}

// traceHint is the formats in short.
const traceHint = "A CSV line is id,submit,run,est,vcpu,mem_mib; for SWF see https://www.cs.huji.ac.il/labs/parallel/workload/swf.html"

// readTrace reads the jobs. A line that is not understood is an error of usage
// with its number.
func (a *app) readTrace(path string) (w sim.Workload, err error) {
	in, name := a.Stdin, "standard input"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return w, &usageError{err: fmt.Errorf("--trace: %w", err)}
		}
		defer f.Close() //nolint:errcheck // it was only read
		in, name = f, path
	}
	w, err = sim.Read(name, in)
	switch {
	case err != nil:
		return w, usagef(traceHint, "--trace: %w", err)
	case len(w.Jobs) == 0 && w.LeftOut > 0:
		return w, usagef(traceHint, "--trace: %s: all of its %d jobs lack size, run time or estimate", name, w.LeftOut)
	case len(w.Jobs) == 0:
		return w, usagef(traceHint, "--trace: %s: no jobs in it", name)
	}
	return w, nil
}

// The bounds of what is simulated: more hosts than any fleet, and sizes whose
// sums cannot overflow.
const (
	maxSimulatedHosts = 100_000
	maxSimulated      = 1 << 40
)

var hostsPattern = regexp.MustCompile(`^\s*(\d+)[x×X*](\d+)[x×X*](\d+)\s*$`)

// parseHosts makes hosts of "3×96×393216", and says them in words.
func parseHosts(kinds []string) (hosts []queue.Host, words string, err error) {
	var said []string
	for _, kind := range kinds {
		m := hostsPattern.FindStringSubmatch(kind)
		if m == nil {
			return nil, "", usagef("", "--hosts %q: use N×VCPU×MIB, as 3x96x393216 for three hosts of 96 vCPUs and 384 GiB", kind)
		}
		var n [3]int64
		for i, word := range m[1:] {
			n[i], err = strconv.ParseInt(word, 10, 64)
			if err != nil || n[i] < 1 || n[i] > maxSimulated || i == 0 && n[i] > maxSimulatedHosts-int64(len(hosts)) {
				return nil, "", usagef("", "--hosts %q: %s is out of bounds", kind, word)
			}
		}
		for range n[0] {
			hosts = append(hosts, queue.Host{Name: fmt.Sprintf("host-%d", len(hosts)+1), Capacity: queue.Size{VCPU: n[1], Memory: n[2]}})
		}
		said = append(said, fmt.Sprintf("%d × %d vCPU, %d MiB", n[0], n[1], n[2]))
	}
	return hosts, strings.Join(said, "; "), nil
}

// trial is one policy and how it did.
type trial struct {
	policy queue.Policy
	sim.Metrics
	rows []sim.Row
}

// play plays the workload and measures how fast that went.
func (t *trial) play(ctx context.Context, b *bench) error {
	began := time.Now()
	var err error
	t.Metrics, t.rows, err = sim.Run(ctx, sim.Config{Policy: t.policy, Hosts: b.hosts, PerfectEstimates: b.perfect}, b.work)
	if took := time.Since(began).Seconds(); took > 0 {
		t.DecisionsPerS = float64(t.Decisions) / took
	}
	return err
}

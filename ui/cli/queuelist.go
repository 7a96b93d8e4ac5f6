package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
)

// listQueueFlags are those of berth queue list.
type listQueueFlags struct {
	output string
	all    bool
}

func (a *app) listQueueCommand() *cobra.Command {
	var f listQueueFlags
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List jobs: those that run, and those that wait in the order of starting",
		Long: "List jobs: those that run by their expected end, then those that wait in the\n" +
			"order in which they would start.\n\n" +
			"PRIO is what the policy makes of the priority while a job waits. EST is the\n" +
			"estimate that is used, ∞ for an open end. WAIT is the time from being submitted\n" +
			"to the first start. ETA is when a waiting job will start on HOST: a promise while\n" +
			"estimates hold; of a running one when it should end.\n\n" + jobHelp,
		Example: "  berth queue list --all\n" +
			"  berth queue list -o json | jq -r '.[] | select(.reason.code == \"Resources\") | .name'",
		Args: withUsage(noArguments("berth queue show JOB tells of one")),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runQueueList(cmd, &f) },
	}
	a.addListQueueFlags(cmd, &f)
	cmd.ValidArgsFunction = fixed()
	return cmd
}

var jobListFormats = []string{"table", "json", "job"}

func (a *app) addListQueueFlags(cmd *cobra.Command, f *listQueueFlags) {
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVarP(&f.output, "output", "o", "table", "`FORMAT`: table, json or job, which is numbers alone")
	cmd.Flags().BoolVarP(&f.all, "all", "a", false, "those that ended lately too")
	completeFlag(cmd, "output", fixed(jobListFormats...))
}

func (a *app) runQueueList(cmd *cobra.Command, f *listQueueFlags) error {
	if err := checkFormat(f.output, jobListFormats...); err != nil {
		return err
	}
	return a.withQueue(cmd, func(q backend.Queue) error {
		st, err := q.State(cmd.Context())
		if err != nil {
			return err
		}
		a.engineTrouble(&st)
		jobs := st.Jobs
		if !f.all {
			jobs = slices.DeleteFunc(slices.Clone(jobs), func(j backend.Job) bool { return j.State.Ended() })
		}
		return a.printJobs(f.output, jobs, st.At)
	})
}

// engineTrouble complains when the engine cannot do its work, or when jobs
// need one and there is none.
func (a *app) engineTrouble(st *backend.QueueState) {
	needed := slices.ContainsFunc(st.Jobs, func(j backend.Job) bool {
		return !j.State.Ended() && j.State != backend.JobHeld && j.State != backend.JobError
	})
	switch {
	case st.Engine.Running && st.Engine.Trouble != "":
		a.complain(fmt.Errorf("the queue's engine: %s", st.Engine.Trouble))
	case !st.Engine.Running && needed:
		a.complain(fmt.Errorf("%w, so nothing starts; berth engine start brings it up", backend.ErrEngine))
	}
}

func (a *app) printJobs(format string, jobs []backend.Job, now time.Time) error {
	switch format {
	case "json":
		list := make([]jobRecord, len(jobs))
		for i := range jobs {
			list[i] = newJobRecord(&jobs[i], now)
		}
		return encodeJSON(a.Stdout, list)
	case "job":
		for _, j := range jobs {
			if _, err := fmt.Fprintln(a.Stdout, j.ID); err != nil {
				return err
			}
		}
		return nil
	}
	return printCells(a, a.Stdout, jobColumns, jobs, now)
}

// cellColumn is a column of a table of something else than VMs.
type cellColumn[T any] struct {
	title    string
	priority int // as in model.Column: 0 always stays, the highest goes first
	right    bool
	text     func(*T, time.Time) string
}

// jobColumns are those of the queue.
var jobColumns = []cellColumn[backend.Job]{
	{"JOB", 0, true, func(j *backend.Job, _ time.Time) string { return strconv.FormatInt(int64(j.ID), 10) }},
	{"POS", 4, true, func(j *backend.Job, _ time.Time) string { return countOrNone(j.Position) }},
	{"NAME", 0, false, func(j *backend.Job, _ time.Time) string { return backend.Clean(j.Name) }},
	{"ST", 0, false, func(j *backend.Job, _ time.Time) string { return jobStateText(j) }},
	{"PRIO", 5, true, func(j *backend.Job, _ time.Time) string { return priorityText(j) }},
	{"VCPU", 6, true, func(j *backend.Job, _ time.Time) string { return countOrNone(j.Size.VCPU) }},
	{"MEM", 6, true, func(j *backend.Job, _ time.Time) string { return model.Bytes(float64(j.Size.Memory)) }},
	{"DISK", 7, true, func(j *backend.Job, _ time.Time) string { return model.Bytes(float64(j.Size.Disk)) }},
	{"EST", 3, true, func(j *backend.Job, _ time.Time) string { return estimateText(j) }},
	{"WAIT", 3, true, func(j *backend.Job, now time.Time) string { return model.Duration(waited(j, now)) }},
	{"ETA", 1, false, etaText},
	{"HOST", 2, false, func(j *backend.Job, _ time.Time) string { return hostText(j) }},
	{"REASON", 1, false, func(j *backend.Job, _ time.Time) string { return reasonText(j) }},
}

// printCells writes rows aligned under their titles, as printTable does.
func printCells[T any](a *app, w io.Writer, columns []cellColumn[T], rows []T, now time.Time) error {
	var cols []textColumn
	for _, c := range columns {
		t := textColumn{Column: model.Column{Title: c.title, Priority: c.priority, Right: c.right}, cells: []string{c.title}, width: ansi.StringWidth(c.title)}
		for i := range rows {
			text := c.text(&rows[i], now)
			if text == "" {
				text = model.Unknown
			}
			t.width = max(t.width, ansi.StringWidth(text))
			t.cells = append(t.cells, text)
		}
		cols = append(cols, t)
	}
	if width := a.width(); width > 0 {
		cols = fitting(cols, width)
	}
	for i := range len(rows) + 1 {
		if _, err := io.WriteString(w, tableLine(cols, i)); err != nil {
			return err
		}
	}
	return nil
}

func countOrNone(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// jobStateText is the state, and what a person wants of it that is not done yet.
func jobStateText(j *backend.Job) string {
	if j.Cancel && !j.State.Ended() && j.State != backend.JobStopping {
		return string(j.State) + ", cancelling"
	}
	return string(j.State)
}

// priorityText is the effective priority of what waits, else the chosen one.
func priorityText(j *backend.Job) string {
	if j.Position == 0 || j.Score == 0 {
		return strconv.Itoa(j.Priority)
	}
	if j.Score > -100 && j.Score < 100 {
		return strconv.FormatFloat(j.Score, 'f', 2, 64)
	}
	return strconv.FormatFloat(j.Score, 'f', 0, 64)
}

// openEnd stands for an estimate of a job that nobody expects to end.
const openEnd = "∞"

func estimateText(j *backend.Job) string {
	switch {
	case j.Expected > 0:
		return model.Duration(j.Expected)
	case j.Estimate > 0:
		return model.Duration(j.Estimate)
	case j.Limit > 0:
		return model.Duration(j.Limit)
	}
	return openEnd
}

// etaText is when a waiting job will start, or when a running one should end.
func etaText(j *backend.Job, now time.Time) string {
	if j.State.Waiting() {
		return clockText(j.ETA, now)
	}
	if ends := j.Ends(); !ends.IsZero() {
		return "ends " + clockText(ends, now)
	}
	return ""
}

// clockText is a moment as short as it can be without being mistaken: the time
// of day, with the date unless it is today.
func clockText(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	t, now = t.Local(), now.Local()
	switch {
	case !t.After(now) && now.Sub(t) < 5*time.Second:
		return "now"
	case t.YearDay() == now.YearDay() && t.Year() == now.Year():
		return t.Format("15:04")
	case t.Sub(now).Abs() < 300*24*time.Hour:
		return t.Format("Jan 2 15:04")
	}
	return t.Format("2006-01-02")
}

// hostText is where a job runs or ran, or will start: "→hv1".
func hostText(j *backend.Job) string {
	switch {
	case !j.State.Waiting():
		return backend.Clean(j.RunsOn)
	case j.ETAHost != "":
		return "→" + backend.Clean(j.ETAHost)
	}
	return backend.Clean(j.Host)
}

func reasonText(j *backend.Job) string {
	if j.State.Waiting() {
		return backend.Clean(j.Why.String())
	}
	return backend.Clean(j.Words)
}

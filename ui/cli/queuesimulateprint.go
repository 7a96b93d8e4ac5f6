package cli

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/renameio/v2"

	"berth/backend"
	"berth/backend/queue"
	"berth/backend/queue/sim"
	"berth/model"
)

// trialRecord is a trial in JSON.
type trialRecord struct {
	Policy    queue.Order     `json:"policy"`
	Backfill  queue.Backfill  `json:"backfill"`
	Placement queue.Placement `json:"placement"`
	sim.Metrics
	LeftOut int `json:"left_out"` // lines of the trace without size, run time or estimate
}

func newTrialRecord(t *trial, b *bench) trialRecord {
	return trialRecord{t.policy.Order, t.policy.Backfill, t.policy.Placement, t.Metrics, b.work.LeftOut}
}

// printTrial prints one trial: the keys of JSON with their values, and what
// they come to for people.
func (a *app) printTrial(format string, t *trial, b *bench) error {
	if format == "json" {
		return encodeJSON(a.Stdout, newTrialRecord(t, b))
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "policy\t%s\t%s\n", t.policy.Order, t.words())
	fmt.Fprintf(w, "hosts\t%d\t%s\n", len(b.hosts), b.machine)
	fmt.Fprintf(w, "jobs\t%d\t%s\n", t.Jobs, leftOut(b.work.LeftOut))
	fmt.Fprintf(w, "never_fit\t%d\t%s\n", t.NeverFit, someNames(t.NeverFits))
	for _, s := range []struct {
		key   string
		value float64
	}{
		{"mean_wait_s", t.MeanWait}, {"p95_wait_s", t.P95Wait}, {"max_wait_s", t.MaxWait}, {"mean_flow_s", t.MeanFlow},
	} {
		fmt.Fprintf(w, "%s\t%.1f\t%s\n", s.key, s.value, seconds(s.value))
	}
	fmt.Fprintf(w, "mean_bsld\t%.2f\t\nmax_bsld\t%.2f\t\n", t.MeanBSLD, t.MaxBSLD)
	fmt.Fprintf(w, "utilization_vcpu\t%.4f\t%s\n", t.UtilizationVCPU, percent(t.UtilizationVCPU))
	fmt.Fprintf(w, "utilization_mem\t%.4f\t%s\n", t.UtilizationMemory, percent(t.UtilizationMemory))
	fmt.Fprintf(w, "makespan_s\t%.0f\t%s\n", t.Makespan, seconds(t.Makespan))
	fmt.Fprintf(w, "decisions_per_s\t%.0f\t\n", t.DecisionsPerS)
	return flushTrimmed(a.Stdout, w)
}

// flushTrimmed ends a table; tabwriter writes to a.Stdout itself, so that
// blanks behind empty last cells are all that could be wrong with it.
func flushTrimmed(_ io.Writer, w *tabwriter.Writer) error { return w.Flush() }

func (t *trial) words() string {
	text := fmt.Sprintf("backfill %s, placement %s", t.policy.Backfill, t.policy.Placement)
	if t.policy.Firm {
		text += ", promises kept"
	}
	return text
}

func leftOut(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d more lack size, run time or estimate", n)
}

// someNames lists the first of the jobs that never fit.
func someNames(ids []string) string {
	const most = 5
	text := strings.Join(ids[:min(most, len(ids))], ", ")
	if len(ids) > most {
		text += fmt.Sprintf(" and %d more", len(ids)-most)
	}
	return backend.Clean(text)
}

func seconds(s float64) string { return model.Duration(time.Duration(s * float64(time.Second))) }

func percent(part float64) string { return strconv.FormatFloat(part*100, 'f', 1, 64) + "%" }

// writeSchedule writes the file whole or not at all. What is no ordinary file,
// as /dev/stdout, cannot be put in place of and is written to.
func writeSchedule(path string, rows []sim.Row) error {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return scheduleError(path, writeInto(path, rows))
	}
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644), renameio.WithExistingPermissions())
	if err != nil {
		return scheduleError(path, err)
	}
	defer f.Cleanup() //nolint:errcheck // does nothing once the file is in place
	if err := writeRows(f, rows); err != nil {
		return scheduleError(path, err)
	}
	return scheduleError(path, f.CloseAtomicallyReplace())
}

func scheduleError(path string, err error) error {
	if err == nil {
		return nil
	}
	var pe *fs.PathError
	if errors.As(err, &pe) { // the name of a file that was only temporary helps nobody
		err = pe.Err
	}
	return &backend.OpError{Op: "write the schedule", Target: backend.Clean(path), Err: err, Hint: "nothing was written"}
}

func writeInto(path string, rows []sim.Row) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(writeRows(f, rows), f.Close())
}

func writeRows(w io.Writer, rows []sim.Row) error {
	out := bufio.NewWriter(w)
	return cmp.Or(sim.WriteSchedule(out, rows), out.Flush())
}

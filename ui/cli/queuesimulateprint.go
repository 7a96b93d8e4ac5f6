package cli

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
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
	rows := [][3]string{
		{"policy", string(t.policy.Order), t.words()},
		{"hosts", strconv.Itoa(len(b.hosts)), b.machine},
		{"jobs", strconv.Itoa(t.Jobs), leftOut(b.work.LeftOut)},
		{"never_fit", strconv.Itoa(t.NeverFit), someNames(t.NeverFits)},
		{"mean_wait_s", decimals(t.MeanWait, 1), seconds(t.MeanWait)},
		{"p95_wait_s", decimals(t.P95Wait, 1), seconds(t.P95Wait)},
		{"max_wait_s", decimals(t.MaxWait, 1), seconds(t.MaxWait)},
		{"mean_flow_s", decimals(t.MeanFlow, 1), seconds(t.MeanFlow)},
		{"mean_bsld", decimals(t.MeanBSLD, 2), ""},
		{"max_bsld", decimals(t.MaxBSLD, 2), ""},
		{"utilization_vcpu", decimals(t.UtilizationVCPU, 4), percent(t.UtilizationVCPU)},
		{"utilization_mem", decimals(t.UtilizationMemory, 4), percent(t.UtilizationMemory)},
		{"makespan_s", decimals(t.Makespan, 0), seconds(t.Makespan)},
		{"decisions_per_s", decimals(t.DecisionsPerS, 0), ""},
	}
	var out strings.Builder
	for _, r := range rows {
		out.WriteString(strings.TrimRight(fmt.Sprintf("%-18s%-12s  %s", r[0], r[1], r[2]), " ") + "\n")
	}
	_, err := io.WriteString(a.Stdout, out.String())
	return err
}

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

func decimals(x float64, n int) string { return strconv.FormatFloat(x, 'f', n, 64) }

// seconds is a span for people; what is beyond a time.Duration is cut there.
func seconds(s float64) string {
	return model.Duration(time.Duration(min(s, math.MaxInt64/1e9-1) * float64(time.Second)))
}

func percent(part float64) string { return decimals(part*100, 1) + "%" }

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

package cli

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
)

var transferColumns = []cellColumn[backend.Transfer]{
	{"N", 0, true, func(t *backend.Transfer, _ time.Time) string { return strconv.FormatInt(int64(t.ID), 10) }},
	{"KIND", 2, false, func(t *backend.Transfer, _ time.Time) string { return string(t.Spec.Kind) }},
	{"VM", 0, false, func(t *backend.Transfer, _ time.Time) string { return backend.Clean(t.Spec.Name) }},
	{"ST", 0, false, transferStateText},
	{"DONE", 1, true, func(t *backend.Transfer, _ time.Time) string { return shareText(&t.Progress) }},
	{"OF", 3, true, func(t *backend.Transfer, _ time.Time) string { return amountOrNone(t.Progress.Total) }},
	{"RATE", 4, true, func(t *backend.Transfer, _ time.Time) string {
		if t.State != backend.TransferRunning {
			return ""
		}
		return amountOrNone(t.Progress.Rate)
	}},
	{"ETA", 4, true, func(t *backend.Transfer, _ time.Time) string {
		if t.State != backend.TransferRunning || t.Progress.ETA <= 0 {
			return ""
		}
		return model.Duration(t.Progress.ETA)
	}},
	{"NEW", 6, true, func(t *backend.Transfer, _ time.Time) string { return amountOrNone(t.Progress.New) }},
	{"STORED", 6, true, func(t *backend.Transfer, _ time.Time) string { return amountOrNone(t.Progress.Out) }},
	{"SINCE", 3, false, func(t *backend.Transfer, now time.Time) string { return clockText(t.Since, now) }},
	{"BY", 7, false, orderedBy},
	{"REPO", 8, false, func(t *backend.Transfer, _ time.Time) string { return backend.Clean(t.Spec.Repo.URL) }},
	{"WORDS", 1, false, func(t *backend.Transfer, _ time.Time) string { return backend.Clean(t.Words) }},
}

func transferStateText(t *backend.Transfer, _ time.Time) string {
	switch {
	case t.State.Ended():
		return string(t.State)
	case t.Cancel:
		return "cancelling"
	case t.Pause && t.State == backend.TransferRunning:
		return "pausing"
	case t.State == backend.TransferRunning && t.Progress.Phase != "":
		return string(t.Progress.Phase)
	}
	return string(t.State)
}

func orderedBy(t *backend.Transfer, _ time.Time) string {
	if t.Spec.Schedule > 0 {
		return fmt.Sprintf("schedule %d", t.Spec.Schedule)
	}
	return backend.Clean(t.Owner)
}

func shareText(p *backend.Progress) string {
	if p.Total <= 0 {
		return ""
	}
	return fmt.Sprintf("%.0f%%", 100*float64(p.Done)/float64(p.Total))
}

func amountOrNone(n int64) string {
	if n <= 0 {
		return ""
	}
	return model.Bytes(float64(n))
}

func (a *app) backupJobsCommand() *cobra.Command {
	all := false
	output := "table"
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "List transfers: what is backed up, restored or verified at the moment",
		Long: "List transfers: what is backed up, restored or verified at the moment, then what\n" +
			"waits. DONE is the share of what is really to be done (OF).\n\n" +
			"-o json prints a list of objects. " + transferRecordHelp,
		Args: withUsage(noArguments("")),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(output, "table", "json"); err != nil {
				return err
			}
			return a.withBackups(cmd, func(b backend.Backups) error {
				st, err := b.State(cmd.Context())
				if err != nil {
					return err
				}
				return a.printTransfers(output, &st, all)
			})
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVarP(&all, "all", "a", false, "those that ended lately too")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "`FORMAT`: table or json")
	completeFlag(cmd, "output", fixed("table", "json"))
	cmd.ValidArgsFunction = fixed()
	return cmd
}

func (a *app) printTransfers(format string, st *backend.BackupsState, all bool) error {
	list := slices.Clone(st.Transfers)
	if !all {
		list = slices.DeleteFunc(list, func(t backend.Transfer) bool { return t.State.Ended() })
	}
	needed := slices.ContainsFunc(list, func(t backend.Transfer) bool { return !t.State.Ended() && t.State != backend.TransferPaused })
	switch {
	case st.Engine.Running && st.Engine.Trouble != "":
		a.complain(fmt.Errorf("the engine: %s", st.Engine.Trouble))
	case !st.Engine.Running && needed && !a.flags.demo:
		a.complain(fmt.Errorf("%w, so nothing goes on; berth engine start brings it up", backend.ErrEngine))
	}
	if format != "json" {
		return printCells(a, a.Stdout, transferColumns, list, st.At)
	}
	records := make([]transferRecord, len(list))
	for i := range list {
		records[i] = newTransferRecord(&list[i])
	}
	return encodeJSON(a.Stdout, records)
}

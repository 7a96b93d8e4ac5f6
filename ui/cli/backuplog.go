package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
)

// backupLogFlags are those of berth backup log.
type backupLogFlags struct {
	output string
	follow bool
	since  spanValue
}

func (a *app) backupLogCommand() *cobra.Command {
	var f backupLogFlags
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Print what became of transfers, oldest first",
		Long: "Print what became of transfers, oldest first. -o json prints one object a line, as\n" +
			"berth backup jobs has them. With --follow it goes on as they end, until ^C.",
		Args: withUsage(noArguments("")),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(f.output, "text", "json"); err != nil {
				return err
			}
			return a.withBackups(cmd, func(b backend.Backups) error { return ended(cmd.Context(), a.logTransfers(cmd.Context(), b, &f)) })
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.BoolVarP(&f.follow, "follow", "f", false, "go on as transfers end")
	fl.Var(&f.since, "since", "only what ended in the last `TIME`")
	textOrJSON(cmd, &f.output)
	completeFlag(cmd, "since", fixed("10m", "1h", "1d"))
	cmd.ValidArgsFunction = fixed()
	return cmd
}

func (a *app) logTransfers(ctx context.Context, b backend.Backups, f *backupLogFlags) error {
	told := map[backend.TransferID]time.Time{} // by when it ended: one may be ordered again
	w := &follower{app: a, o: followOptions{json: f.output == "json"}}
	for {
		st, err := b.State(ctx)
		if err != nil {
			return err
		}
		var fresh []*backend.Transfer
		for i := range st.Transfers {
			t := &st.Transfers[i]
			if !t.State.Ended() || told[t.ID].Equal(t.Ended) || f.since > 0 && t.Ended.Before(st.At.Add(-time.Duration(f.since))) {
				continue
			}
			told[t.ID] = t.Ended
			fresh = append(fresh, t)
		}
		slices.SortFunc(fresh, func(x, y *backend.Transfer) int { return x.Ended.Compare(y.Ended) })
		for _, t := range fresh {
			if err := a.logTransfer(w, t); err != nil {
				return err
			}
		}
		if !f.follow {
			return nil
		}
		if err := b.Wait(ctx, st.Revision); err != nil {
			return err
		}
	}
}

func (a *app) logTransfer(w *follower, t *backend.Transfer) error {
	if w.o.json {
		return w.printJSON(t)
	}
	text := doneText(t)
	if t.State != backend.TransferDone {
		text = lostText(t)
	}
	by := orderedBy(t, time.Time{})
	if by != "" {
		by = "  (" + by + ")"
	}
	_, err := fmt.Fprintf(a.Stdout, "%s  %d %s%s\n", t.Ended.Local().Format(time.DateTime), t.ID, backend.Clean(text), by)
	return err
}

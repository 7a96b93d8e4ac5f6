package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
)

// transferVerb is one `berth backup WORD N...` command.
type transferVerb struct {
	name, short, done string
	change            backend.TransferChange
	want              func(*backend.Transfer) bool
}

func transferVerbs() []transferVerb {
	open := func(t *backend.Transfer) bool { return !t.State.Ended() }
	return []transferVerb{
		{"pause", "Let transfers stand still; what was done is kept", "pausing", backend.TransferChange{Pause: true}, func(t *backend.Transfer) bool { return open(t) && !t.Pause }},
		{"resume", "Let paused transfers go on", "goes on", backend.TransferChange{Resume: true}, func(t *backend.Transfer) bool { return t.Pause || t.State == backend.TransferPaused }},
		{"cancel", "End transfers, and take away what they left", "cancelling", backend.TransferChange{Cancel: true}, open},
		{"retry", "Order transfers again that failed or were cancelled", "ordered again", backend.TransferChange{Retry: true},
			func(t *backend.Transfer) bool {
				return t.State == backend.TransferFailed || t.State == backend.TransferCancelled
			}},
	}
}

func (a *app) transferVerbCommand(v transferVerb) *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use:   v.name + " N...",
		Short: v.short,
		Long:  v.short + ".\n\n" + transferArgHelp,
		Args:  withUsage(someTransfers),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeTransfers(cmd, output, args, v.change, v.done)
		},
	}
	textOrJSON(cmd, &output)
	a.completeTransfers(cmd, v.want)
	return cmd
}

const transferArgHelp = `N is a transfer's number (berth backup jobs), or the name of its VM. All are
changed, or none. -o json prints what berth backup jobs does, of them.`

func someTransfers(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%s what? Give one N or more; berth backup jobs lists them", cmd.Name())
	}
	return nil
}

func (a *app) changeTransfers(cmd *cobra.Command, output string, args []string, c backend.TransferChange, done string) error {
	if err := a.loadToChange(cmd, checkFormat(output, "text", "json")); err != nil {
		return err
	}
	return a.withBackups(cmd, func(b backend.Backups) error {
		ctx := cmd.Context()
		st, err := b.State(ctx)
		if err != nil {
			return err
		}
		ids, err := findTransfers(&st, args)
		if err != nil {
			return err
		}
		if err := a.change(ctx, b, &st, ids, c); err != nil {
			return err
		}
		if output == "json" {
			return a.encodeTransfers(ctx, b, ids)
		}
		for _, id := range ids {
			label := strconv.FormatInt(int64(id), 10)
			if t := transferByID(&st, id); t != nil {
				label = transferLabel(t)
			}
			if _, err := fmt.Fprintf(a.Stdout, "%s: %s\n", label, done); err != nil {
				return err
			}
		}
		return nil
	})
}

// encodeTransfers prints what transfers are now.
func (a *app) encodeTransfers(ctx context.Context, b backend.Backups, ids []backend.TransferID) error {
	st, err := b.State(ctx)
	if err != nil {
		return err
	}
	records := []transferRecord{}
	for _, id := range ids {
		if t := transferByID(&st, id); t != nil {
			records = append(records, newTransferRecord(t))
		}
	}
	return encodeJSON(a.Stdout, records)
}

// change changes transfers. Those that are ordered again get their passphrase
// again, too.
func (a *app) change(ctx context.Context, b backend.Backups, st *backend.BackupsState, ids []backend.TransferID, c backend.TransferChange) error {
	undo := func() error { return nil }
	if c.Retry {
		var again []*backend.Transfer
		for _, id := range ids {
			if t := transferByID(st, id); t != nil && t.State.Ended() {
				again = append(again, t)
			}
		}
		var err error
		if undo, err = a.handOverAgain(ctx, again); err != nil {
			return ended(ctx, err)
		}
	}
	if err := b.Change(ctx, ids, c); err != nil {
		return errors.Join(err, undo())
	}
	return nil
}

// findTransfers finds the transfers that arguments name, without doubles.
func findTransfers(st *backend.BackupsState, args []string) ([]backend.TransferID, error) {
	return findEach(args, func(arg string) (backend.TransferID, error) { return findTransfer(st, arg) })
}

// findTransfer resolves a number, which is not looked up, or a VM's name: the
// one of its transfers that has not ended, else the latest.
func findTransfer(st *backend.BackupsState, arg string) (backend.TransferID, error) {
	if n, err := strconv.ParseInt(strings.TrimPrefix(arg, "#"), 10, 64); err == nil {
		if n < 1 {
			return 0, &usageError{err: fmt.Errorf("%q is not a transfer's number; they count from 1", arg)}
		}
		return backend.TransferID(n), nil
	}
	host, name, qualified := strings.Cut(arg, "/")
	if !qualified {
		host, name = "", arg
	}
	var found []*backend.Transfer
	for i := range st.Transfers {
		t := &st.Transfers[i]
		if t.Spec.Name == name && (host == "" || t.Spec.VM.Host == host) {
			found = append(found, t)
		}
	}
	if open := slices.DeleteFunc(slices.Clone(found), func(t *backend.Transfer) bool { return t.State.Ended() }); len(open) > 0 {
		found = open
		if len(open) > 1 {
			return 0, fmt.Errorf("%s: %w: it has %d transfers; give the number of one (berth backup jobs)", backend.Clean(arg), backend.ErrAmbiguous, len(open))
		}
	}
	if len(found) == 0 {
		return 0, fmt.Errorf("%s: %w; berth backup jobs --all shows what there is", backend.Clean(arg), backend.ErrNoTransfer)
	}
	return slices.MaxFunc(found, func(a, b *backend.Transfer) int { return int(a.ID - b.ID) }).ID, nil
}

func (a *app) backupLimitCommand() *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use:   "limit RATE N...",
		Short: "Slow transfers down, or let them go as fast as they can",
		Long: "Slow transfers down to RATE bytes a second each, as 50M, or let them go as fast as\n" +
			"they can (none).\n\n" + transferArgHelp,
		Example: "  berth backup limit 20M web1",
		Args: withUsage(func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("limit what? Give RATE, and one N or more; berth backup jobs lists them")
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			rate, err := parseRate(args[0])
			if err != nil {
				return &usageError{err: err}
			}
			done := "as fast as it goes"
			if rate > 0 {
				done = "at most " + model.Bytes(float64(rate)) + "/s"
			}
			return a.changeTransfers(cmd, output, args[1:], backend.TransferChange{Limit: &rate}, done)
		},
	}
	textOrJSON(cmd, &output)
	a.completeTransfers(cmd, func(t *backend.Transfer) bool { return !t.State.Ended() })
	complete := cmd.ValidArgsFunction
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return []string{"none", "10M", "50M", "100M"}, noFiles
		}
		return complete(cmd, args[1:], typed)
	}
	return cmd
}

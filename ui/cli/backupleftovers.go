package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
)

var leftoverColumns = []cellColumn[backend.Leftover]{
	{"HOST", 1, false, func(l *backend.Leftover, _ time.Time) string { return backend.Clean(l.Host) }},
	{"VM", 0, false, func(l *backend.Leftover, _ time.Time) string { return backend.Clean(l.Name) }},
	{"KIND", 0, false, func(l *backend.Leftover, _ time.Time) string { return backend.Clean(l.Kind) }},
	{"SINCE", 1, false, func(l *backend.Leftover, now time.Time) string { return clockText(l.Since, now) }},
	{"SIZE", 2, true, func(l *backend.Leftover, _ time.Time) string { return model.Bytes(float64(l.Size)) }},
	{"WHAT", 0, false, func(l *backend.Leftover, _ time.Time) string { return backend.Clean(l.What) }},
}

// leftoverRecord is one leftover in JSON.
type leftoverRecord struct {
	Host    string  `json:"host"`
	Name    string  `json:"name"`
	UUID    string  `json:"uuid"`
	Kind    string  `json:"kind"` // "job", "checkpoint", "scratch"
	What    string  `json:"what"`
	Since   *string `json:"since"`
	Size    uint64  `json:"size_bytes"`
	Removed bool    `json:"removed"`
}

// leftoverFlags are those of berth backup leftovers.
type leftoverFlags struct {
	clean  bool
	yes    bool
	output string
}

func (a *app) backupLeftoversCommand() *cobra.Command {
	var f leftoverFlags
	cmd := &cobra.Command{
		Use:   "leftovers",
		Short: "Find what broken-off backups left on hosts, and clean it up",
		Long: "Find what broken-off backups of berth's left on hosts: jobs, scratch files, and\n" +
			"checkpoints without a backup that is safe. While a backup is under way nothing of\n" +
			"its VM counts as left over. --clean removes them; the next backup of a VM whose\n" +
			"checkpoint goes may be a full one.\n\n" +
			"JSON is a list of objects: host name uuid kind (job checkpoint scratch) what since\n" +
			"size_bytes removed.",
		Args: withUsage(noArguments("")),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runLeftovers(cmd, &f) },
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.BoolVar(&f.clean, "clean", false, "remove them")
	fl.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	fl.StringVarP(&f.output, "output", "o", "table", "`FORMAT`: table or json")
	completeFlag(cmd, "output", fixed("table", "json"))
	cmd.ValidArgsFunction = fixed()
	return cmd
}

func (a *app) runLeftovers(cmd *cobra.Command, f *leftoverFlags) (err error) {
	wrong := checkFormat(f.output, "table", "json")
	if f.clean {
		err = a.loadToChange(cmd, wrong)
	} else {
		err = errors.Join(a.load(cmd), wrong)
	}
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	return a.overFleet(ctx, func(fl *fleet) error {
		found, failed, err := a.leftovers(ctx, fl)
		if err != nil {
			return ended(ctx, err)
		}
		err = a.clearLeftovers(ctx, fl, f, found)
		if err == nil && failed {
			return errReported
		}
		return ended(ctx, err)
	})
}

// leftovers asks all hosts. VMs that a transfer works on are left out: its
// session's token is the engine's alone.
func (a *app) leftovers(ctx context.Context, fl *fleet) (found []backend.Leftover, failed bool, err error) {
	busy := map[backend.UUID]bool{}
	err = a.overBackups(ctx, fl, func(b backend.Backups) error {
		st, err := b.State(ctx)
		for i := range st.Transfers {
			if t := &st.Transfers[i]; !t.State.Ended() && t.State != backend.TransferQueued {
				busy[t.Spec.VM.UUID] = true
			}
		}
		return err
	})
	if err != nil {
		return nil, false, err
	}
	for _, h := range fl.hosts {
		b, ok := h.(backend.Backuper)
		if !ok {
			continue
		}
		of, err := b.Leftovers(ctx, nil)
		if err != nil {
			a.complain(hostError(gathered{host: h, err: err}))
			failed = true
		}
		for i := range of {
			of[i].Host = h.Name()
		}
		found = append(found, slices.DeleteFunc(of, func(l backend.Leftover) bool { return busy[l.VM] })...)
	}
	return found, failed, nil
}

// clearLeftovers prints what was found, and removes it if that was asked for.
func (a *app) clearLeftovers(ctx context.Context, fl *fleet, f *leftoverFlags, found []backend.Leftover) error {
	if f.output == "table" {
		if err := printCells(a, a.Stdout, leftoverColumns, found, time.Now()); err != nil {
			return err
		}
	}
	removed := make([]bool, len(found))
	var failed error
	if f.clean && len(found) > 0 {
		if err := a.mayLose(ctx, f.yes, "leftovers --clean", fmt.Sprintf("Remove %s?", plural(len(found), "leftover", "leftovers"))); err != nil {
			return err
		}
		failed = a.removeLeftovers(ctx, fl, found, removed)
	}
	if f.output == "json" {
		list := make([]leftoverRecord, len(found))
		for i, l := range found {
			list[i] = leftoverRecord{backend.Clean(l.Host), backend.Clean(l.Name), l.VM.String(), backend.Clean(l.Kind), backend.Clean(l.What), stamp(l.Since), l.Size, removed[i]}
		}
		return errors.Join(encodeJSON(a.Stdout, list), failed)
	}
	if f.clean {
		n := 0
		for _, done := range removed {
			if done {
				n++
			}
		}
		if _, err := fmt.Fprintf(a.Stdout, "%d removed\n", n); err != nil {
			return err
		}
	}
	return failed
}

func (a *app) removeLeftovers(ctx context.Context, fl *fleet, found []backend.Leftover, removed []bool) error {
	var failed error
	for i, l := range found {
		at := slices.IndexFunc(fl.hosts, func(h backend.Host) bool { return h.Name() == l.Host })
		host, ok := fl.hosts[at].(backend.Backuper)
		if !ok {
			continue
		}
		if err := host.CleanUp(ctx, l); err != nil {
			a.complain(fmt.Errorf("%s: %s %s: %w", l.Name, l.Kind, l.What, err))
			failed = errReported
			continue
		}
		removed[i] = true
	}
	return failed
}

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/image/repo"
	"berth/model"
)

var lockColumns = []cellColumn[repo.LockInfo]{
	{"LOCK", 0, false, func(l *repo.LockInfo, _ time.Time) string { return backend.Clean(shortID(l.ID)) }},
	{"FOR", 0, false, func(l *repo.LockInfo, _ time.Time) string { return backend.Clean(l.What) }},
	{"KIND", 1, false, func(l *repo.LockInfo, _ time.Time) string {
		return map[bool]string{true: "exclusive", false: "shared"}[l.Exclusive]
	}},
	{"HOST", 0, false, func(l *repo.LockInfo, _ time.Time) string { return backend.Clean(l.Host) }},
	{"PID", 1, true, func(l *repo.LockInfo, _ time.Time) string { return fmt.Sprint(l.PID) }},
	{"BY", 2, false, func(l *repo.LockInfo, _ time.Time) string { return backend.Clean(l.Owner) }},
	{"SINCE", 1, false, func(l *repo.LockInfo, now time.Time) string { return clockText(l.Since, now) }},
	{"SEEN", 2, true, func(l *repo.LockInfo, now time.Time) string { return model.Duration(max(0, now.Sub(l.Refreshed))) }},
	{"STALE", 0, false, func(l *repo.LockInfo, _ time.Time) string { return backend.Clean(l.Stale) }},
}

// lockRecord is one lock in JSON.
type lockRecord struct {
	Lock      string  `json:"lock"`
	For       string  `json:"for"`
	Exclusive bool    `json:"exclusive"`
	Host      string  `json:"host"`
	PID       int     `json:"pid"`
	Owner     string  `json:"owner"`
	Since     *string `json:"since"`
	Refreshed *string `json:"refreshed_at"`
	Stale     string  `json:"stale"`
}

func (a *app) backupLocksCommand() *cobra.Command {
	var f repoFlags
	output := "table"
	cmd := &cobra.Command{
		Use:   "locks",
		Short: "List who holds the repository",
		Long: "List who holds the repository. Locks that nobody refreshes run out by themselves;\n" +
			"STALE says why one counts for nothing any more.\n\n" + repoHelp + "\n\n" +
			"JSON is a list of objects: lock for exclusive host pid owner since refreshed_at stale.",
		Args: withUsage(noArguments("")),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(output, "table", "json"); err != nil {
				return err
			}
			return a.withRepo(cmd, &f, func(ctx context.Context, r *openRepo) error {
				locks, err := r.Locks(ctx)
				if err != nil {
					return err
				}
				return a.printLocks(output, locks)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "`FORMAT`: table or json")
	completeFlag(cmd, "output", fixed("table", "json"))
	cmd.ValidArgsFunction = fixed()
	return cmd
}

func (a *app) printLocks(format string, locks []repo.LockInfo) error {
	if format != "json" {
		return printCells(a, a.Stdout, lockColumns, locks, time.Now())
	}
	list := make([]lockRecord, len(locks))
	for i, l := range locks {
		list[i] = lockRecord{backend.Clean(l.ID), backend.Clean(l.What), l.Exclusive, backend.Clean(l.Host), l.PID, backend.Clean(l.Owner), stamp(l.Since), stamp(l.Refreshed), backend.Clean(l.Stale)}
	}
	return encodeJSON(a.Stdout, list)
}

func (a *app) backupUnlockCommand() *cobra.Command {
	var f repoFlags
	all, yes, output := false, false, ""
	cmd := &cobra.Command{
		Use:   "unlock",
		Short: "Remove locks whose holders are gone",
		Long: "Remove locks whose holders are gone. Those run out by themselves, too; this is for\n" +
			"who does not want to wait. --all removes those of holders that are alive as well,\n" +
			"and endangers what they do. JSON is an object: removed, how many.\n\n" + repoHelp,
		Args: withUsage(noArguments("")),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.changeRepo(cmd, &f, checkFormat(output, "text", "json"), func(ctx context.Context, r *openRepo) error {
				return a.unlock(ctx, r, output, all, yes)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "those of holders that are alive, too")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	textOrJSON(cmd, &output)
	cmd.ValidArgsFunction = fixed()
	return cmd
}

func (a *app) unlock(ctx context.Context, r *openRepo, output string, all, yes bool) error {
	if err := a.mayLose(ctx, yes || !all, "unlock --all", "Remove all locks?\nA backup or prune that is under way may lose data."); err != nil {
		return err
	}
	n, err := r.Unlock(ctx, !all)
	if err != nil {
		return err
	}
	if output == "json" {
		return encodeJSON(a.Stdout, map[string]int{"removed": n})
	}
	_, err = fmt.Fprintf(a.Stdout, "%s removed\n", plural(n, "lock", "locks"))
	return err
}

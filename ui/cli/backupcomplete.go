package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
)

// backupsNow is the state of backups for a person at a prompt, who is not kept
// waiting. The repository itself is not opened: that may need a secret.
func (a *app) backupsNow(cmd *cobra.Command) (st backend.BackupsState, err error) {
	if err := a.load(cmd); err != nil {
		return st, err
	}
	ctx, cancel := context.WithTimeout(contextOrBackground(cmd), completionDeadline)
	defer cancel()
	cmd.SetContext(ctx)
	err = a.withBackups(cmd, func(b backend.Backups) error {
		var serr error
		st, serr = b.State(ctx)
		return serr
	})
	return st, err
}

// completePointVMs offers the VMs that have points.
func (a *app) completePointVMs(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	st, err := a.backupsNow(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return pointVMs(st.Points, time.Now()), noFiles
}

func pointVMs(points []backend.Point, now time.Time) []string {
	var out []string
	seen := map[backend.UUID]bool{}
	for i := range points { // the latest first
		p := &points[i]
		if !seen[p.VM] {
			seen[p.VM] = true
			out = append(out, backend.Clean(p.Name)+"\tlast "+model.Duration(max(0, now.Sub(p.At)))+" ago")
		}
	}
	return out
}

// completePoints offers the IDs of points, up to so many (0: any number).
func (a *app) completePoints(most int) completer {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, noFiles
		}
		st, err := a.backupsNow(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		out := pointVMs(st.Points, time.Now())
		for i := range st.Points {
			p := &st.Points[i]
			if id := shortID(p.ID); !slices.Contains(args, id) {
				out = append(out, fmt.Sprintf("%s\t%s %s", id, backend.Clean(p.Name), p.At.Local().Format("2006-01-02 15:04")))
			}
		}
		return out, noFiles
	}
}

// completeTransfers offers the numbers of those transfers for which the
// command makes sense.
func (a *app) completeTransfers(cmd *cobra.Command, want func(*backend.Transfer) bool) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		st, err := a.backupsNow(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var out []string
		for i := range st.Transfers {
			t := &st.Transfers[i]
			number := strconv.FormatInt(int64(t.ID), 10)
			if !slices.Contains(args, number) && want(t) {
				out = append(out, fmt.Sprintf("%s\t%s %s %s", number, t.Spec.Kind, backend.Clean(t.Spec.Name), t.State))
			}
		}
		return out, noFiles
	}
}

// completeSchedules offers the numbers of schedules.
func (a *app) completeSchedules(cmd *cobra.Command) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		st, err := a.backupsNow(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var out []string
		for i := range st.Schedules {
			s := &st.Schedules[i]
			number := strconv.FormatInt(s.ID, 10)
			if !slices.Contains(args, number) {
				out = append(out, fmt.Sprintf("%s\t%s %s", number, backend.Clean(s.Name), s.Cron))
			}
		}
		return out, noFiles
	}
}

package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
)

// queueNow is the queue for a person at a prompt, who is not kept waiting.
func (a *app) queueNow(cmd *cobra.Command) (st backend.QueueState, err error) {
	if err := a.load(cmd); err != nil {
		return st, err
	}
	ctx, cancel := context.WithTimeout(contextOrBackground(cmd), completionDeadline)
	defer cancel()
	cmd.SetContext(ctx)
	err = a.withQueue(cmd, func(q backend.Queue) error {
		var serr error
		st, serr = q.State(ctx)
		return serr
	})
	return st, err
}

// completeJobs offers the numbers of those jobs for which the command makes
// sense, each with its VM and state beside it.
func (a *app) completeJobs(cmd *cobra.Command, want func(*backend.Job) bool) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		out, err := a.jobCompletions(cmd, args, want)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return out, noFiles
	}
}

func (a *app) jobCompletions(cmd *cobra.Command, taken []string, want func(*backend.Job) bool) ([]string, error) {
	st, err := a.queueNow(cmd)
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range st.Jobs {
		j := &st.Jobs[i]
		number := strconv.FormatInt(int64(j.ID), 10)
		if !slices.Contains(taken, number) && want(j) {
			out = append(out, fmt.Sprintf("%s\t%s %s", number, backend.Clean(j.Name), j.State))
		}
	}
	return out, nil
}

// completeQueueHosts offers the hosts of the queue, and some words.
func (a *app) completeQueueHosts(words ...string) completer {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		st, err := a.queueNow(cmd)
		if err != nil {
			return words, noFiles
		}
		out := slices.Clone(words)
		for i := range st.Hosts {
			h := &st.Hosts[i]
			free := h.Free()
			out = append(out, fmt.Sprintf("%s\t%s, %d vCPU and %s free", backend.Clean(h.Name), hostState(h), free.VCPU, model.Bytes(float64(free.Memory))))
		}
		return out, noFiles
	}
}

func (a *app) completeSubmit(cmd *cobra.Command) {
	completeFlag(cmd, "output", fixed("text", "json"))
	completeFlag(cmd, "filter", completeFilter)
	completeFlag(cmd, "host", a.completeQueueHosts())
	completeFlag(cmd, "begin", fixed("+1h", "22:00", "tomorrow 02:00"))
	completeFlag(cmd, "estimate", fixed("30m", "2h", "1d"))
	completeFlag(cmd, "limit", fixed("30m", "2h", "1d"))
	completeFlag(cmd, "after", func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		out, err := a.jobCompletions(cmd, nil, func(j *backend.Job) bool { return !j.State.Ended() })
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return out, noFiles
	})
	for _, flag := range []string{"tag", "near", "apart"} {
		completeFlag(cmd, flag, a.completeTags)
	}
	for _, flag := range []string{"priority", "nice"} {
		completeFlag(cmd, flag, fixed())
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.completeNames(cmd, args, func(r *model.Row) bool { return backend.VerbStart.Check(&r.VM) == nil })
	}
}

// completeTags offers the tags that jobs have.
func (a *app) completeTags(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	st, err := a.queueNow(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var tags []string
	for i := range st.Jobs {
		tags = append(tags, cleanAll(st.Jobs[i].Tags)...)
	}
	slices.Sort(tags)
	return slices.Compact(tags), noFiles
}

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
)

// logFlags are those of berth queue log.
type logFlags struct {
	output string
	follow bool
	since  spanValue
	limit  int
}

const defaultLogLimit = 200

func (a *app) logCommand() *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:   "log [JOB]",
		Short: "Print what happened to one job, or to all and the queue itself",
		Long: "Print what happened to one job, or to all and the queue itself, oldest first.\n\n" +
			"-o json prints one object a line: id at job name what host who detail. With\n" +
			"--follow it goes on as things happen, until ^C.",
		Args: withUsage(func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("log takes one JOB, and there are %d: %s", len(args), strings.Join(args, " "))
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runLog(cmd, &f, args) },
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.BoolVarP(&f.follow, "follow", "f", false, "go on as things happen")
	fl.Var(&f.since, "since", "only what happened in the last `TIME`")
	fl.IntVarP(&f.limit, "limit", "n", defaultLogLimit, "at most the latest `N`; 0 for all")
	textOrJSON(cmd, &f.output)
	completeFlag(cmd, "since", fixed("10m", "1h", "1d"))
	completeFlag(cmd, "limit", fixed())
	a.completeJobs(cmd, func(*backend.Job) bool { return true })
	return cmd
}

func (a *app) runLog(cmd *cobra.Command, f *logFlags, args []string) error {
	if err := a.load(cmd); err != nil {
		return err
	}
	if err := checkFormat(f.output, "text", "json"); err != nil {
		return err
	}
	if f.limit < 0 {
		return usagef("", "--limit %d: use 0 for all, or more", f.limit)
	}
	return a.withQueue(cmd, func(q backend.Queue) error {
		ctx := cmd.Context()
		st, err := q.State(ctx)
		if err != nil {
			return err
		}
		query := backend.LogQuery{Limit: f.limit}
		if f.since > 0 {
			query.Since = st.At.Add(-time.Duration(f.since))
		}
		if len(args) > 0 {
			if query.Job, err = findJob(&st, args[0]); err != nil {
				return err
			}
			if _, err := q.Explain(ctx, query.Job); err != nil {
				return err
			}
		}
		return a.follow(ctx, q, query, f, st.Revision)
	})
}

// follow prints events, and goes on if that was asked for. The revision is
// from before the first events are read, so that none is missed.
func (a *app) follow(ctx context.Context, q backend.Queue, query backend.LogQuery, f *logFlags, revision int64) error {
	for {
		events, err := q.Log(ctx, query)
		if err != nil {
			return err
		}
		for i := range events {
			if err := a.printEvent(f.output, &events[i]); err != nil {
				return err
			}
			query.After = max(query.After, events[i].ID)
		}
		if !f.follow {
			return nil
		}
		query.Limit = 0
		if err := q.Wait(ctx, revision); err != nil {
			return ended(ctx, err)
		}
		st, err := q.State(ctx)
		if err != nil {
			return ended(ctx, err)
		}
		revision = st.Revision
	}
}

// ended is nil for what a person ended, as ^C ends a log that is followed;
// the exit code still tells the signal.
func ended(ctx context.Context, err error) error {
	if se := interrupted(ctx); se != nil {
		return se
	}
	return err
}

// eventRecord is one thing that happened, in JSON.
type eventRecord struct {
	ID     int64         `json:"id"`
	At     string        `json:"at"`
	Job    backend.JobID `json:"job"` // 0: the queue itself
	Name   string        `json:"name"`
	What   string        `json:"what"`
	Host   string        `json:"host"`
	Who    string        `json:"who"`
	Detail string        `json:"detail"`
}

func newEventRecord(e *backend.JobEvent) eventRecord {
	return eventRecord{e.ID, e.At.Format(time.RFC3339Nano), e.Job, backend.Clean(e.Name), backend.Clean(e.What),
		backend.Clean(e.Host), backend.Clean(e.Who), backend.Clean(e.Detail)}
}

func (a *app) printEvent(format string, e *backend.JobEvent) error {
	if format != "json" {
		return printEventText(a.Stdout, e)
	}
	enc := json.NewEncoder(a.Stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(newEventRecord(e))
}

func printEventText(w io.Writer, e *backend.JobEvent) error {
	subject := "the queue"
	if e.Job != 0 {
		subject = fmt.Sprintf("%d %s", e.Job, e.Name)
	}
	parts := []string{e.At.Local().Format(time.DateTime), subject + ": " + e.What}
	if e.Host != "" {
		parts = append(parts, "on "+e.Host)
	}
	if e.Detail != "" {
		parts = append(parts, e.Detail)
	}
	if e.Who != "" && e.Who != "engine" {
		parts = append(parts, "("+e.Who+")")
	}
	for i := range parts {
		parts[i] = backend.Clean(parts[i])
	}
	_, err := fmt.Fprintln(w, strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "  "))
	return err
}

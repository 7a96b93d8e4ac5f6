package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
	"berth/model/config"
)

var queueHostColumns = []cellColumn[backend.QueueHost]{
	{"HOST", 0, false, func(h *backend.QueueHost, _ time.Time) string { return backend.Clean(h.Name) }},
	{"ST", 0, false, func(h *backend.QueueHost, _ time.Time) string { return hostState(h) }},
	{"VCPU", 1, true, vcpuOf(func(h *backend.QueueHost) backend.Resources { return h.Capacity })},
	{"USED", 2, true, vcpuOf(func(h *backend.QueueHost) backend.Resources { return h.Used })},
	{"OUTSIDE", 3, true, vcpuOf(func(h *backend.QueueHost) backend.Resources { return h.Outside })},
	{"FREE", 0, true, vcpuOf(func(h *backend.QueueHost) backend.Resources { return h.Free() })},
	{"MEM", 1, true, memoryOf(func(h *backend.QueueHost) backend.Resources { return h.Capacity })},
	{"USED", 2, true, memoryOf(func(h *backend.QueueHost) backend.Resources { return h.Used })},
	{"OUTSIDE", 3, true, memoryOf(func(h *backend.QueueHost) backend.Resources { return h.Outside })},
	{"FREE", 0, true, memoryOf(func(h *backend.QueueHost) backend.Resources { return h.Free() })},
	{"DISK", 4, true, diskOf(func(h *backend.QueueHost) backend.Resources { return h.Capacity })},
	{"FREE", 4, true, diskOf(func(h *backend.QueueHost) backend.Resources { return h.Free() })},
	{"URI", 6, false, func(h *backend.QueueHost, _ time.Time) string { return backend.Clean(h.URI) }},
	{"TROUBLE", 2, false, func(h *backend.QueueHost, _ time.Time) string { return backend.Clean(h.Trouble) }},
}

type hostPart = func(*backend.QueueHost) backend.Resources

func vcpuOf(part hostPart) func(*backend.QueueHost, time.Time) string {
	return func(h *backend.QueueHost, _ time.Time) string { return model.Count(float64(part(h).VCPU)) }
}

func memoryOf(part hostPart) func(*backend.QueueHost, time.Time) string {
	return func(h *backend.QueueHost, _ time.Time) string { return model.Bytes(float64(part(h).Memory)) }
}

func diskOf(part hostPart) func(*backend.QueueHost, time.Time) string {
	return func(h *backend.QueueHost, _ time.Time) string { return model.Bytes(float64(part(h).Disk)) }
}

func (a *app) queueHostsCommand() *cobra.Command {
	output := "table"
	cmd := &cobra.Command{
		Use:   "hosts",
		Short: "List what each host offers the queue, and what is taken",
		Long: "List what each host offers the queue, and what is taken of it: by jobs (USED) and\n" +
			"by VMs that were started otherwise (OUTSIDE). The first four are vCPUs, the next\n" +
			"four memory.\n\n" +
			"JSON is a list of objects: host uri state (up drained down) since trouble seen_at,\n" +
			"and total capacity outside used reserved free, each with vcpus memory_bytes\n" +
			"disk_bytes.",
		Args: withUsage(noArguments("")),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(output, "table", "json"); err != nil {
				return err
			}
			return a.withQueue(cmd, func(q backend.Queue) error {
				st, err := q.State(cmd.Context())
				if err != nil {
					return err
				}
				a.engineTrouble(&st)
				return a.printQueueHosts(output, &st)
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "`FORMAT`: table or json")
	completeFlag(cmd, "output", fixed("table", "json"))
	cmd.ValidArgsFunction = fixed()
	return cmd
}

func (a *app) printQueueHosts(format string, st *backend.QueueState) error {
	if format == "json" {
		list := make([]queueHostRecord, len(st.Hosts))
		for i := range st.Hosts {
			list[i] = newQueueHostRecord(&st.Hosts[i])
		}
		return encodeJSON(a.Stdout, list)
	}
	return printCells(a, a.Stdout, queueHostColumns, st.Hosts, st.At)
}

func (a *app) drainCommand() *cobra.Command {
	var f changeFlags
	undo := false
	cmd := &cobra.Command{
		Use:   "drain HOST",
		Short: "Keep new jobs off a host, or let them there again",
		Long: "Keep new jobs off a host, as before work on it; what runs there goes on. --undo\n" +
			"lets them there again. berth queue hosts lists the hosts.",
		Args: withUsage(func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("drain which host? Give one HOST")
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runDrain(cmd, &f, args[0], !undo) },
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&undo, "undo", false, "let new jobs there again")
	f.add(cmd)
	cmd.ValidArgsFunction = a.completeQueueHosts()
	return cmd
}

func (a *app) runDrain(cmd *cobra.Command, f *changeFlags, host string, on bool) error {
	return a.changeQueue(cmd, checkFormat(f.output, "text", "json"), func(q backend.Queue, st *backend.QueueState) error {
		ctx := cmd.Context()
		if err := knownHost(st, host); err != nil {
			return err
		}
		if f.whatIf {
			h := backend.Hypothesis{HostOut: []string{host}}
			if !on {
				h = backend.Hypothesis{HostIn: []string{host}}
			}
			return a.whatIf(ctx, q, f.output, st, h)
		}
		if err := q.Drain(ctx, host, on); err != nil {
			return err
		}
		if f.output == "json" {
			after, err := q.State(ctx)
			if err != nil {
				return err
			}
			return a.printQueueHosts("json", &after)
		}
		word := map[bool]string{true: "drained", false: "takes jobs again"}[on]
		_, err := fmt.Fprintf(a.Stdout, "%s: %s\n", backend.Clean(host), word)
		return err
	})
}

// knownHost refuses a host that the queue does not know.
func knownHost(st *backend.QueueState, host string) error {
	var names []string
	for _, h := range st.Hosts {
		names = append(names, backend.Clean(h.Name))
	}
	if slices.Contains(names, host) {
		return nil
	}
	text := fmt.Sprintf("the queue knows no host %q", backend.Clean(host))
	if near := config.Nearest(host, names); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	if len(names) == 0 {
		return errors.New(text + "; it learns of hosts when VMs are submitted or the engine starts")
	}
	return fmt.Errorf("%s (hosts: %s)", text, strings.Join(names, " "))
}

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"berth/backend"
)

// hostKeeper is a queue whose hosts a person may speak for.
type hostKeeper interface {
	// Fenced is a person's word that a lost host is off.
	Fenced(ctx context.Context, host string) error
	// RemoveHost takes a host out of the queue.
	RemoveHost(ctx context.Context, host string) error
}

func (a *app) fencedCommand() *cobra.Command {
	return a.keeperCommand(keeperSpec{
		name: "fenced", short: "Say that a lost host is off, so that its jobs may start elsewhere",
		long: "Say that a host which does not answer is off: its power is cut, you have looked.\n" +
			"Its jobs are then queued again at the front. If its VMs still run they would run\n" +
			"twice and destroy their disks, so it asks, and without a terminal it needs --yes.\n" +
			"A queue.fence command in the config does this without a person.",
		question: "Is the power of %s off for sure?\nIf its VMs still run, they would run twice, which destroys their disks.",
		done:     "its jobs are queued again", do: hostKeeper.Fenced,
	})
}

func (a *app) forgetCommand() *cobra.Command {
	return a.keeperCommand(keeperSpec{
		name: "forget", short: "Take a host out of the queue",
		long: "Take a host out of the queue. It is refused while a job runs there or is bound to\n" +
			"it. A host of the config is back when the engine starts again.",
		done: "forgotten", do: hostKeeper.RemoveHost,
	})
}

// keeperSpec is a command about a host of the queue.
type keeperSpec struct {
	name, short, long string
	question          string // with the host's name; empty: nothing is asked
	done              string
	do                func(hostKeeper, context.Context, string) error
}

func (a *app) keeperCommand(s keeperSpec) *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use:   s.name + " HOST",
		Short: s.short,
		Long:  s.long,
		Args: withUsage(func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%s which host? Give one HOST", s.name)
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runKeeper(cmd, s, args[0], yes) },
	}
	if s.question != "" {
		cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	}
	cmd.ValidArgsFunction = a.completeQueueHosts()
	return cmd
}

func (a *app) runKeeper(cmd *cobra.Command, s keeperSpec, host string, yes bool) error {
	return a.changeQueue(cmd, nil, func(q backend.Queue, st *backend.QueueState) error {
		ctx := cmd.Context()
		if err := knownHost(st, host); err != nil {
			return err
		}
		keeper, ok := q.(hostKeeper)
		if !ok {
			return &backend.OpError{Op: s.name, Target: host, Err: backend.ErrUnsupported}
		}
		if err := a.askKeeper(ctx, s, host, yes); err != nil {
			return err
		}
		err := s.do(keeper, ctx, host)
		if err != nil && !errors.Is(err, backend.ErrEngine) {
			return err
		}
		_, werr := fmt.Fprintf(a.Stdout, "%s: %s\n", backend.Clean(host), s.done)
		return errors.Join(err, werr)
	})
}

func (a *app) askKeeper(ctx context.Context, s keeperSpec, host string, yes bool) error {
	if s.question == "" {
		return nil
	}
	return a.mayLose(ctx, yes, s.name, fmt.Sprintf(s.question, backend.Clean(host)))
}

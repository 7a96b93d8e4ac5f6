package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/queue"
	"berth/model"
	"berth/model/config"
)

// policyFlags are those of berth queue policy.
type policyFlags struct {
	changeFlags
	order, backfill, placement string
	preempt, nplus1            bool
}

func (a *app) policyCommand() *cobra.Command {
	var f policyFlags
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Show the queue's policy, or set it",
		Long: "Show the queue's policy, or set those parts of it that are named.\n\n" +
			"  order      which job is next: " + listed(queue.Orders()) + "\n" +
			"  backfill   which jobs may overtake: " + listed(queue.Backfills()) + "\n" +
			"  placement  which of the hosts with room: " + listed(queue.Placements()) + "\n" +
			"  preempt    much more important jobs put preemptible ones aside\n" +
			"  nplus1     keep room for the VMs of any one host that fails\n\n" +
			"The first word of each is the default. --what-if shows the order and the starts\n" +
			"that would follow, and sets nothing; on a terminal they are shown anyway, and\n" +
			"asked about, unless --yes. What is set here stays, over the config's queue.*.",
		Example: "  berth queue policy --order sjf --what-if\n  berth queue policy --order sjf --yes",
		Args:    withUsage(noArguments("write --order, --backfill or --placement before the word")),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runPolicy(cmd, &f) },
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.order, "order", "", "which job is next: `WORD`")
	fl.StringVar(&f.backfill, "backfill", "", "which jobs may overtake: `WORD`")
	fl.StringVar(&f.placement, "placement", "", "which of the hosts with room: `WORD`")
	fl.BoolVar(&f.preempt, "preempt", false, "put preemptible VMs aside; --preempt=false: never")
	fl.BoolVar(&f.nplus1, "nplus1", false, "keep room for one host's VMs; --nplus1=false: do not")
	fl.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	f.add(cmd)
	completeFlag(cmd, "order", fixed(texts(queue.Orders())...))
	completeFlag(cmd, "backfill", fixed(texts(queue.Backfills())...))
	completeFlag(cmd, "placement", fixed(texts(queue.Placements())...))
	cmd.ValidArgsFunction = fixed()
	return cmd
}

// PolicyWords are the words that a policy may be made of, the defaults first.
func PolicyWords() model.QueueWords {
	return model.QueueWords{Orders: texts(queue.Orders()), Backfills: texts(queue.Backfills()), Placements: texts(queue.Placements())}
}

func listed[T ~string](words []T) string { return strings.Join(texts(words), " ") }

func (a *app) runPolicy(cmd *cobra.Command, f *policyFlags) error {
	if err := a.load(cmd); err != nil {
		return err
	}
	if err := errors.Join(checkFormat(f.output, "text", "json"), f.checkWords()); err != nil {
		return err
	}
	return a.withQueue(cmd, func(q backend.Queue) error {
		ctx := cmd.Context()
		st, err := q.State(ctx)
		if err != nil {
			return err
		}
		wanted, changes := f.wanted(cmd, st.Policy)
		if changes && !f.whatIf {
			if err := a.setPolicy(ctx, q, f, &st, wanted); err != nil {
				return err
			}
			st.Policy = wanted
		} else if f.whatIf {
			return a.whatIf(ctx, q, f.output, &st, backend.Hypothesis{Policy: &wanted})
		}
		return a.printPolicy(f.output, st.Policy)
	})
}

// checkWords refuses words that no policy knows, with the one probably meant.
func (f *policyFlags) checkWords() error {
	var errs []error
	for _, w := range []struct {
		flag, word string
		known      []string
	}{
		{"order", f.order, texts(queue.Orders())},
		{"backfill", f.backfill, texts(queue.Backfills())},
		{"placement", f.placement, texts(queue.Placements())},
	} {
		if err := checkWord(w.flag, w.word, w.known); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func checkWord(flag, word string, known []string) error {
	if word == "" {
		return nil
	}
	for _, k := range known {
		if k == word {
			return nil
		}
	}
	text := fmt.Sprintf("--%s: there is no %s %q", flag, flag, backend.Clean(word))
	if near := config.Nearest(word, known); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return usagef("", "%s (there are: %s)", text, strings.Join(known, " "))
}

// wanted is the policy in force with the flags that were given.
func (f *policyFlags) wanted(cmd *cobra.Command, now backend.QueuePolicy) (wanted backend.QueuePolicy, changes bool) {
	wanted = now
	wanted.Order = cmp.Or(f.order, now.Order)
	wanted.Backfill = cmp.Or(f.backfill, now.Backfill)
	wanted.Placement = cmp.Or(f.placement, now.Placement)
	if cmd.Flags().Changed("preempt") {
		wanted.Preempt = f.preempt
	}
	if cmd.Flags().Changed("nplus1") {
		wanted.NPlus1 = f.nplus1
	}
	return wanted, wanted != now
}

// setPolicy sets it; on a terminal it first shows what would follow and asks.
func (a *app) setPolicy(ctx context.Context, q backend.Queue, f *policyFlags, st *backend.QueueState, wanted backend.QueuePolicy) error {
	if err := a.mayChange(); err != nil {
		return err
	}
	if !f.yes && isTerminal(a.Stdin) {
		if err := a.whatIf(ctx, q, "text", st, backend.Hypothesis{Policy: &wanted}); err != nil {
			return err
		}
		if err := a.confirm(ctx, fmt.Sprintf("Set the queue's policy to %s?", policyText(wanted))); err != nil {
			return err
		}
	}
	return q.SetPolicy(ctx, wanted)
}

func policyText(p backend.QueuePolicy) string {
	text := fmt.Sprintf("order %s, backfill %s, placement %s", p.Order, p.Backfill, p.Placement)
	if p.Preempt {
		text += ", preempt"
	}
	if p.NPlus1 {
		text += ", nplus1"
	}
	return backend.Clean(text)
}

func (a *app) printPolicy(format string, p backend.QueuePolicy) error {
	if format == "json" {
		return encodeJSON(a.Stdout, p)
	}
	_, err := fmt.Fprintf(a.Stdout, "order      %s\nbackfill   %s\nplacement  %s\npreempt    %t\nnplus1     %t\n",
		backend.Clean(p.Order), backend.Clean(p.Backfill), backend.Clean(p.Placement), p.Preempt, p.NPlus1)
	return err
}

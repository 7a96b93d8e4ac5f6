package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"berth/backend"
	"berth/model"
)

// needYes refuses a verb that can lose data when nobody can be asked.
func (a *app) needYes(verb backend.Verb, yes bool) error {
	if verb.Info().Risk < backend.RiskLoss || yes || isTerminal(a.Stdin) {
		return nil
	}
	return usagef("", "%s can lose data and there is no terminal to ask on; add --yes if you mean it", verb)
}

// ask puts the one question for all VMs. Anything but y or yes is No.
func (j *verbJob) ask(ctx context.Context, rows []*model.Row) error {
	info := j.verb.Info()
	if info.Risk < backend.RiskLoss || j.flags.yes {
		return nil
	}
	what := j.names(rows)
	if len(rows) > 1 {
		what = fmt.Sprintf("%d VMs: %s", len(rows), what)
	}
	return j.confirm(ctx, fmt.Sprintf("%s %s?\n%s", info.Label, what, info.Warn))
}

// confirm puts a question. Anything but y or yes is No, which is an error.
func (a *app) confirm(ctx context.Context, question string) error {
	fmt.Fprintf(a.Stderr, "%s [y/N] ", question)
	answer, err := readLine(ctx, a.Stdin)
	if err != nil {
		fmt.Fprintln(a.Stderr)
		return fmt.Errorf("no answer, so nothing was done: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was done")
}

// readLine reads one line and gives up when ctx ends; the read itself cannot
// be interrupted and is left to the end of the process.
func readLine(ctx context.Context, r io.Reader) (string, error) {
	type answer struct {
		line string
		err  error
	}
	ch := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(r).ReadString('\n')
		ch <- answer{line, err}
	}()
	select {
	case a := <-ch:
		return a.line, a.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

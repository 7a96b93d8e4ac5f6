package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"berth/backend/queue"
	"berth/themes"
)

// contender is a trial in a comparison.
type contender struct {
	trial
	mark  string // the letter it has in table and plot; a capital on the front
	front bool   // no other one has both the shorter mean wait and the lower mean slowdown
	own   bool   // berth's default
}

// comparePolicies plays all policies and shows them beside one another, the
// lowest mean slowdown first.
func (a *app) comparePolicies(ctx context.Context, f *simulateFlags, b *bench) error {
	list := contenders(f, len(b.hosts) > 1)
	if err := a.playAll(ctx, list, b); err != nil {
		return err
	}
	rank(list)
	if f.output == "json" {
		out := make([]trialRecord, len(list))
		for i := range list {
			out[i] = newTrialRecord(&list[i].trial, b)
		}
		return encodeJSON(a.Stdout, out)
	}
	return a.printComparison(list, b)
}

// contenders are every order with every backfill, and with several hosts
// every placement under the default order and backfill, as far as the words
// on the command line leave a choice.
func contenders(f *simulateFlags, hosts bool) []contender {
	var list []contender
	add := func(p queue.Policy) {
		p = f.resolved(p)
		if !slices.ContainsFunc(list, func(c contender) bool { return samePolicy(c.policy, p) }) {
			list = append(list, contender{trial: trial{policy: p}, own: samePolicy(p, queue.Default())})
		}
	}
	for _, o := range queue.Orders() {
		for _, b := range queue.Backfills() {
			add(overridden(f, queue.Policy{Order: o, Backfill: b}))
		}
	}
	if hosts {
		for _, p := range queue.Placements() {
			add(overridden(f, queue.Policy{Placement: p}))
		}
	}
	return list
}

func samePolicy(p, q queue.Policy) bool { return p.Words() == q.Words() && p.Firm == q.Firm }

// overridden is p with the words of the command line.
func overridden(f *simulateFlags, p queue.Policy) queue.Policy {
	p.Order = cmp.Or(queue.Order(f.policy), p.Order)
	p.Backfill = cmp.Or(queue.Backfill(f.backfill), p.Backfill)
	p.Placement = cmp.Or(queue.Placement(f.placement), p.Placement)
	return p
}

// playAll plays the policies on all cores, and tells a terminal how far it is.
func (a *app) playAll(ctx context.Context, list []contender, b *bench) error {
	var done atomic.Int64
	tell := func(text string) {
		if isTerminal(a.Stderr) {
			fmt.Fprintf(a.Stderr, "\r\x1b[K%s", text) // progress: nothing is lost with it
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range list {
		g.Go(func() error {
			c := &list[i]
			err := c.play(ctx, b)
			c.rows = nil // only the figures are compared
			tell(fmt.Sprintf("%d of %d policies", done.Add(1), len(list)))
			return err
		})
	}
	err := g.Wait()
	tell("")
	return err
}

// rank puts the lowest mean slowdown first and gives each its letter.
func rank(list []contender) {
	slices.SortStableFunc(list, func(x, y contender) int {
		return cmp.Or(cmp.Compare(x.MeanBSLD, y.MeanBSLD), cmp.Compare(x.MeanWait, y.MeanWait))
	})
	for i := range list {
		c := &list[i]
		c.front = !slices.ContainsFunc(list, func(o contender) bool {
			return o.MeanWait <= c.MeanWait && o.MeanBSLD <= c.MeanBSLD && (o.MeanWait < c.MeanWait || o.MeanBSLD < c.MeanBSLD)
		})
		letter := 'a' + rune(i%26)
		if c.front {
			letter += 'A' - 'a'
		}
		c.mark = string(letter)
	}
}

var contenderColumns = []cellColumn[contender]{
	{" ", 0, false, func(c *contender, _ time.Time) string {
		if c.own {
			return c.mark + "*"
		}
		return c.mark
	}},
	{"POLICY", 0, false, func(c *contender, _ time.Time) string { return string(c.policy.Order) }},
	{"BACKFILL", 0, false, func(c *contender, _ time.Time) string { return string(c.policy.Backfill) }},
	{"PLACED", 1, false, func(c *contender, _ time.Time) string { return string(c.policy.Placement) }},
	{"WAIT", 0, true, func(c *contender, _ time.Time) string { return seconds(c.MeanWait) }},
	{"P95", 2, true, func(c *contender, _ time.Time) string { return seconds(c.P95Wait) }},
	{"LONGEST", 1, true, func(c *contender, _ time.Time) string { return seconds(c.MaxWait) }},
	{"FLOW", 4, true, func(c *contender, _ time.Time) string { return seconds(c.MeanFlow) }},
	{"BSLD", 0, true, func(c *contender, _ time.Time) string { return decimals(c.MeanBSLD, 2) }},
	{"WORST", 3, true, func(c *contender, _ time.Time) string { return decimals(c.MaxBSLD, 0) }},
	{"CPU", 2, true, func(c *contender, _ time.Time) string { return percent(c.UtilizationVCPU) }},
	{"MEM", 4, true, func(c *contender, _ time.Time) string { return percent(c.UtilizationMemory) }},
}

func (a *app) printComparison(list []contender, b *bench) error {
	first := &list[0].trial
	fmt.Fprintf(a.Stdout, "%d jobs on %s", first.Jobs, b.machine)
	if first.NeverFit > 0 {
		fmt.Fprintf(a.Stdout, "\n%d never fit: %s", first.NeverFit, someNames(first.NeverFits))
	}
	fmt.Fprint(a.Stdout, "\n\n")
	columns := contenderColumns
	if len(b.hosts) == 1 { // wherever else?
		columns = slices.DeleteFunc(slices.Clone(columns), func(c cellColumn[contender]) bool { return c.title == "PLACED" || c.title == "MEM" })
	}
	if err := printCells(a, a.Stdout, columns, list, time.Time{}); err != nil {
		return err
	}
	p := plot{width: a.plotWidth(), glyphs: themes.GlyphsFor(a.consoleEnv())}
	if err := a.plotLooks(&p); err != nil {
		return err
	}
	_, err := io.WriteString(a.Stdout, "\n"+p.draw(list)+
		"\nCapitals: none has both a shorter mean wait and a lower mean bsld. *: default\n")
	return err
}

// The bounds of a plot's width: the one where standard output is no terminal,
// and the one beyond which it only grows thin.
const (
	usualPlot = 80
	widePlot  = 120
)

func (a *app) plotWidth() int {
	if w := a.width(); w > 0 {
		return min(w, widePlot)
	}
	return usualPlot
}

// plotLooks chooses the colours: the 16 that the terminal's user chooses, for
// it is his background that they stand on.
func (a *app) plotLooks(p *plot) error {
	terminal := isTerminal(a.Stdout)
	profile, err := themes.ParseProfile(a.config.Color, a.Env, terminal)
	if err != nil || profile == themes.NoColor && !terminal { // in a file not even bold
		return err
	}
	for _, look := range []struct {
		to   *themes.Style
		spec string
	}{{&p.axis, "bright-black"}, {&p.front, "bold green"}, {&p.own, "bold yellow"}} {
		if *look.to, err = themes.ParseStyle(look.spec, profile); err != nil {
			return err
		}
	}
	return nil
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/image/repo"
	"berth/model"
)

// forgetFlags are those of berth backup forget.
type forgetFlags struct {
	repoFlags
	keepFlags
	prune  bool
	grace  spanValue
	dryRun bool
	yes    bool
	output string
}

func (a *app) backupForgetCommand() *cobra.Command {
	f := forgetFlags{grace: spanValue(defaultGrace)}
	cmd := &cobra.Command{
		Use:   "forget [VM...|POINT...]",
		Short: "Forget points by rules, or one by one",
		Long: "Forget points: by rules, of all VMs or of those named, or those named themselves.\n" +
			"With neither, the config's backup.keep are the rules. What they took is freed by\n" +
			"berth backup prune, or with --prune.\n\n" + keepHelp + "\n\n" +
			"It asks first; without a terminal it needs --yes.\n\n" + pointHelp +
			"\nHere a VM's latest has to be said: web1@latest.\n\n" + repoHelp + "\n\n" +
			"JSON is one object: dry_run, and the lists kept and forgotten of points, each with\n" +
			"point name at and why, the rules that keep it; with --prune, prune as berth backup\n" +
			"prune has it.",
		Example: "  berth backup forget --keep-daily 7 --keep-weekly 4 --keep-tag gold --dry-run\n" +
			"  berth backup forget web1 --keep-last 3 --prune\n" +
			"  berth backup forget 3fa21b0c9d12",
		RunE: func(cmd *cobra.Command, args []string) error { return a.runBackupForget(cmd, &f, args) },
	}
	f.repoFlags.add(cmd)
	f.keepFlags.add(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&f.prune, "prune", false, "then free what nothing needs any more")
	fl.Var(&f.grace, "grace", "with --prune: what nothing needs stays for `TIME`; 0: not at all")
	fl.BoolVar(&f.dryRun, "dry-run", false, "only tell what would be kept and forgotten")
	fl.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	fl.StringVarP(&f.output, "output", "o", "table", "`FORMAT`: table or json")
	completeFlag(cmd, "output", fixed("table", "json"))
	completeFlag(cmd, "grace", fixed("0", "1h", "1d"))
	cmd.ValidArgsFunction = a.completePoints(0)
	return cmd
}

func (a *app) runBackupForget(cmd *cobra.Command, f *forgetFlags, args []string) error {
	if err := a.load(cmd); err != nil {
		return err
	}
	rules := f.rules
	if rules.IsZero() && len(args) == 0 {
		if rules = a.config.Backup.Keep; rules.IsZero() {
			return usagef("", "forget what? Give rules, as --keep-daily 7, or POINTs, or set the config's backup.keep")
		}
	}
	wrong := checkFormat(f.output, "table", "json")
	do := func(ctx context.Context, r *openRepo) error { return a.forget(ctx, r, f, rules, args) }
	if f.dryRun {
		if wrong != nil {
			return wrong
		}
		return a.withRepo(cmd, &f.repoFlags, do)
	}
	return a.changeRepo(cmd, &f.repoFlags, wrong, do)
}

func (a *app) forget(ctx context.Context, r *openRepo, f *forgetFlags, rules backend.Retention, args []string) error {
	now := time.Now()
	plan, err := a.planForget(ctx, r, rules, args, now)
	if err != nil {
		return err
	}
	var ids []string
	for i := range plan {
		if !plan[i].Keep() {
			ids = append(ids, plan[i].Point.ID)
		}
	}
	if f.output == "table" {
		if err := printCells(a, a.Stdout, retainedColumns, plan, now); err != nil {
			return err
		}
	}
	if !f.dryRun && len(ids) > 0 {
		if err := a.askForget(ctx, f, len(ids), len(plan)-len(ids)); err != nil {
			return err
		}
		if err := r.Forget(ctx, ids...); err != nil {
			return err
		}
	}
	var pruned *repo.PruneReport
	if f.prune {
		o := repo.PruneOptions{DryRun: f.dryRun, Grace: time.Duration(f.grace)}
		if f.dryRun {
			o.Without = ids
		}
		report, err := a.prune(ctx, r, o)
		if err != nil {
			return err
		}
		pruned = &report
	}
	if !f.dryRun {
		a.refreshCatalogue(ctx, r)
	}
	if f.output == "json" {
		return encodeJSON(a.Stdout, newForgetRecord(plan, f.dryRun, pruned))
	}
	return a.tellForgotten(f, plan, len(ids), pruned)
}

// planForget says which points are kept, and why: by rules, of all VMs or of
// some; or all but those that are named.
func (a *app) planForget(ctx context.Context, r *openRepo, rules backend.Retention, args []string, now time.Time) ([]repo.Retained, error) {
	ms, err := a.manifests(ctx, r)
	if err != nil {
		return nil, err
	}
	points := make([]backend.Point, len(ms))
	for i := range ms {
		points[i] = pointOf(&ms[i], r.url, repo.Mark{})
	}
	if rules.IsZero() {
		found, err := findExactPoints(points, args, now)
		if err != nil {
			return nil, err
		}
		var out []repo.Retained
		for i := range points {
			if slices.Contains(found, &points[i]) {
				out = append(out, repo.Retained{Point: ms[i]})
			}
		}
		return out, nil
	}
	of, err := vmsOf(points, args)
	if err != nil {
		return nil, err
	}
	if len(args) > 0 {
		ms = slices.DeleteFunc(slices.Clone(ms), func(m repo.Manifest) bool { return !slices.Contains(of, m.VM) })
	}
	return repo.Retain(ms, rules, now), nil
}

// findExactPoints is findPoints without VMs alone, whose latest point nobody
// means to lose by a forgotten rule.
func findExactPoints(points []backend.Point, args []string, now time.Time) ([]*backend.Point, error) {
	for _, arg := range args {
		if _, _, timed := cutTime(arg); timed {
			continue
		}
		if of, err := pointsOf(points, arg); err != nil || len(of) > 0 {
			return nil, usagef("", "%s is a VM: say which rules keep its points, as --keep-last 3, or which point is meant, as %s@latest", backend.Clean(arg), backend.Clean(arg))
		}
	}
	return findPoints(points, args, now)
}

// vmsOf are the VMs that arguments name.
func vmsOf(points []backend.Point, args []string) ([]backend.UUID, error) {
	var out []backend.UUID
	var errs []error
	for _, arg := range args {
		of, err := pointsOf(points, arg)
		if err == nil && len(of) == 0 {
			err = fmt.Errorf("%s: %w: rules are for VMs, and the repository has none of that name", backend.Clean(arg), errNoPoint)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, of[0].VM)
	}
	return out, errors.Join(errs...)
}

func (a *app) askForget(ctx context.Context, f *forgetFlags, gone, kept int) error {
	return a.mayLose(ctx, f.yes, "forget", fmt.Sprintf("Forget %s, and keep %d?\nWhat is forgotten cannot be restored any more.", plural(gone, "point", "points"), kept))
}

var retainedColumns = []cellColumn[repo.Retained]{
	{"POINT", 0, false, func(r *repo.Retained, _ time.Time) string { return shortID(r.Point.ID) }},
	{"VM", 0, false, func(r *repo.Retained, _ time.Time) string { return backend.Clean(r.Point.Name) }},
	{"AT", 0, false, func(r *repo.Retained, _ time.Time) string {
		return r.Point.At.Local().Format("2006-01-02 15:04:05")
	}},
	{"NEW", 2, true, func(r *repo.Retained, _ time.Time) string { return model.Bytes(float64(r.Point.New)) }},
	{"TAGS", 3, false, func(r *repo.Retained, _ time.Time) string { return strings.Join(cleanAll(r.Point.Tags), " ") }},
	{"", 0, false, func(r *repo.Retained, _ time.Time) string {
		return map[bool]string{true: "keep", false: "forget"}[r.Keep()]
	}},
	{"WHY", 1, false, func(r *repo.Retained, _ time.Time) string { return backend.Clean(strings.Join(r.Why, ", ")) }},
}

func (a *app) tellForgotten(f *forgetFlags, plan []repo.Retained, gone int, pruned *repo.PruneReport) error {
	word := "forgotten"
	if f.dryRun {
		word = "would be forgotten"
	}
	if _, err := fmt.Fprintf(a.Stdout, "%s %s, %d kept\n", plural(gone, "point", "points"), word, len(plan)-gone); err != nil {
		return err
	}
	if pruned == nil {
		return nil
	}
	_, err := fmt.Fprintln(a.Stdout, pruneText(pruned))
	return err
}

// forgetRecord is what forget did, in JSON.
type forgetRecord struct {
	DryRun    bool             `json:"dry_run"`
	Kept      []retainedRecord `json:"kept"`
	Forgotten []retainedRecord `json:"forgotten"`
	Prune     *pruneRecord     `json:"prune"`
}

type retainedRecord struct {
	Point string   `json:"point"`
	Name  string   `json:"name"`
	UUID  string   `json:"uuid"`
	At    *string  `json:"at"`
	Why   []string `json:"why"`
}

func newForgetRecord(plan []repo.Retained, dryRun bool, pruned *repo.PruneReport) forgetRecord {
	rec := forgetRecord{DryRun: dryRun, Kept: []retainedRecord{}, Forgotten: []retainedRecord{}}
	for i := range plan {
		p := &plan[i].Point
		one := retainedRecord{p.ID, backend.Clean(p.Name), p.VM.String(), stamp(p.At), cleanAll(plan[i].Why)}
		if plan[i].Keep() {
			rec.Kept = append(rec.Kept, one)
		} else {
			rec.Forgotten = append(rec.Forgotten, one)
		}
	}
	if pruned != nil {
		p := newPruneRecord(pruned)
		rec.Prune = &p
	}
	return rec
}

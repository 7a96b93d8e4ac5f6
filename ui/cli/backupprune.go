package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/image/repo"
	"berth/model"
)

// defaultGrace is how long what nothing needs any more stays: a backup that
// was stopped for a while, with its lock run out, must find what it relies on.
const defaultGrace = 24 * time.Hour

// pruneFlags are those of berth backup prune.
type pruneFlags struct {
	repoFlags
	grace  spanValue
	dryRun bool
	output string
}

func (a *app) backupPruneCommand() *cobra.Command {
	f := pruneFlags{grace: spanValue(defaultGrace)}
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Free what no point needs any more",
		Long: "Free what no point needs any more. Files of which a part is needed are written\n" +
			"anew without the rest, many small ones become one. What is found to be needed by nothing stays for --grace, and\n" +
			"the first prune after that removes it: so a backup that stood still meanwhile loses\n" +
			"nothing. It has the repository for itself, and is refused while a backup is written.\n" +
			"However it ends, every point is whole.\n\n" + repoHelp + "\n\n" +
			"JSON is one object: dry_run points chunks needed_bytes packs stored_bytes rewritten\n" +
			"combined (of those) rewritten_bytes removed freed_bytes waiting waiting_bytes others\n" +
			"took_s.",
		Args: withUsage(noArguments("it is about the whole repository; berth backup forget takes POINTs")),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(f.output, "text", "json"); err != nil {
				return err
			}
			do := func(ctx context.Context, r *openRepo) error { return a.runPrune(ctx, r, &f) }
			if f.dryRun {
				return a.withRepo(cmd, &f.repoFlags, do)
			}
			return a.changeRepo(cmd, &f.repoFlags, nil, do)
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.Var(&f.grace, "grace", "what nothing needs stays for `TIME`; 0: not at all")
	fl.BoolVar(&f.dryRun, "dry-run", false, "only tell what would be done")
	textOrJSON(cmd, &f.output)
	completeFlag(cmd, "grace", fixed("0", "1h", "1d"))
	cmd.ValidArgsFunction = fixed()
	return cmd
}

func (a *app) runPrune(ctx context.Context, r *openRepo, f *pruneFlags) error {
	report, err := a.prune(ctx, r, repo.PruneOptions{DryRun: f.dryRun, Grace: time.Duration(f.grace)})
	if err != nil {
		return err
	}
	if !f.dryRun {
		a.refreshCatalogue(ctx, r)
	}
	if f.output == "json" {
		return encodeJSON(a.Stdout, newPruneRecord(&report))
	}
	_, err = fmt.Fprintln(a.Stdout, pruneText(&report))
	return err
}

func (a *app) prune(ctx context.Context, r *openRepo, o repo.PruneOptions) (repo.PruneReport, error) {
	m := a.meter("pruning")
	o.Progress = func(p repo.PruneProgress) { m.show(p.Done, p.Total, p.Doing) }
	report, err := r.Prune(ctx, o)
	m.end()
	return report, err
}

// pruneText reads "pruned: 12 of 40 packs removed, 1.2G freed, ...".
func pruneText(p *repo.PruneReport) string {
	text := "pruned: "
	if p.DryRun {
		text = "would be pruned: "
	}
	text += fmt.Sprintf("%d of %s removed, %s freed of %s", p.Removed, plural(p.Packs, "pack", "packs"), model.Bytes(float64(p.Freed)), model.Bytes(float64(p.Stored)))
	if p.Rewritten > 0 {
		text += fmt.Sprintf("; %s written anew (%s)", plural(p.Rewritten, "pack", "packs"), model.Bytes(float64(p.RewroteBytes)))
	}
	if p.Combined > 0 {
		text += fmt.Sprintf(", of which %d were small", p.Combined)
	}
	if len(p.Damaged) > 0 {
		text += fmt.Sprintf("; %s left as they are for damage (berth backup verify)", plural(len(p.Damaged), "pack", "packs"))
	}
	if p.Waiting > 0 {
		text += fmt.Sprintf("; %s in %s no longer needed, for a later prune (--grace 0 frees them now)", model.Bytes(float64(p.Waiting)), plural(p.Condemned, "pack", "packs"))
	}
	return text
}

// pruneRecord is what prune did, in JSON.
type pruneRecord struct {
	DryRun       bool     `json:"dry_run"`
	Points       int      `json:"points"`
	Chunks       int      `json:"chunks"`
	Needed       int64    `json:"needed_bytes"`
	Packs        int      `json:"packs"`
	Stored       int64    `json:"stored_bytes"`
	Rewritten    int      `json:"rewritten"`
	Combined     int      `json:"combined"`
	RewroteBytes int64    `json:"rewritten_bytes"`
	Removed      int      `json:"removed"`
	Freed        int64    `json:"freed_bytes"`
	Condemned    int      `json:"waiting"`
	Waiting      int64    `json:"waiting_bytes"`
	Others       int      `json:"others"`
	Took         *float64 `json:"took_s"`
}

func newPruneRecord(p *repo.PruneReport) pruneRecord {
	return pruneRecord{p.DryRun, p.Points, p.Chunks, p.Needed, p.Packs, p.Stored, p.Rewritten, p.Combined, p.RewroteBytes, p.Removed, p.Freed, p.Condemned, p.Waiting, p.Others, spanSeconds(p.Took)}
}

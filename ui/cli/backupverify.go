package cli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"berth/backend"
	"berth/backend/image/repo"
	"berth/model"
)

// damageHelp documents the report, for --help.
const damageHelp = `JSON is one object: repo at took_s packs points chunks read_bytes sample_percent
seed, the list verified of points, the list damages, each with kind (pack chunk
manifest index key config sums other) file offset length what rebuild (nothing is
lost) and touches (point name uuid at disk file offset length), and the list notes
(kind file size_bytes what).`

// verifyFlags are those of berth backup verify.
type verifyFlags struct {
	repoFlags
	sample percentValue
	seed   uint64
	limit  rateValue
	output string
}

func (a *app) backupVerifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify [POINT...]",
		Short: "Read back what was stored, and name all that is damaged",
		Long: "Read back what was stored: every chunk is decrypted, decompressed and hashed, of\n" +
			"the whole repository or of POINTs. What is damaged is named, with all that it\n" +
			"touches, and what it does not touch can still be restored. The exit code is 1 when\n" +
			"anything is damaged.\n\n" + pointHelp + "\n\n" + repoHelp + "\n\n" + damageHelp,
		Example: "  berth backup verify --repo /srv/backup\n" +
			"  berth backup verify web1 --sample 5%",
		RunE: func(cmd *cobra.Command, args []string) error { return a.runBackupVerify(cmd, &f, args) },
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.Var(&f.sample, "sample", "only `PERCENT` of the chunks, chosen at random, as 5%")
	fl.Uint64Var(&f.seed, "seed", 0, "choose the sample by `N`, so that it can be had again")
	fl.Var(&f.limit, "bwlimit", "read at most `RATE` a second, as 50M")
	textOrJSON(cmd, &f.output)
	completeFlag(cmd, "sample", fixed("1%", "5%", "20%"))
	completeFlag(cmd, "seed", fixed())
	completeFlag(cmd, "bwlimit", fixed("10M", "50M", "100M"))
	cmd.ValidArgsFunction = a.completePoints(0)
	return cmd
}

func (a *app) runBackupVerify(cmd *cobra.Command, f *verifyFlags, args []string) error {
	if err := checkFormat(f.output, "text", "json"); err != nil {
		return err
	}
	return a.withRepo(cmd, &f.repoFlags, func(ctx context.Context, r *openRepo) error {
		o := repo.VerifyOptions{Sample: float64(f.sample), Seed: f.seed, Limit: limiter(int64(f.limit))}
		if o.Sample > 0 && !cmd.Flags().Changed("seed") {
			o.Seed = rand.Uint64()
		}
		ids, err := a.pointIDs(ctx, r, args)
		if err != nil {
			return err
		}
		o.Points = ids
		m := a.meter("verifying")
		o.Progress = func(p repo.VerifyProgress) { m.show(p.Done, p.Total, damagedSoFar(p.Damages)) }
		report, err := r.Verify(ctx, o)
		m.end()
		if err != nil {
			return err
		}
		a.refreshCatalogue(ctx, r)
		return a.tellReport(f.output, &report, "verified")
	})
}

func damagedSoFar(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d damaged", n)
}

// limiter is nil for no limit.
func limiter(bytes int64) *rate.Limiter {
	if bytes <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytes), int(min(bytes, 1<<20)))
}

// pointIDs are the whole IDs of points that arguments name; none: nil.
func (a *app) pointIDs(ctx context.Context, r *openRepo, args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, nil
	}
	points, err := a.points(ctx, r)
	if err != nil {
		return nil, err
	}
	found, err := findPoints(points, args, time.Now())
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(found))
	for i, p := range found {
		ids[i] = p.ID
	}
	return ids, nil
}

func (a *app) backupCheckCommand() *cobra.Command {
	var f repoFlags
	var o repo.CheckOptions
	output := "text"
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look whether all that points need is there, and mend what can be mended",
		Long: "Look whether all that points need is there, without reading it back (berth backup\n" +
			"verify does), and find what nobody needs. --rebuild makes the index and the sums\n" +
			"anew where they are wrong: they are derived, so nothing is lost. --repair does that,\n" +
			"reads everything back, and writes packs anew without damage that no point suffers\n" +
			"from. What points need stays, damaged or not: the next backup of the VM, which reads\n" +
			"it again if the disk still has it, makes them whole. The exit code is 1 when anything\n" +
			"is damaged.\n\n" + repoHelp + "\n\n" + damageHelp,
		Args: withUsage(noArguments("it looks at the whole repository; berth backup verify takes POINTs")),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(output, "text", "json"); err != nil {
				return err
			}
			run := a.withRepo
			o.Grace = defaultGrace
			if o.Rebuild || o.Repair {
				run = func(cmd *cobra.Command, f *repoFlags, do func(context.Context, *openRepo) error) error {
					return a.changeRepo(cmd, f, nil, do)
				}
			}
			return run(cmd, &f, func(ctx context.Context, r *openRepo) error {
				m := a.meter("checking")
				o.Progress = func(p repo.VerifyProgress) { m.show(p.Done, p.Total, damagedSoFar(p.Damages)) }
				report, err := r.Check(ctx, o)
				m.end()
				if err != nil {
					return err
				}
				a.refreshCatalogue(ctx, r)
				return a.tellReport(output, &report, "checked")
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&o.Rebuild, "rebuild", false, "make anew what is derived and wrong")
	cmd.Flags().BoolVar(&o.Repair, "repair", false, "--rebuild, and read everything back and mend what can be")
	cmd.Flags().BoolVar(&o.Full, "full", false, "compare every file with its sum too")
	textOrJSON(cmd, &output)
	cmd.ValidArgsFunction = fixed()
	return cmd
}

// tellReport prints what was found; damage is an error.
func (a *app) tellReport(format string, r *repo.Report, word string) error {
	if format == "json" {
		if err := encodeJSON(a.Stdout, newReportRecord(r)); err != nil {
			return err
		}
	} else if err := a.printReport(r, word); err != nil {
		return err
	}
	if r.OK() {
		return nil
	}
	if format == "json" {
		return errReported
	}
	a.complain(&backend.OpError{Op: "find everything whole in", Target: "the repository", Hint: mending(r),
		Err: fmt.Errorf("%w: %s found; what they do not touch can still be restored", backend.ErrDamaged, plural(len(r.Damages), "damage", "damages"))})
	return errReported
}

// mending says what to do about damage.
func mending(r *repo.Report) string {
	lost := slices.ContainsFunc(r.Damages, func(d repo.Damage) bool { return len(d.Touches) > 0 })
	switch {
	case lost:
		return "back up those VMs again: what their disks still hold is stored anew, and older points are whole again; points that stay damaged can be forgotten"
	case slices.ContainsFunc(r.Damages, func(d repo.Damage) bool { return !d.Rebuild }):
		return "berth backup check --repair mends what can be"
	}
	return "berth backup check --rebuild"
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (a *app) printReport(r *repo.Report, word string) error {
	var errs []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintln(a.Stdout, backend.Clean(fmt.Sprintf(format, args...)))
		errs = append(errs, err)
	}
	for _, d := range r.Damages {
		text := "damaged: " + d.String()
		if d.Rebuild {
			text += "; nothing is lost: berth backup check --rebuild"
		}
		say("%s", text)
	}
	for _, n := range r.Notes {
		size := ""
		if n.Size > 0 {
			size = " (" + model.Bytes(float64(n.Size)) + ")"
		}
		say("note: %s %s: %s%s", n.Kind, n.File, n.What, size)
	}
	text := fmt.Sprintf("%s: %s, %s, %s", word, plural(r.Points, "point", "points"), plural(r.Packs, "pack", "packs"), plural(r.Chunks, "chunk", "chunks"))
	if r.Bytes > 0 {
		text += fmt.Sprintf("; %s read in %s (%s/s)", model.Bytes(float64(r.Bytes)), spent(r.Took), model.Rate(float64(r.Rate())))
	}
	if r.Sample > 0 && r.Sample < 100 {
		text += fmt.Sprintf("; a sample of %g%% with --seed %d", r.Sample, r.Seed)
	}
	if r.OK() {
		text += "; nothing is damaged"
	}
	say("%s", text)
	return errors.Join(errs...)
}

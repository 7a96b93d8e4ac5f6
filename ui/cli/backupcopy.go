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

// copyFlags are those of berth backup copy.
type copyFlags struct {
	repoFlags
	to     repoFlags
	limit  rateValue
	output string
}

func (a *app) backupCopyCommand() *cobra.Command {
	var f copyFlags
	cmd := &cobra.Command{
		Use:   "copy --to REPO [POINT...|VM...]",
		Short: "Copy points to another repository",
		Long: "Copy points to another repository: those named, all of the VMs named, or all. Each\n" +
			"chunk is read back, verified, and encrypted anew with the other's key; what is\n" +
			"there already is not copied. When it was interrupted, the same command goes on.\n\n" +
			"The other repository's secret is --to-passphrase-file or --to-identity-file, else\n" +
			"the same as this one's, else it is asked for.\n\n" + pointHelp +
			"\nHere a VM alone stands for all of its points.\n\n" + repoHelp + "\n\n" +
			"JSON is one object: the lists copied (IDs there) and skipped (were there already),\n" +
			"new_bytes and stored_bytes.",
		Example: "  berth backup copy --to /media/usb/backup web1\n" +
			"  berth backup copy --to sftp://backup@nas/srv/berth 3fa21b0c9d12",
		RunE: func(cmd *cobra.Command, args []string) error { return a.runBackupCopy(cmd, &f, args) },
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.to.repo, "to", "", "the other repository: a folder or sftp://[user@]host[:port]/path, as `REPO`")
	fl.StringVar(&f.to.passphraseFile, "to-passphrase-file", "", "its passphrase is the first line of `FILE`")
	fl.StringVar(&f.to.identityFile, "to-identity-file", "", "`FILE` with an age identity that opens it")
	fl.Var(&f.limit, "bwlimit", "read at most `RATE` a second, as 50M")
	textOrJSON(cmd, &f.output)
	completeFlag(cmd, "to", completeRepo)
	completeFlag(cmd, "bwlimit", fixed("10M", "50M", "100M"))
	cmd.ValidArgsFunction = a.completePoints(0)
	return cmd
}

func (a *app) runBackupCopy(cmd *cobra.Command, f *copyFlags, args []string) error {
	wrong := checkFormat(f.output, "text", "json")
	if f.to.repo == "" {
		wrong = errors.Join(wrong, usagef("", "copy where? Give --to REPO"))
	}
	return a.changeRepo(cmd, &f.repoFlags, wrong, func(ctx context.Context, r *openRepo) (err error) {
		to, err := a.openOther(ctx, f, r)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, to.Close()) }()
		return a.copyPoints(ctx, f, r, to, args)
	})
}

// openOther opens the repository to copy to.
func (a *app) openOther(ctx context.Context, f *copyFlags, r *openRepo) (*openRepo, error) {
	url, err := wholeRepo(f.to.repo, a.Env("HOME"))
	if err != nil {
		return nil, &usageError{err: err}
	}
	if url == r.url {
		return nil, usagef("", "--to %s is the repository itself", backend.Clean(url))
	}
	source := r.source
	if f.to.passphraseFile != "" || f.to.identityFile != "" {
		source = secretSource{}
		var perr, ierr error
		source.passphraseFile, perr = wholePath(f.to.passphraseFile, a.Env("HOME"))
		source.identityFile, ierr = wholePath(f.to.identityFile, a.Env("HOME"))
		if err := errors.Join(perr, ierr); err != nil {
			return nil, err
		}
		return a.openRepoAt(ctx, url, source)
	}
	to, err := a.openRepoAt(ctx, url, source)
	if errors.Is(err, backend.ErrSecret) && source.given() && isTerminal(a.Stdin) {
		return a.openRepoAt(ctx, url, secretSource{}) // it has one of its own
	}
	return to, err
}

func (a *app) copyPoints(ctx context.Context, f *copyFlags, r, to *openRepo, args []string) error {
	ids, err := a.pointsToCopy(ctx, r, args)
	if err != nil {
		return err
	}
	m := a.meter("copying")
	report, err := r.CopyTo(ctx, to.Repo, ids, repo.CopyOptions{Limit: limiter(int64(f.limit)), Progress: func(p repo.CopyProgress) {
		m.show(p.Done, p.Total, model.Bytes(float64(p.New))+" new")
	}})
	m.end()
	if err != nil {
		return err
	}
	a.refreshCatalogue(ctx, to)
	if f.output == "json" {
		return encodeJSON(a.Stdout, map[string]any{"copied": cleanAll(report.Copied), "skipped": cleanAll(report.Skipped), "new_bytes": report.New, "stored_bytes": report.Stored})
	}
	text := fmt.Sprintf("%s copied to %s: %s new, %s stored", plural(len(report.Copied), "point", "points"), to.url, model.Bytes(float64(report.New)), model.Bytes(float64(report.Stored)))
	if n := len(report.Skipped); n > 0 {
		text += fmt.Sprintf("; %d there already", n)
	}
	_, err = fmt.Fprintln(a.Stdout, backend.Clean(text))
	return err
}

// pointsToCopy are the IDs of points that arguments name, a VM's all; nil: all.
func (a *app) pointsToCopy(ctx context.Context, r *openRepo, args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, nil
	}
	points, err := a.points(ctx, r)
	if err != nil {
		return nil, err
	}
	var ids []string
	var errs []error
	for _, arg := range args {
		found, err := pointsMeant(points, arg, time.Now())
		errs = append(errs, err)
		for _, p := range found {
			if !slices.Contains(ids, p.ID) {
				ids = append(ids, p.ID)
			}
		}
	}
	return ids, errors.Join(errs...)
}

// pointsMeant is a POINT, or all points of a VM.
func pointsMeant(points []backend.Point, arg string, now time.Time) ([]*backend.Point, error) {
	if !strings.Contains(arg, "@") {
		if of, err := pointsOf(points, arg); err != nil || len(of) > 0 {
			return of, err
		}
	}
	p, err := findPoint(points, arg, now)
	if err != nil {
		return nil, err
	}
	return []*backend.Point{p}, nil
}

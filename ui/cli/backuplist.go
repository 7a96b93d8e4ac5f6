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
	"berth/model"
)

// listPointsFlags are those of berth backup list.
type listPointsFlags struct {
	repoFlags
	output string
	vms    []string
	tags   []string
	since  spanValue
	known  bool
}

var pointListFormats = []string{"table", "json", "point"}

func (a *app) backupListCommand() *cobra.Command {
	var f listPointsFlags
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the points in time that can be restored",
		Long: "List the points in time that can be restored, the latest first.\n\n" +
			"SIZE is what the guest sees of its disks, READ what was read for the point, NEW\n" +
			"what the repository did not have, STORED what that takes. VERIFIED is when it was\n" +
			"last read back whole and found right.\n\n" +
			"Where no repository is named, and with --known, those that berth has seen are\n" +
			"listed of all repositories, without opening any.\n\n" + repoHelp + "\n\n" + pointRecordHelp,
		Example: "  berth backup list --vm web1 --since 7d\n" +
			"  berth backup list -o json | jq -r '.[] | select(.verified_at == null) | .point'",
		Args: withUsage(noArguments("choose with --vm, or see one with berth backup show")),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runBackupList(cmd, &f) },
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringArrayVar(&f.vms, "vm", nil, "only points of `VM`; may be given several times")
	fl.StringArrayVar(&f.tags, "tag", nil, "only points with `TAG`")
	fl.Var(&f.since, "since", "only points of the last `TIME`")
	fl.BoolVar(&f.known, "known", false, "what is known of all repositories, without opening one")
	fl.StringVarP(&f.output, "output", "o", "table", "`FORMAT`: table, json or point, which is IDs alone")
	completeFlag(cmd, "output", fixed(pointListFormats...))
	completeFlag(cmd, "since", fixed("1d", "7d", "30d"))
	completeFlag(cmd, "vm", a.completePointVMs)
	cmd.ValidArgsFunction = fixed()
	return cmd
}

func (a *app) runBackupList(cmd *cobra.Command, f *listPointsFlags) error {
	if err := a.load(cmd); err != nil {
		return err
	}
	if err := checkFormat(f.output, pointListFormats...); err != nil {
		return err
	}
	points, err := a.pointsToList(cmd, f)
	if err != nil {
		return err
	}
	now := time.Now()
	points, err = f.chosen(points, now)
	if err != nil {
		return err
	}
	return a.printPoints(f.output, points, now)
}

// pointsToList are those of the repository, or those that are known.
func (a *app) pointsToList(cmd *cobra.Command, f *listPointsFlags) (points []backend.Point, err error) {
	url, err := a.chosenRepo(&f.repoFlags)
	if err != nil {
		return nil, &usageError{err: err}
	}
	if f.known || url == "" {
		return a.knownPoints(cmd)
	}
	err = a.withRepo(cmd, &f.repoFlags, func(ctx context.Context, r *openRepo) (err error) {
		points, err = a.points(ctx, r)
		return err
	})
	return points, err
}

// knownPoints are the catalogue's. Troubles of repositories are complained about.
func (a *app) knownPoints(cmd *cobra.Command) (points []backend.Point, err error) {
	err = a.withBackups(cmd, func(b backend.Backups) error {
		st, err := b.State(cmd.Context())
		if err != nil {
			return err
		}
		points = st.Points
		for i := range st.Repos {
			if r := &st.Repos[i]; r.Trouble != "" {
				a.complain(fmt.Errorf("%s: as of %s: %s", r.Ref.URL, clockText(r.ReadAt, time.Now()), r.Trouble))
			}
		}
		return nil
	})
	return points, err
}

// chosen are the points that the flags ask for.
func (f *listPointsFlags) chosen(points []backend.Point, now time.Time) ([]backend.Point, error) {
	var of []*backend.Point
	var errs []error
	for _, vm := range f.vms {
		found, err := pointsOf(points, vm)
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("%s: %w: the repository has none of it", backend.Clean(vm), errNoPoint)
		}
		errs, of = append(errs, err), append(of, found...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	out := []backend.Point{}
	for i := range points {
		p := &points[i]
		if len(f.vms) > 0 && !slices.Contains(of, p) || f.since > 0 && p.At.Before(now.Add(-time.Duration(f.since))) {
			continue
		}
		if len(f.tags) > 0 && !slices.ContainsFunc(f.tags, func(t string) bool { return slices.Contains(p.Tags, t) }) {
			continue
		}
		out = append(out, *p)
	}
	return out, nil
}

func (a *app) printPoints(format string, points []backend.Point, now time.Time) error {
	switch format {
	case "json":
		list := make([]pointRecord, len(points))
		for i := range points {
			list[i] = newPointRecord(&points[i])
		}
		return encodeJSON(a.Stdout, list)
	case "point":
		for i := range points {
			if _, err := fmt.Fprintln(a.Stdout, points[i].ID); err != nil {
				return err
			}
		}
		return nil
	}
	return printCells(a, a.Stdout, pointColumns, points, now)
}

// pointColumns are those of the catalogue.
var pointColumns = []cellColumn[backend.Point]{
	{"POINT", 0, false, func(p *backend.Point, _ time.Time) string { return shortID(p.ID) }},
	{"VM", 0, false, func(p *backend.Point, _ time.Time) string { return backend.Clean(p.Name) }},
	{"HOST", 7, false, func(p *backend.Point, _ time.Time) string { return backend.Clean(p.Host) }},
	{"AT", 0, false, func(p *backend.Point, _ time.Time) string { return p.At.Local().Format("2006-01-02 15:04:05") }},
	{"AGE", 3, true, func(p *backend.Point, now time.Time) string { return model.Duration(max(0, now.Sub(p.At))) }},
	{"KIND", 2, false, func(p *backend.Point, _ time.Time) string { return kindText(p) }},
	{"SIZE", 5, true, func(p *backend.Point, _ time.Time) string { return model.Bytes(float64(p.Size)) }},
	{"READ", 6, true, func(p *backend.Point, _ time.Time) string { return model.Bytes(float64(p.Read)) }},
	{"NEW", 4, true, func(p *backend.Point, _ time.Time) string { return model.Bytes(float64(p.New)) }},
	{"STORED", 4, true, func(p *backend.Point, _ time.Time) string { return model.Bytes(float64(p.Stored)) }},
	{"VERIFIED", 1, false, verifiedText},
	{"TAGS", 8, false, func(p *backend.Point, _ time.Time) string { return strings.Join(cleanAll(p.Tags), " ") }},
}

// shownID is how much of an ID lists show: enough to be one of a kind.
const shownID = 12

func shortID(id string) string { return id[:min(shownID, len(id))] }

func kindText(p *backend.Point) string {
	if p.Full {
		return "full"
	}
	return "incr"
}

func verifiedText(p *backend.Point, now time.Time) string {
	switch {
	case p.Damaged != "":
		return "DAMAGED"
	case p.Verified.IsZero():
		return ""
	}
	return clockText(p.Verified, now)
}

// pointLabel is how messages name a point: "web1@2026-01-31 22:00:05 (3fa21b…)".
func pointLabel(p *backend.Point) string {
	return fmt.Sprintf("%s@%s (%s)", backend.Clean(p.Name), p.At.Local().Format("2006-01-02 15:04:05"), shortID(p.ID))
}

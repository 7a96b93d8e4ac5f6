package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/image/repo"
	"berth/model"
)

// diffRecord is how one disk differs between two points, in JSON.
type diffRecord struct {
	Disk    string         `json:"disk"`
	State   string         `json:"state"` // "same", "changed", "added", "removed", "resized"
	Size    int64          `json:"size_bytes"`
	Changed int64          `json:"changed_bytes"`
	Count   int            `json:"extents"`
	Extents []extentRecord `json:"extent_list,omitempty"`
}

type extentRecord struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

func (a *app) backupDiffCommand() *cobra.Command {
	var f repoFlags
	extents := false
	output := "table"
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Tell what changed between two points, disk by disk",
		Long: "Tell what changed between two points, disk by disk, to the chunk (1 MiB). Only the\n" +
			"lists of chunks are compared, so it is quick however large the disks are.\n\n" + pointHelp + "\n\n" + repoHelp + "\n\n" +
			"JSON is a list of objects: disk state (same changed added removed resized)\n" +
			"size_bytes changed_bytes extents, and with --extents extent_list.",
		Args: withUsage(func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("diff takes two POINTs, and there are %d", len(args))
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(output, "table", "json"); err != nil {
				return err
			}
			return a.withRepo(cmd, &f, func(ctx context.Context, r *openRepo) error {
				return a.diffPoints(ctx, r, args, extents, output)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&extents, "extents", false, "each stretch that changed")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "`FORMAT`: table or json")
	completeFlag(cmd, "output", fixed("table", "json"))
	cmd.ValidArgsFunction = a.completePoints(2)
	return cmd
}

func (a *app) diffPoints(ctx context.Context, r *openRepo, args []string, extents bool, format string) error {
	points, err := a.points(ctx, r)
	if err != nil {
		return err
	}
	var ms [2]repo.Manifest
	var errs []error
	for i, arg := range args {
		p, err := findPoint(points, arg, time.Now())
		if err == nil {
			ms[i], err = r.Point(ctx, p.ID)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	list, err := diffDisks(ctx, r.Repo, &ms[0], &ms[1], extents)
	if err != nil {
		return err
	}
	if format == "json" {
		return encodeJSON(a.Stdout, list)
	}
	if err := printCells(a, a.Stdout, diffColumns, list, time.Now()); err != nil || !extents {
		return err
	}
	for _, d := range list {
		for _, e := range d.Extents {
			if _, err := fmt.Fprintf(a.Stdout, "%s %d+%d\n", d.Disk, e.Offset, e.Length); err != nil {
				return err
			}
		}
	}
	return nil
}

var diffColumns = []cellColumn[diffRecord]{
	{"DISK", 0, false, func(d *diffRecord, _ time.Time) string { return d.Disk }},
	{"ST", 0, false, func(d *diffRecord, _ time.Time) string { return d.State }},
	{"SIZE", 1, true, func(d *diffRecord, _ time.Time) string { return model.Bytes(float64(d.Size)) }},
	{"CHANGED", 0, true, func(d *diffRecord, _ time.Time) string { return model.Bytes(float64(d.Changed)) }},
	{"EXTENTS", 1, true, func(d *diffRecord, _ time.Time) string { return model.Count(float64(d.Count)) }},
}

// diffDisks compares the disks of two points, those of the second first.
func diffDisks(ctx context.Context, r *repo.Repo, a, b *repo.Manifest, extents bool) ([]diffRecord, error) {
	out := []diffRecord{}
	for i := range b.Disks {
		d := &b.Disks[i]
		before := diskOfPoint(a, d.Target)
		if before == nil {
			out = append(out, diffRecord{Disk: backend.Clean(d.Target), State: "added", Size: d.Size, Changed: d.Data})
			continue
		}
		changed, err := r.Diff(ctx, a, b, d.Target)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", backend.Clean(d.Target), err)
		}
		out = append(out, newDiffRecord(d, before, changed, extents))
	}
	for i := range a.Disks {
		if d := &a.Disks[i]; diskOfPoint(b, d.Target) == nil {
			out = append(out, diffRecord{Disk: backend.Clean(d.Target), State: "removed", Size: d.Size})
		}
	}
	return out, nil
}

func newDiffRecord(d, before *repo.Disk, changed []backend.Extent, extents bool) diffRecord {
	rec := diffRecord{Disk: backend.Clean(d.Target), State: "same", Size: d.Size, Count: len(changed)}
	for _, e := range changed {
		rec.Changed += e.Length
		if extents {
			rec.Extents = append(rec.Extents, extentRecord{e.Offset, e.Length})
		}
	}
	switch {
	case d.Size != before.Size:
		rec.State = "resized"
	case len(changed) > 0:
		rec.State = "changed"
	}
	return rec
}

func diskOfPoint(m *repo.Manifest, target string) *repo.Disk {
	for i := range m.Disks {
		if m.Disks[i].Target == target {
			return &m.Disks[i]
		}
	}
	return nil
}

package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/image"
	"berth/model"
)

// imageListFlags are those of berth image list.
type imageListFlags struct {
	output           string
	pool             string
	orphans, missing bool
	depth            int
}

var imageListFormats = []string{"table", "json", "yaml", "name"}

func (a *app) imageListCommand() *cobra.Command {
	var f imageListFlags
	cmd := &cobra.Command{
		Use:     "list [FOLDER...]",
		Aliases: []string{"ls"},
		Short:   "List images: what hosts' pools hold and their VMs name, or what is in folders",
		Long: "List the images of the chosen hosts: all that their pools hold, and all that their\n" +
			"VMs name, whether it is there or not. With FOLDERs, the image files in those of\n" +
			"this machine instead.\n\n" +
			"SIZE is what a guest sees, REAL what it takes. USED BY are VMs, with a * while\n" +
			"they run, and images that are overlays of it; orphan means that nothing uses it,\n" +
			"missing that something does and it is not there.\n\n" + imageRecordHelp,
		Example: "  berth image list --orphans -o name\n" +
			"  berth image list /srv/images -o json | jq '.[] | select(.in_use) | .path'",
		RunE: func(cmd *cobra.Command, args []string) error { return a.runImageList(cmd, &f, args) },
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVarP(&f.output, "output", "o", "table", "`FORMAT`: table, json, yaml or name, which is paths alone")
	fl.StringVar(&f.pool, "pool", "", "only those of `POOL`")
	fl.BoolVar(&f.orphans, "orphans", false, "only those that nothing uses")
	fl.BoolVar(&f.missing, "missing", false, "only those that are not there")
	fl.IntVar(&f.depth, "depth", 2, "look `N` folders down in FOLDERs")
	completeFlag(cmd, "output", fixed(imageListFormats...))
	completeFlag(cmd, "pool", a.completePools)
	completeFlag(cmd, "depth", fixed())
	return cmd
}

func (a *app) runImageList(cmd *cobra.Command, f *imageListFlags, args []string) error {
	if err := checkFormat(f.output, imageListFormats...); err != nil {
		return err
	}
	if len(args) > 0 {
		if f.pool != "" || f.orphans || f.missing {
			return usagef("", "--pool, --orphans and --missing are about hosts, not FOLDERs")
		}
		return a.listFolders(cmd, f, args)
	}
	return a.withHosts(cmd, func(fl *fleet) error {
		all, failed := fromStorage(cmd.Context(), a, fl, func(ctx context.Context, s backend.Storage) ([]backend.Image, error) { return s.Images(ctx) })
		all = slices.DeleteFunc(all, func(m backend.Image) bool {
			return f.pool != "" && m.Pool != f.pool || f.orphans && !m.Orphan() || f.missing && !m.Missing
		})
		slices.SortStableFunc(all, func(x, y backend.Image) int {
			return cmp.Or(strings.Compare(x.Host, y.Host), strings.Compare(x.Path, y.Path))
		})
		records := make([]imageRecord, len(all))
		for i := range all {
			records[i] = newImageRecord(&all[i])
		}
		if err := a.printImages(f.output, records, len(fl.hosts) > 1); err != nil {
			return err
		}
		return failedIf(failed)
	})
}

func (a *app) listFolders(cmd *cobra.Command, f *imageListFlags, dirs []string) error {
	if err := a.load(cmd); err != nil {
		return err
	}
	list, err := image.Walk(cmd.Context(), dirs, f.depth)
	if err != nil {
		return err
	}
	records := make([]imageRecord, len(list))
	for i := range list {
		records[i] = newFileRecord(&list[i])
	}
	return a.printImages(f.output, records, false)
}

func (a *app) printImages(format string, records []imageRecord, hosts bool) error {
	switch format {
	case "json":
		return encodeJSON(a.Stdout, records)
	case "yaml":
		return encodeYAML(a, records)
	case "name":
		for i := range records {
			if _, err := fmt.Fprintln(a.Stdout, records[i].Path); err != nil {
				return err
			}
		}
		return nil
	}
	columns := imageColumns
	if !hosts {
		columns = columns[1:]
	}
	return printCells(a, a.Stdout, columns, records, time.Now())
}

// encodeYAML prints the keys of JSON.
func encodeYAML(a *app, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	out, err := yaml.JSONToYAML(data)
	if err != nil {
		return err
	}
	_, err = a.Stdout.Write(out)
	return err
}

var imageColumns = []cellColumn[imageRecord]{
	{"HOST", 0, false, func(r *imageRecord, _ time.Time) string { return r.Host }},
	{"PATH", 0, false, func(r *imageRecord, _ time.Time) string { return r.Path }},
	{"POOL", 4, false, func(r *imageRecord, _ time.Time) string { return r.Pool }},
	{"FORMAT", 2, false, func(r *imageRecord, _ time.Time) string { return r.Format }},
	{"SIZE", 1, true, func(r *imageRecord, _ time.Time) string { return bytesOrNone(r.Virtual) }},
	{"REAL", 1, true, func(r *imageRecord, _ time.Time) string { return bytesOrNone(r.Real) }},
	{"AGE", 5, true, func(r *imageRecord, now time.Time) string { return r.age(now) }},
	{"USED BY", 1, false, func(r *imageRecord, _ time.Time) string { return r.users() }},
	{"BACKING", 6, false, func(r *imageRecord, _ time.Time) string { return strings.Join(r.Backing, " ") }},
	{"NOTE", 3, false, func(r *imageRecord, _ time.Time) string { return r.note() }},
}

func bytesOrNone(n *float64) string {
	if n == nil {
		return ""
	}
	return model.Bytes(*n)
}

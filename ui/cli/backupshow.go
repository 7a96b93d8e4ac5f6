package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/image/repo"
	"berth/model"
)

// fileRecord is one small file of a point in JSON.
type fileRecord struct {
	Kind string `json:"kind"`
	Path string `json:"path"`
	Size int64  `json:"size_bytes"`
}

// showPointRecord is a point in depth.
type showPointRecord struct {
	pointRecord
	Base       string       `json:"base"`
	Checkpoint string       `json:"checkpoint"`
	Files      []fileRecord `json:"files"`
}

func (a *app) backupShowCommand() *cobra.Command {
	var f repoFlags
	output := "text"
	cmd := &cobra.Command{
		Use:   "show POINT",
		Short: "Show one point in depth, or the VM's definition of that moment",
		Long: "Show one point in depth; with -o xml the VM's definition of that moment.\n\n" + pointHelp + "\n\n" + repoHelp + "\n\n" +
			"-o json prints one object. " + pointRecordHelp + "\n" +
			"  base checkpoint         what it was made from; libvirt's checkpoint that the\n" +
			"                          next one goes on from\n" +
			"  files                   list: kind path size_bytes",
		Args: withUsage(onePoint),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(output, "text", "json", "xml"); err != nil {
				return err
			}
			return a.withPoint(cmd, &f, args[0], func(ctx context.Context, r *openRepo, p *backend.Point, m *repo.Manifest) error {
				return a.showPoint(ctx, r, p, m, output)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "`FORMAT`: text, json or xml")
	completeFlag(cmd, "output", fixed("text", "json", "xml"))
	cmd.ValidArgsFunction = a.completePoints(1)
	return cmd
}

// onePoint wants exactly one POINT.
func onePoint(cmd *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return fmt.Errorf("%s what? Give one POINT; berth backup list shows what there is", cmd.Name())
	case 1:
		return nil
	}
	return fmt.Errorf("%s takes one POINT, and there are %d: %s", cmd.Name(), len(args), strings.Join(args, " "))
}

// withPoint runs do over one point of the repository that the flags choose.
func (a *app) withPoint(cmd *cobra.Command, f *repoFlags, arg string, do func(context.Context, *openRepo, *backend.Point, *repo.Manifest) error) error {
	return a.withRepo(cmd, f, func(ctx context.Context, r *openRepo) error {
		points, err := a.points(ctx, r)
		if err != nil {
			return err
		}
		p, err := findPoint(points, arg, time.Now())
		if err != nil {
			return err
		}
		m, err := r.Point(ctx, p.ID)
		if err != nil {
			return err
		}
		return do(ctx, r, p, &m)
	})
}

func (a *app) showPoint(ctx context.Context, r *openRepo, p *backend.Point, m *repo.Manifest, format string) error {
	switch format {
	case "xml":
		return a.showPointXML(ctx, r, p, m)
	case "json":
		rec := showPointRecord{pointRecord: newPointRecord(p), Base: m.Base, Checkpoint: backend.Clean(m.Checkpoint), Files: make([]fileRecord, len(m.Files))}
		for i, f := range m.Files {
			rec.Files[i] = fileRecord{backend.Clean(f.Kind), backend.Clean(f.Path), f.Size}
		}
		return encodeJSON(a.Stdout, rec)
	}
	return printPoint(a.Stdout, p, m, time.Now())
}

func (a *app) showPointXML(ctx context.Context, r *openRepo, p *backend.Point, m *repo.Manifest) error {
	for _, f := range m.Files {
		if f.Kind != "xml" {
			continue
		}
		text, err := r.ReadFile(ctx, m, f)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.Stdout, strings.TrimRight(backend.CleanLines(string(text)), "\n"))
		return err
	}
	return fmt.Errorf("%s: it holds no definition", pointLabel(p))
}

func printPoint(out io.Writer, p *backend.Point, m *repo.Manifest, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", key, backend.Clean(value))
		}
	}
	line("Point", p.ID)
	line("VM", p.Name+" ("+p.VM.String()+")")
	line("Host", p.Host)
	line("At", fmt.Sprintf("%s, %s ago", p.At.Local().Format("2006-01-02 15:04:05 -0700"), model.Duration(max(0, now.Sub(p.At)))))
	line("Took", spent(p.Took))
	line("State", pointStateText(p))
	line("Kind", kindLong(p))
	line("Base", m.Base)
	line("Checkpoint", m.Checkpoint)
	line("Tags", strings.Join(p.Tags, " "))
	line("By", p.Owner)
	line("Size", fmt.Sprintf("%s, of which %s is data", model.Bytes(float64(p.Size)), model.Bytes(float64(p.Data))))
	line("Read", model.Bytes(float64(p.Read)))
	line("New", fmt.Sprintf("%s, stored in %s", model.Bytes(float64(p.New)), model.Bytes(float64(p.Stored))))
	line("Verified", verifiedLong(p, now))
	fmt.Fprintln(w, "\ndisk\tformat\tsize\tdata\tread\tpath\twhy full")
	for _, d := range p.Disks {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", shown(d.Target), shown(d.Format), model.Bytes(float64(d.Size)), model.Bytes(float64(d.Data)), model.Bytes(float64(d.Read)), shown(d.Path), shown(d.Why))
	}
	if len(m.Files) > 0 {
		fmt.Fprintln(w, "\nfile\tsize\tpath")
	}
	for _, f := range m.Files {
		fmt.Fprintf(w, "%s\t%s\t%s\n", shown(f.Kind), model.Bytes(float64(f.Size)), shown(f.Path))
	}
	return w.Flush()
}

func pointStateText(p *backend.Point) string {
	switch {
	case !p.Running:
		return "off"
	case p.Quiesced:
		return "running, file systems frozen for the moment"
	}
	return "running, file systems not frozen: as after a power cut"
}

func kindLong(p *backend.Point) string {
	if !p.Full {
		return "incremental: what had not changed is taken from the point before"
	}
	if p.Why == "" {
		return "full"
	}
	return "full: " + p.Why
}

func verifiedLong(p *backend.Point, now time.Time) string {
	switch {
	case p.Damaged != "":
		return "DAMAGED: " + p.Damaged
	case p.Verified.IsZero():
		return "never; berth backup verify reads it back"
	}
	return fmt.Sprintf("%s, %s ago", p.Verified.Local().Format(time.DateTime), model.Duration(max(0, now.Sub(p.Verified))))
}

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
)

var showFormats = []string{"text", "json", "yaml", "xml"}

// showFlags are those of berth vm show.
type showFlags struct {
	output string
	stored bool
}

func (a *app) showCommand() *cobra.Command {
	var f showFlags
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show one VM in depth",
		Long: "Show one VM in depth. NAME is its name, its UUID, or either after its host, as\n" +
			"in hv1/web1.\n\n" +
			"JSON and YAML have the keys of berth vm list, and: description machine arch\n" +
			"cpu_model firmware emulator console_pty graphics differs, and the lists disks,\n" +
			"nics, snapshots_list and checkpoints.",
		Args: withUsage(oneName),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runShow(cmd, &f, args[0]) },
	}
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "`FORMAT`: text, json, yaml or xml")
	cmd.Flags().BoolVar(&f.stored, "stored", false, "with -o xml: the definition that the next start will use")
	a.completeShow(cmd)
	return cmd
}

func (a *app) runShow(cmd *cobra.Command, f *showFlags, name string) error {
	if err := a.load(cmd); err != nil {
		return err
	}
	if !slices.Contains(showFormats, f.output) {
		return usagef("", "-o %q: use text, json, yaml or xml", f.output)
	}
	return a.overFleet(cmd.Context(), func(fl *fleet) error {
		inv := takeInventory(cmd.Context(), fl, depthState)
		if err := interrupted(cmd.Context()); err != nil {
			return err
		}
		a.reportDown(inv)
		if inv.silent() {
			return errReported
		}
		row, err := inv.find(name)
		if err != nil {
			return err
		}
		host := inv.hosts[row.Host]
		if f.output == "xml" {
			return a.showXML(cmd.Context(), host, row, f.stored)
		}
		return a.showDetail(cmd.Context(), host, row, f.output)
	})
}

func (a *app) showXML(ctx context.Context, host backend.Host, row *model.Row, stored bool) error {
	ctx, cancel := context.WithTimeout(ctx, gatherDeadline)
	defer cancel()
	text, err := host.XML(ctx, row.UUID, stored)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.Stdout, strings.TrimRight(backend.CleanLines(text), "\n"))
	return err
}

// showDetail reads the VM once more with its rates, and its detail.
func (a *app) showDetail(ctx context.Context, host backend.Host, row *model.Row, format string) error {
	ctx, cancel := context.WithTimeout(ctx, gatherDeadline)
	defer cancel()
	rows, err := gatherHost(ctx, host, depthRates)
	if err != nil {
		return fmt.Errorf("%s: %w", host.Name(), err)
	}
	i := slices.IndexFunc(rows, func(r *model.Row) bool { return r.UUID == row.UUID })
	if i < 0 {
		return fmt.Errorf("%s: %w (any more)", backend.Clean(row.Name), backend.ErrNoDomain)
	}
	d, err := host.Detail(ctx, row.UUID)
	if err != nil {
		return err
	}
	a.noteBackups(ctx, rows[i:i+1])
	rec := newDetailRecord(rows[i], &d, time.Now())
	switch format {
	case "json":
		return encodeJSON(a.Stdout, rec)
	case "yaml":
		return printYAML(a.Stdout, rec)
	}
	return printDetail(a.Stdout, rows[i], &d, time.Now())
}

// printYAML goes by way of JSON, so that both have the same keys in the same
// order.
func printYAML(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	out, err := yaml.JSONToYAML(data)
	if err != nil {
		return errors.Join(errors.New("cannot write YAML; -o json has the same"), err)
	}
	_, err = w.Write(out)
	return err
}

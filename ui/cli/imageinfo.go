package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/image"
	"berth/model"
)

var imageInfoFormats = []string{"text", "json", "yaml"}

func (a *app) imageInfoCommand() *cobra.Command {
	output, format := "text", ""
	cmd := &cobra.Command{
		Use:   "info FILE...",
		Short: "Describe image files of this machine",
		Long: "Describe image files of this machine: format, sizes, backing chain, snapshots,\n" +
			"bitmaps, and whether QEMU has it open. Nothing is locked.\n\n" + imageRecordHelp,
		Args: someFiles("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(output, imageInfoFormats...); err != nil {
				return err
			}
			if err := a.load(cmd); err != nil {
				return err
			}
			return a.runImageInfo(cmd, output, format, args)
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVarP(&output, "output", "o", "text", "`FORMAT`: text, json or yaml")
	cmd.Flags().StringVar(&format, "format", "", "take it for `FORMAT` instead of looking: a guest can make its raw disk look like another")
	completeFlag(cmd, "output", fixed(imageInfoFormats...))
	completeFlag(cmd, "format", fixed("qcow2", "raw"))
	return cmd
}

func (a *app) runImageInfo(cmd *cobra.Command, output, format string, args []string) error {
	records, failed := []imageRecord{}, false
	for n, path := range args {
		i, err := image.Inspect(cmd.Context(), path, format)
		if err != nil {
			if ierr := interrupted(cmd.Context()); ierr != nil {
				return ierr
			}
			a.complain(err)
			failed = true
			continue
		}
		if output != "text" {
			records = append(records, newFileRecord(i))
			continue
		}
		if n > 0 {
			fmt.Fprintln(a.Stdout)
		}
		if err := a.printImageInfo(i); err != nil {
			return err
		}
	}
	var err error
	switch output {
	case "json":
		err = encodeJSON(a.Stdout, records)
	case "yaml":
		err = encodeYAML(a, records)
	}
	if err != nil {
		return err
	}
	return failedIf(failed)
}

func (a *app) printImageInfo(i *image.Info) error {
	format := i.Format
	if i.Compression != "" {
		format += ", " + i.Compression
	}
	lines := [][2]string{{"File", i.Path}, {"Format", format}, {"Size", model.Bytes(float64(i.Virtual))}, {"Real", model.Bytes(float64(i.Real))},
		{"Modified", i.Modified.Format(time.RFC3339)}}
	add := func(name, text string, on bool) {
		if on {
			lines = append(lines, [2]string{name, text})
		}
	}
	for n, b := range i.Backing {
		add(map[bool]string{true: "Backing"}[n == 0], b.Path+" ("+b.Format+")", true)
	}
	for n, s := range i.Snapshots {
		add(map[bool]string{true: "Snapshots"}[n == 0], s.Name+", "+s.At.Format(time.RFC3339), true)
	}
	for n, b := range i.Bitmaps {
		text := b.Name + ", " + model.Bytes(float64(b.Granularity)) + " grains"
		if b.InUse {
			text += ", not closed: of no use"
		}
		add(map[bool]string{true: "Bitmaps"}[n == 0], text, true)
	}
	add("In use", "QEMU has it open", i.InUse)
	add("Encrypted", "yes", i.Encrypted)
	add("Corrupt", "QEMU marked it so: qemu-img check tells more", i.Corrupt)
	add("Trouble", i.Trouble, i.Trouble != "")
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%-10s %s\n", l[0], backend.Clean(l[1]))
	}
	_, err := fmt.Fprint(a.Stdout, b.String())
	return err
}

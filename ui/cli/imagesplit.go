package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/image"
)

func (a *app) imageSplitCommand() *cobra.Command {
	var o image.SplitOptions
	size := sizeValue(1 << 30)
	cmd := &cobra.Command{
		Use:   "split FILE",
		Short: "Split an image in numbered parts with checksums",
		Long: "Split an image in parts FILE.001, FILE.002, ... with a manifest FILE.parts.json for\n" +
			"join, and FILE.sha256 for sha256sum -c. The parts put together by cat are the\n" +
			"image, too.",
		Example: "  berth image split web1.qcow2 --size 4G --dir /mnt/usb",
		Args:    fromTo("one FILE", 1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			wrong := error(nil)
			if size < 1<<20 {
				wrong = usagef("", "--size %d: parts have at least 1M", int64(size))
			}
			return a.changeImages(cmd, wrong, func(w *imageWork) error {
				if err := w.notWritten(cmd.Context(), args[0], o.Force); err != nil {
					return err
				}
				o.Size, o.Progress = int64(size), w.report()
				manifest, err := image.Split(cmd.Context(), args[0], o)
				w.note("", args[0]+" in parts of "+size.String(), err)
				if err != nil {
					return err
				}
				m, err := image.ReadManifest(manifest)
				if err != nil {
					return err
				}
				return w.say(manifest, "%d parts%s", len(m.Parts), verifiedWord(o.NoVerify))
			})
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.Var(&size, "size", "`SIZE` of each part but the last")
	fl.StringVar(&o.Dir, "dir", "", "put the parts in `FOLDER` instead of beside the image")
	fl.BoolVar(&o.Force, "force", false, "also when a VM writes to it")
	fl.BoolVar(&o.NoVerify, "no-verify", false, "do not read the parts back")
	completeFlag(cmd, "size", fixed("650M", "1G", "4G"))
	return cmd
}

func (a *app) imageJoinCommand() *cobra.Command {
	var o image.JoinOptions
	cmd := &cobra.Command{
		Use:   "join MANIFEST DST",
		Short: "Put the parts of an image together, having seen that each is right",
		Long: "Put the parts of an image together. MANIFEST is the .parts.json or any of the parts\n" +
			"beside it. Every part is checked before anything is written; those that are\n" +
			"missing, foreign or damaged are named.",
		Args: fromTo("MANIFEST and DST", 2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeImages(cmd, nil, func(w *imageWork) error {
				o.Progress = w.report()
				err := image.Join(cmd.Context(), image.ManifestOf(args[0]), args[1], o)
				w.note("", args[0]+" → "+args[1], err)
				if err != nil {
					return err
				}
				return w.say(args[1], "joined%s", verifiedWord(o.NoVerify))
			})
		},
	}
	cmd.Flags().BoolVar(&o.NoVerify, "no-verify", false, "do not read it back")
	return cmd
}

// checksumFlags are those of berth image checksum.
type checksumFlags struct {
	algorithm, output string
	force             bool
}

func (a *app) imageChecksumCommand() *cobra.Command {
	f := checksumFlags{algorithm: "sha256", output: "text"}
	cmd := &cobra.Command{
		Use:   "checksum FILE...",
		Short: "Print checksums as sha256sum and b3sum do, without reading holes",
		Long: "Print checksums as sha256sum and b3sum do, so that sha256sum -c can check them. Holes\n" +
			"are not read.\n\n" +
			"JSON is a list of objects: path algorithm sum.",
		Args: someFiles("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(f.output, "text", "json"); err != nil {
				return err
			}
			if !slices.Contains([]string{"sha256", "blake3"}, f.algorithm) {
				return usagef("", "--algorithm %q: use sha256 or blake3", f.algorithm)
			}
			if err := a.load(cmd); err != nil {
				return err
			}
			return a.runChecksum(cmd.Context(), &f, args)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVarP(&f.algorithm, "algorithm", "a", "sha256", "`NAME`: sha256 or blake3")
	fl.BoolVar(&f.force, "force", false, "also when a VM writes to it")
	textOrJSON(cmd, &f.output)
	completeFlag(cmd, "algorithm", fixed("sha256", "blake3"))
	return cmd
}

type checksumRecord struct {
	Path      string `json:"path"`
	Algorithm string `json:"algorithm"`
	Sum       string `json:"sum"`
}

func (a *app) runChecksum(ctx context.Context, f *checksumFlags, args []string) error {
	w := &imageWork{app: a}
	records, failed := []checksumRecord{}, false
	for _, path := range args {
		sums, err := image.Checksum(ctx, path, []string{f.algorithm}, f.force, w.report())
		w.endMeter()
		if err != nil {
			if ierr := interrupted(ctx); ierr != nil {
				return ierr
			}
			a.complain(err)
			failed = true
			continue
		}
		records = append(records, checksumRecord{backend.Clean(path), f.algorithm, sums[f.algorithm]})
		if f.output == "text" {
			// SumLine escapes what would break a line; nothing else may change, or
			// the file is not found again.
			if _, err := fmt.Fprintln(a.Stdout, image.SumLine(sums[f.algorithm], path)); err != nil {
				return err
			}
		}
	}
	if f.output == "json" {
		if err := encodeJSON(a.Stdout, records); err != nil {
			return err
		}
	}
	return failedIf(failed)
}

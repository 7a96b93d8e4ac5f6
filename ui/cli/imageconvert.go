package cli

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/image"
)

// imageConvertFlags are those of convert, compress and decompress.
type imageConvertFlags struct {
	from, to        string
	compress        bool
	force, noVerify bool
	level           int
}

func (f *imageConvertFlags) add(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&f.force, "force", false, "also when a VM writes to it")
	cmd.Flags().BoolVar(&f.noVerify, "no-verify", false, "do not compare the two afterwards")
}

func (a *app) imageConvertCommand() *cobra.Command {
	var f imageConvertFlags
	cmd := &cobra.Command{
		Use:   "convert SRC DST",
		Short: "Write an image in another format",
		Long: "Write what a guest sees of an image, its backing chain included, into a new image\n" +
			"of another format, and compare the two. Without --to the format is what the name\n" +
			"of DST says.",
		Example: "  berth image convert web1.raw web1.qcow2\n" +
			"  berth image convert overlay.qcow2 alone.qcow2 --compress",
		Args: fromTo("SRC and DST", 2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeImages(cmd, f.chooseFormat(args[1]), func(w *imageWork) error { return w.convert(cmd.Context(), &f, args[0], args[1]) })
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.to, "to", "", "`FORMAT` of DST: qcow2, raw, vmdk, vdi, vhdx, ...")
	cmd.Flags().StringVar(&f.from, "from", "", "take SRC for `FORMAT` instead of looking")
	cmd.Flags().BoolVar(&f.compress, "compress", false, "compress with zstd; qcow2 only")
	completeFlag(cmd, "to", fixed("qcow2", "raw", "vmdk", "vdi", "vhdx"))
	completeFlag(cmd, "from", fixed("qcow2", "raw", "vmdk", "vdi", "vhdx"))
	return cmd
}

// chooseFormat takes the format from the name when no flag tells it.
func (f *imageConvertFlags) chooseFormat(target string) error {
	if f.to == "" {
		f.to = map[string]string{".qcow2": "qcow2", ".raw": "raw", ".img": "raw", ".vmdk": "vmdk", ".vdi": "vdi", ".vhdx": "vhdx", ".vhd": "vpc", ".qed": "qed"}[strings.ToLower(filepath.Ext(target))]
	}
	if f.to == "" {
		return usagef("", "which format is %s to have? Add --to qcow2 or --to raw", backend.Clean(target))
	}
	if f.compress && f.to != "qcow2" {
		return usagef("", "--compress is for qcow2; berth image compress makes a .zst of any file")
	}
	return nil
}

func (w *imageWork) convert(ctx context.Context, f *imageConvertFlags, source, target string) error {
	if err := w.notWritten(ctx, source, f.force); err != nil {
		return err
	}
	err := image.Convert(ctx, source, target, image.ConvertOptions{From: f.from, To: f.to, Compress: f.compress, Force: f.force, NoVerify: f.noVerify, Progress: w.report()})
	w.note("", source+" → "+target, err)
	if err != nil {
		return err
	}
	return w.say(target, "converted to %s%s", f.to, verifiedWord(f.noVerify))
}

func verifiedWord(no bool) string {
	if no {
		return ""
	}
	return " and verified"
}

func (a *app) imageCompressCommand() *cobra.Command {
	var f imageConvertFlags
	cmd := &cobra.Command{
		Use:   "compress SRC [DST]",
		Short: "Compress an image to a .zst, or to a compressed qcow2 that VMs can use",
		Long: "Compress an image. A DST that ends in .zst (without DST, SRC.zst) holds the file byte\n" +
			"for byte: zstd -d reads it, and berth and seekable readers decompress its frames\n" +
			"side by side. One that ends in .qcow2 is an image that VMs can use as it is.",
		Args: fromTo("SRC and at most one DST", 1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			wrong := error(nil)
			if f.level < 1 || f.level > 19 {
				wrong = usagef("", "--level %d: use 1 to 19", f.level)
			}
			return a.changeImages(cmd, wrong, func(w *imageWork) error {
				target := image.CompressedName(args[0])
				if len(args) == 2 {
					target = args[1]
				}
				return w.compress(cmd.Context(), &f, args[0], target)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().IntVar(&f.level, "level", 1, "`N` from 1 to 19, of .zst: more takes longer and less room")
	completeFlag(cmd, "level", fixed())
	return cmd
}

func (w *imageWork) compress(ctx context.Context, f *imageConvertFlags, source, target string) error {
	if strings.EqualFold(filepath.Ext(target), ".qcow2") {
		f.to, f.compress = "qcow2", true
		return w.convert(ctx, f, source, target)
	}
	if err := w.notWritten(ctx, source, f.force); err != nil {
		return err
	}
	err := image.Compress(ctx, source, target, image.CompressOptions{Level: f.level, Force: f.force, NoVerify: f.noVerify, Progress: w.report()})
	w.note("", source+" → "+target, err)
	if err != nil {
		return err
	}
	return w.say(target, "compressed%s", verifiedWord(f.noVerify))
}

func (a *app) imageDecompressCommand() *cobra.Command {
	var f imageConvertFlags
	cmd := &cobra.Command{
		Use:   "decompress SRC.zst [DST]",
		Short: "Decompress a .zst, berth's or another's",
		Long:  "Decompress a .zst, whoever made it. Without DST the name is SRC's without .zst.",
		Args:  fromTo("SRC.zst and at most one DST", 1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeImages(cmd, nil, func(w *imageWork) error {
				target := image.PlainName(args[0])
				if len(args) == 2 {
					target = args[1]
				}
				err := image.Decompress(cmd.Context(), args[0], target, image.CompressOptions{NoVerify: f.noVerify, Progress: w.report()})
				w.note("", args[0]+" → "+target, err)
				if err != nil {
					return err
				}
				return w.say(target, "decompressed%s", verifiedWord(f.noVerify))
			})
		},
	}
	cmd.Flags().BoolVar(&f.noVerify, "no-verify", false, "do not read it back")
	return cmd
}

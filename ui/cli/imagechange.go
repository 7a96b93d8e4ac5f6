package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/image"
	"berth/model"
	"berth/model/config"
)

// imageCreateFlags are those of berth image create.
type imageCreateFlags struct {
	format, backing, backingFormat, pool string
	size                                 sizeValue
}

func (a *app) imageCreateCommand() *cobra.Command {
	var f imageCreateFlags
	cmd := &cobra.Command{
		Use:   "create PATH",
		Short: "Make an empty image, or an overlay of another",
		Long: "Make an empty image, or with --backing an overlay: reads fall through to that image,\n" +
			"which must not change any more. With -c it is made on that host: at an absolute\n" +
			"PATH, or with --pool under that name in a pool.",
		Example: "  berth image create web2.qcow2 --size 20G\n" +
			"  berth image create test.qcow2 --backing golden.qcow2\n" +
			"  berth image create -c qemu+ssh://hv2/system --pool default web2.qcow2 --size 20G",
		Args: fromTo("one PATH", 1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeImages(cmd, f.check(a), func(w *imageWork) error { return w.create(cmd, &f, args[0]) })
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.Var(&f.size, "size", "`SIZE` that the guest sees, as 20G; of an overlay the other's unless told")
	fl.StringVar(&f.format, "format", "qcow2", "`FORMAT`: qcow2 or raw")
	fl.StringVar(&f.backing, "backing", "", "make it an overlay of `IMAGE`")
	fl.StringVar(&f.backingFormat, "backing-format", "", "take that for `FORMAT` instead of looking")
	fl.StringVar(&f.pool, "pool", "", "in `POOL` of the host")
	completeFlag(cmd, "format", fixed("qcow2", "raw"))
	completeFlag(cmd, "backing-format", fixed("qcow2", "raw"))
	completeFlag(cmd, "size", fixed("10G", "20G", "100G"))
	completeFlag(cmd, "pool", a.completePools)
	return cmd
}

func (f *imageCreateFlags) check(a *app) error {
	switch {
	case f.format != "qcow2" && f.format != "raw":
		return usagef("", "--format %q: use qcow2 or raw", f.format)
	case f.size == 0 && f.backing == "":
		return usagef("", "how large? Add --size 20G")
	case f.pool != "" && !a.remoteNamed():
		return usagef("", "--pool is one of a host: name that with -c")
	}
	return nil
}

func (w *imageWork) create(cmd *cobra.Command, f *imageCreateFlags, path string) error {
	ctx := cmd.Context()
	detail := path + " " + f.format + " " + f.size.String()
	if !w.remoteNamed() {
		err := image.Create(ctx, path, image.CreateOptions{Format: f.format, Size: int64(f.size), Backing: f.backing, BackingFormat: f.backingFormat})
		w.note("", detail, err)
		if err != nil {
			return err
		}
		return w.say(path, "created")
	}
	spec := backend.ImageSpec{Pool: f.pool, Format: f.format, Size: uint64(f.size), Backing: f.backing}
	switch {
	case f.pool != "":
		spec.Name = path
	case filepath.IsAbs(path):
		spec.Path = path
	default:
		return usagef("", "%q: on a host it takes an absolute PATH, or --pool", path)
	}
	return w.onHost(cmd, path, detail, "created", func(ctx context.Context, s backend.Storage) error { return s.CreateImage(ctx, spec) })
}

// onHost does something to a path of the host that -c names.
func (w *imageWork) onHost(cmd *cobra.Command, path, detail, done string, do func(context.Context, backend.Storage) error) error {
	return w.withHosts(cmd, func(f *fleet) error {
		h, s, err := oneStorage(f)
		if err != nil {
			return err
		}
		err = do(cmd.Context(), s)
		w.note(h.Name(), detail, err)
		if err != nil {
			return err
		}
		return w.say(path, "%s", done)
	})
}

func (a *app) imageResizeCommand() *cobra.Command {
	shrink, yes, format := false, false, ""
	cmd := &cobra.Command{
		Use:   "resize PATH SIZE",
		Short: "Make an image larger, or smaller",
		Long: "Make an image SIZE large, or with +SIZE by so much larger. The guest's partitions and\n" +
			"file systems are not touched. Making it smaller loses what is beyond the new end:\n" +
			"that takes --shrink, and asks first. With -c the image is that host's; of a running\n" +
			"VM it grows through its QEMU.",
		Example: "  berth image resize web1.qcow2 40G\n  berth image resize web1.qcow2 +10G",
		Args:    fromTo("PATH and SIZE", 2, 2),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		text, more := strings.CutPrefix(args[1], "+")
		size, err := config.ParseSize(text)
		if err != nil {
			err = &usageError{err: err}
		}
		return a.changeImages(cmd, err, func(w *imageWork) error {
			return w.resize(cmd, &resizing{path: args[0], size: size, more: more, shrink: shrink, yes: yes, format: format})
		})
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&shrink, "shrink", false, "make it smaller: what is beyond is lost")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().StringVar(&format, "format", "", "take it for `FORMAT` instead of looking")
	completeFlag(cmd, "format", fixed("qcow2", "raw"))
	return cmd
}

// resizing is what resize was asked for.
type resizing struct {
	path, format      string
	size              uint64
	more, shrink, yes bool
}

func (w *imageWork) resize(cmd *cobra.Command, r *resizing) error {
	ctx := cmd.Context()
	if w.remoteNamed() {
		if r.more {
			return usagef("", "+SIZE is for files of this machine; give the whole SIZE")
		}
		if err := w.mayShrink(ctx, r, "smaller, if it is larger"); r.shrink && err != nil {
			return err
		}
		detail := fmt.Sprintf("%s to %d bytes", r.path, r.size)
		return w.onHost(cmd, r.path, detail, "now has "+model.Bytes(float64(r.size)),
			func(ctx context.Context, s backend.Storage) error {
				return s.ResizeImage(ctx, r.path, r.size, r.shrink)
			})
	}
	i, err := image.Inspect(ctx, r.path, r.format)
	if err != nil {
		return err
	}
	if r.more {
		r.size += uint64(i.Virtual)
	}
	if int64(r.size) < i.Virtual && r.shrink {
		if err := w.mayShrink(ctx, r, "from "+model.Bytes(float64(i.Virtual))+" to "+model.Bytes(float64(r.size))); err != nil {
			return err
		}
	}
	err = image.Resize(ctx, r.path, i.Format, int64(r.size), r.shrink)
	w.note("", fmt.Sprintf("%s to %d bytes", r.path, r.size), err)
	if err != nil {
		return err
	}
	return w.say(r.path, "now has %s", model.Bytes(float64(r.size)))
}

// mayShrink asks before data is lost.
func (w *imageWork) mayShrink(ctx context.Context, r *resizing, how string) error {
	return w.mayLose(ctx, r.yes, "resize --shrink", fmt.Sprintf("Make %s %s?\nWhat lies beyond the new end is lost.", backend.Clean(r.path), how))
}

// mayLose asks, or refuses when nobody can be asked.
func (a *app) mayLose(ctx context.Context, yes bool, what, question string) error {
	switch {
	case yes:
		return nil
	case !isTerminal(a.Stdin):
		return usagef("", "%s can lose data and there is no terminal to ask on; add --yes if you mean it", what)
	}
	return a.confirm(ctx, question)
}

func (a *app) imageDeleteCommand() *cobra.Command {
	yes, force := false, false
	cmd := &cobra.Command{
		Use:   "delete PATH...",
		Short: "Delete images that nothing uses",
		Long: "Delete images. One that a VM has as a disk, running or not, that QEMU has open, or\n" +
			"that is the backing file of another image is refused. It asks first; without a\n" +
			"terminal it needs --yes. With -c they are that host's.",
		Args: someFiles("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeImages(cmd, nil, func(w *imageWork) error { return w.deleteAll(cmd, args, yes, force) })
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&force, "force", false, "do not ask libvirt who uses it, only QEMU's locks")
	return cmd
}

func (w *imageWork) deleteAll(cmd *cobra.Command, paths []string, yes, force bool) error {
	ctx := cmd.Context()
	what := backend.Clean(strings.Join(paths, ", "))
	if len(paths) > 1 {
		what = fmt.Sprintf("%d images: %s", len(paths), what)
	}
	ask := func() error {
		return w.mayLose(ctx, yes, "delete", fmt.Sprintf("Delete %s?\nThe data in it is lost.", what))
	}
	if w.remoteNamed() {
		if err := ask(); err != nil {
			return err
		}
		return w.withHosts(cmd, func(f *fleet) error {
			h, s, err := oneStorage(f)
			if err != nil {
				return err
			}
			return w.each(h.Name(), paths, func(path string) error { return s.DeleteImage(ctx, path) })
		})
	}
	var known []backend.Image
	if !force {
		var err error
		if known, err = w.localImages(ctx); err != nil {
			return err
		}
	}
	others := make([]string, 0, len(known))
	for i := range known {
		others = append(others, known[i].Path)
	}
	if err := ask(); err != nil {
		return err
	}
	return w.each("", paths, func(path string) error {
		names, err := namesOf(path)
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := usedBy(known, n); err != nil {
				return err
			}
		}
		return image.Delete(ctx, names[0], others)
	})
}

// each does one thing to every path and goes on when one fails.
func (w *imageWork) each(host string, paths []string, do func(path string) error) error {
	failed := false
	for _, p := range paths {
		err := do(p)
		w.note(host, p, err)
		if err != nil {
			w.complain(err)
			failed = true
			continue
		}
		if err := w.say(p, "deleted"); err != nil {
			return err
		}
	}
	return failedIf(failed)
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/image"
	"berth/backend/image/place"
	"berth/model"
)

// imageCopyFlags are those of berth image copy.
type imageCopyFlags struct {
	force, noVerify, noHash bool
	sums                    []string
	output                  string
}

func (a *app) imageCopyCommand() *cobra.Command {
	var f imageCopyFlags
	cmd := &cobra.Command{
		Use:   "copy SRC DST...",
		Short: "Copy an image to one or several places, reading it once",
		Long: "Copy an image file, byte for byte, to any number of places side by side. Each DST is\n" +
			"  a path          a new file, or a folder that it goes into\n" +
			"  sftp://[user@]host[:port]/path\n" +
			"                  a new file on another machine\n" +
			"  pool://HOST/POOL/VOLUME\n" +
			"                  a new volume of a host, carried through libvirt\n\n" +
			"Each copy is read back and compared; one that fails is named, and the others\n" +
			"finish. Whether there is room is told before the first byte is written. While it\n" +
			"is copied no VM can be started from the source. The exit code is 0 only when every\n" +
			"copy is there.\n\n" +
			"JSON is an object: source size_bytes data_bytes sums, and targets, a list of\n" +
			"target ok verified error.",
		Example: "  berth image copy web1.qcow2 /mnt/a/ /mnt/b/ sftp://root@nas/images/web1.qcow2\n" +
			"  berth image copy web1.raw copy.raw --checksum sha256",
		Args: withUsage(func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("copy what to where? Give SRC and one DST or more")
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeImages(cmd, checkFormat(f.output, "text", "json"), func(w *imageWork) error { return w.copy(cmd.Context(), &f, args[0], args[1:]) })
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.BoolVar(&f.force, "force", false, "also when a VM writes to it")
	fl.BoolVar(&f.noVerify, "no-verify", false, "do not read the copies back")
	fl.BoolVar(&f.noHash, "no-hash", false, "do not hash on the way either; with --no-verify")
	fl.StringSliceVar(&f.sums, "checksum", nil, "print the `NAMES` of the whole content too: blake3, sha256")
	textOrJSON(cmd, &f.output)
	completeFlag(cmd, "checksum", fixed("blake3", "sha256"))
	return cmd
}

func (w *imageWork) copy(ctx context.Context, f *imageCopyFlags, source string, names []string) (err error) {
	if f.noHash && !f.noVerify {
		return usagef("", "--no-hash needs --no-verify: what was not hashed cannot be compared")
	}
	if err := w.notWritten(ctx, source, f.force); err != nil {
		return err
	}
	t := &copyTargets{app: w.app, source: source}
	defer func() { err = errors.Join(err, t.close()) }()
	for _, name := range names {
		if err := t.add(ctx, name); err != nil {
			return err
		}
	}
	res, err := image.Copy(ctx, source, t.targets, image.CopyOptions{Force: f.force, NoVerify: f.noVerify, NoHash: f.noHash, Sums: f.sums, Progress: w.report()})
	w.endMeter()
	if res == nil {
		w.note("", source+" → "+strings.Join(names, " "), err)
		return err
	}
	if serr := interrupted(ctx); serr != nil {
		return serr
	}
	for i := range res.Targets {
		w.note("", source+" → "+res.Targets[i].Name, res.Targets[i].Err)
	}
	return w.tellCopy(f.output, source, res)
}

type copyRecord struct {
	Source  string             `json:"source"`
	Size    int64              `json:"size_bytes"`
	Data    int64              `json:"data_bytes"`
	Sums    map[string]string  `json:"sums"`
	Targets []copyTargetRecord `json:"targets"`
}

type copyTargetRecord struct {
	Target   string `json:"target"`
	OK       bool   `json:"ok"`
	Verified bool   `json:"verified"`
	Error    string `json:"error"`
}

func (w *imageWork) tellCopy(output, source string, res *image.CopyResult) error {
	r := copyRecord{Source: backend.Clean(source), Size: res.Size, Data: res.Data, Sums: map[string]string{}, Targets: []copyTargetRecord{}}
	failed := false
	for _, t := range res.Targets {
		rec := copyTargetRecord{Target: backend.Clean(t.Name), OK: t.Err == nil, Verified: t.Verified}
		if t.Err != nil {
			failed = true
			rec.Error = firstLine(t.Err.Error())
			w.complain(t.Err)
		} else if output == "text" {
			how := ""
			if t.Verified {
				how = " and verified"
			}
			if err := w.say(t.Name, "copied%s, %s of data in %s", how, model.Bytes(float64(res.Data)), model.Bytes(float64(res.Size))); err != nil {
				return err
			}
		}
		r.Targets = append(r.Targets, rec)
	}
	for name, sum := range res.Sums {
		r.Sums[name] = sum
		if output == "text" {
			if err := w.say(name, "%s", sum); err != nil {
				return err
			}
		}
	}
	if output == "json" {
		if err := encodeJSON(w.Stdout, r); err != nil {
			return err
		}
	}
	return failedIf(failed)
}

// copyTargets opens what DSTs name.
type copyTargets struct {
	*app
	source  string
	targets []image.Target
	fleet   *fleet
	places  map[string]place.Place
}

func (t *copyTargets) close() error {
	var errs []error
	for _, p := range t.places {
		errs = append(errs, p.Close())
	}
	if t.fleet != nil {
		errs = append(errs, t.fleet.close())
	}
	return errors.Join(errs...)
}

func (t *copyTargets) add(ctx context.Context, name string) error {
	scheme, _, has := strings.Cut(name, "://")
	var target image.Target
	var err error
	switch {
	case has && scheme == "sftp":
		target, err = t.sftp(name)
	case has && scheme == "pool":
		target, err = t.volume(ctx, name)
	default:
		target, err = t.file(name)
	}
	if err != nil {
		return err
	}
	t.targets = append(t.targets, target)
	return nil
}

func (t *copyTargets) file(name string) (image.Target, error) {
	st, err := os.Stat(t.source)
	if err != nil {
		return image.Target{}, err
	}
	if dir, err := os.Stat(name); err == nil && dir.IsDir() || strings.HasSuffix(name, "/") {
		name = filepath.Join(name, filepath.Base(t.source))
	}
	return image.File(name, st.Mode().Perm()), nil
}

// sftp connects only when the copy begins, so that a machine that cannot be
// reached is a target that fails, and the others finish.
func (t *copyTargets) sftp(name string) (image.Target, error) {
	u, err := url.Parse(name)
	if err != nil || u.Host == "" || u.Path == "" {
		return image.Target{}, usagef("", "%q: write sftp://[user@]host[:port]/path", name)
	}
	file := path.Base(u.Path)
	if strings.HasSuffix(u.Path, "/") {
		file = filepath.Base(t.source)
	} else {
		u.Path = path.Dir(u.Path)
	}
	dir := u.String()
	if _, _, err := parseRepo(dir); err != nil {
		return image.Target{}, &usageError{err: err}
	}
	st, err := os.Stat(t.source)
	if err != nil {
		return image.Target{}, err
	}
	label := dir + "/" + file
	return image.Target{Name: label, Open: func(ctx context.Context, size, data int64) (image.Sink, error) {
		p, err := t.place(ctx, dir)
		if err != nil {
			return nil, &backend.OpError{Op: "copy to", Target: backend.Clean(label), Err: err}
		}
		c, ok := p.(place.Copier)
		if !ok {
			return nil, &backend.OpError{Op: "copy to", Target: backend.Clean(label), Err: backend.ErrUnsupported}
		}
		return image.InPlace(c, file, st.Mode().Perm()).Open(ctx, size, data)
	}}, nil
}

// place connects to a folder elsewhere, once.
func (t *copyTargets) place(ctx context.Context, dir string) (place.Place, error) {
	if p := t.places[dir]; p != nil {
		return p, nil
	}
	p, err := t.OpenPlace(ctx, dir, false)
	if err != nil {
		return nil, err
	}
	if t.places == nil {
		t.places = map[string]place.Place{}
	}
	t.places[dir] = p
	return p, nil
}

// volume finds the host by its name and the volume's format by the source's.
func (t *copyTargets) volume(ctx context.Context, name string) (image.Target, error) {
	parts := strings.SplitN(strings.TrimPrefix(name, "pool://"), "/", 3)
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" || strings.Contains(parts[2], "/") {
		return image.Target{}, usagef("", "%q: write pool://HOST/POOL/VOLUME", name)
	}
	if t.fleet == nil {
		f, err := t.openFleet(ctx)
		if err != nil {
			return image.Target{}, err
		}
		t.fleet = f
	}
	for _, h := range t.fleet.hosts {
		if h.Name() != parts[0] {
			continue
		}
		if h.ReadOnly() {
			return image.Target{}, fmt.Errorf("%w: %s was opened without permission to change anything", backend.ErrReadOnly, backend.Clean(h.Name()))
		}
		s, ok := h.(backend.VolumeStreamer)
		if !ok {
			return image.Target{}, fmt.Errorf("%s: %w: it takes no volumes", backend.Clean(h.Name()), backend.ErrUnsupported)
		}
		storage, err := storageOf(h)
		if err != nil {
			return image.Target{}, err
		}
		i, err := image.Inspect(ctx, t.source, "")
		if err != nil {
			return image.Target{}, err
		}
		return image.InVolume(image.Volume{Streamer: s, Storage: storage, Host: h.Name(), Pool: parts[1], Volume: parts[2], Format: i.Format}), nil
	}
	return image.Target{}, fmt.Errorf("there is no host %q; name it with -c", backend.Clean(parts[0]))
}

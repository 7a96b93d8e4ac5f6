package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/image/disk"
	"berth/backend/image/guestfs"
	"berth/backend/image/repo"
	"berth/model"
)

// runRestoreFiles takes files out of a point's disks.
func (a *app) runRestoreFiles(cmd *cobra.Command, f *restoreFlags, arg string) error {
	if f.to != "" || f.pool != "" || f.disksOnly || f.start || f.host != "" || len(f.disks) > 0 {
		return usagef("", "--file takes files out, and no VM is restored; it goes with --into alone")
	}
	return a.withPoint(cmd, &f.repoFlags, arg, func(ctx context.Context, r *openRepo, _ *backend.Point, m *repo.Manifest) (err error) {
		g, err := openGuest(ctx, r, m)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, g.close()) }()
		for _, file := range f.files { // before a folder is made for them
			if _, err := g.find(parseGuestPath(file)); err != nil {
				return err
			}
		}
		if !f.dryRun {
			if err := os.MkdirAll(f.into, 0o755); err != nil {
				return &backend.OpError{Op: "make", Target: backend.Clean(f.into), Err: pathReason(err)}
			}
		}
		t := &taker{app: a, ctx: ctx, dry: f.dryRun}
		if !f.dryRun {
			// What guests call their files leads nowhere but into this folder.
			if t.root, err = os.OpenRoot(f.into); err != nil {
				return &backend.OpError{Op: "open", Target: backend.Clean(f.into), Err: pathReason(err)}
			}
			defer func() { err = errors.Join(err, t.root.Close()) }()
		}
		for _, file := range f.files {
			if err := t.take(g, parseGuestPath(file)); err != nil {
				return err
			}
		}
		return t.tell(f)
	})
}

// taker copies files out of guests' file systems into a folder.
type taker struct {
	app    *app
	ctx    context.Context
	root   *os.Root
	dry    bool
	fs     guestfs.FS
	files  int
	bytes  int64
	failed int
	dirty  map[string]bool // volumes that were warned of
}

// take copies a file, or a folder with all in it, under its own name.
func (t *taker) take(g *guestDisks, p guestPath) error {
	v, err := g.find(p)
	if err != nil {
		return err
	}
	if t.dirty == nil {
		t.dirty = map[string]bool{}
	}
	if !t.dirty[v.name] {
		t.dirty[v.name] = true
		t.app.noteDirty(v)
	}
	t.fs = v.fs
	to := path.Base(p.name)
	if p.name == "." {
		to = v.name
	}
	info, err := v.fs.Stat(p.name)
	if err != nil {
		return err
	}
	return t.copy(p.name, to, info, 0)
}

// maxNesting bounds how deep folders may lie within one another: a damaged or
// hostile file system may have a folder in itself.
const maxNesting = 256

// copy copies what name is. One that cannot be copied is complained about and
// holds back no other.
func (t *taker) copy(name, to string, info fs.FileInfo, depth int) error {
	if err := t.ctx.Err(); err != nil {
		return context.Cause(t.ctx)
	}
	var err error
	switch m := info.Mode(); {
	case m.IsDir() && depth >= maxNesting:
		err = fmt.Errorf("%w: folders within folders without an end", backend.ErrInvalid)
	case m.IsDir():
		return t.folder(name, to, info, depth)
	case m.IsRegular():
		err = t.regular(name, to, info)
	case m&fs.ModeSymlink != 0:
		err = t.link(name, to)
	default:
		err = fmt.Errorf("%w: a %s is no file", backend.ErrUnsupported, kindOfFile(m))
	}
	if err == nil {
		t.files++
		return nil
	}
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	t.failed++
	t.app.complain(fmt.Errorf("/%s: %w", name, err))
	if errors.Is(err, backend.ErrNoRoom) || errors.Is(err, backend.ErrDamaged) {
		return errReported // so will be all others, or none can be trusted
	}
	return nil
}

func kindOfFile(m fs.FileMode) string {
	switch {
	case m&fs.ModeDevice != 0:
		return "device"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "special file"
}

func (t *taker) folder(name, to string, info fs.FileInfo, depth int) error {
	list, err := t.fs.ReadDir(name)
	if err != nil {
		t.failed++
		t.app.complain(fmt.Errorf("/%s: %w", name, err))
	}
	if !t.dry {
		if err := t.root.Mkdir(to, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: %w", to, pathReason(err))
		}
	}
	for _, e := range list {
		child, err := e.Info()
		if err != nil {
			t.failed++
			t.app.complain(fmt.Errorf("/%s/%s: %w", name, e.Name(), err))
			continue
		}
		if err := t.copy(path.Join(name, e.Name()), path.Join(to, e.Name()), child, depth+1); err != nil {
			return err
		}
	}
	if t.dry {
		return nil
	}
	return errors.Join(t.root.Chmod(to, info.Mode().Perm()|0o700), t.root.Chtimes(to, info.ModTime(), info.ModTime()))
}

// link makes the same symbolic link; where it leads is the guest's matter.
func (t *taker) link(name, to string) error {
	target, err := t.fs.ReadLink(name)
	if err != nil || t.dry {
		return err
	}
	return pathReason(t.root.Symlink(target, to))
}

// regular copies a file: beside its name, and then under it. Nothing is
// overwritten, holes stay holes, and no bit that gives rights to who runs it is
// kept.
func (t *taker) regular(name, to string, info fs.FileInfo) (err error) {
	t.bytes += info.Size()
	if t.dry {
		return nil
	}
	if _, err := t.root.Lstat(to); err == nil {
		return fmt.Errorf("%s: %w; nothing is overwritten", backend.Clean(to), fs.ErrExist)
	}
	src, err := t.fs.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	draft := path.Join(path.Dir(to), ".berth-restore."+shortName(path.Base(to)))
	dst, err := t.root.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return pathReason(err)
	}
	err = copySparse(t.ctx, dst, src, info.Size())
	if err == nil {
		err = dst.Sync()
	}
	err = errors.Join(err, dst.Close())
	if err == nil {
		err = errors.Join(t.root.Chmod(draft, info.Mode().Perm()), t.root.Chtimes(draft, info.ModTime(), info.ModTime()))
	}
	if err == nil {
		err = t.root.Rename(draft, to)
	}
	if err != nil {
		err = errors.Join(pathReason(err), t.root.Remove(draft))
	}
	return err
}

// shortName leaves room for a prefix within the longest name that there may be.
func shortName(s string) string { return s[:min(len(s), 200)] }

// copySparse copies size bytes and leaves out what is zero.
func copySparse(ctx context.Context, dst *os.File, src io.Reader, size int64) error {
	buffer := make([]byte, 256<<10)
	var at int64
	for at < size {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n, err := io.ReadFull(src, buffer[:min(int64(len(buffer)), size-at)])
		if err != nil {
			return fmt.Errorf("at byte %d of %d: %w", at+int64(n), size, err)
		}
		if !disk.AllZero(buffer[:n]) {
			if _, err := dst.WriteAt(buffer[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
	}
	return dst.Truncate(size)
}

func (t *taker) tell(f *restoreFlags) error {
	if f.output == "json" {
		if err := encodeJSON(t.app.Stdout, map[string]any{"files": t.files, "bytes": t.bytes, "failed": t.failed, "into": backend.Clean(f.into), "dry_run": t.dry}); err != nil {
			return err
		}
	} else {
		word := "restored into " + f.into
		if t.dry {
			word = "would be restored into " + f.into
		}
		if _, err := fmt.Fprintf(t.app.Stdout, "%s (%s) %s\n", plural(t.files, "file", "files"), model.Bytes(float64(t.bytes)), backend.Clean(word)); err != nil {
			return err
		}
	}
	if t.failed > 0 {
		return errReported
	}
	return nil
}

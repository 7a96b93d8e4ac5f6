package place

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/pkg/sftp"

	"berth/backend"
)

// remoteDraft is a file being written on a server. When the connection is lost
// it is opened again on another and what is there is compared with what was
// written, for a server that lost its power may have forgotten some.
type remoteDraft struct {
	ctx    context.Context // of Create: it holds for writes
	r      *remote
	name   string
	temp   string
	size   int64
	sum    uint32 // CRC32C of those bytes
	on     *link
	f      *sftp.File
	ended  bool
	broken bool
	hole   bool // it ends in a hole, which the server does not know of yet
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (r *remote) Create(ctx context.Context, name string, sizeHint int64) (Draft, error) {
	if err := checkName("create", name); err != nil {
		return nil, err
	}
	if room, err := r.Room(ctx); err == nil && room < sizeHint {
		return nil, inWords("create", name, &roomError{cause: errors.New("the server has less than the file needs")})
	}
	return r.begin(ctx, name)
}

func (r *remote) begin(ctx context.Context, name string) (*remoteDraft, error) {
	d := &remoteDraft{ctx: ctx, r: r, name: name, temp: r.path(draftName(name))}
	err := r.do(ctx, "create", name, func(l *link) error {
		f, err := l.OpenFile(d.temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
		if errors.Is(err, fs.ErrNotExist) && path.Dir(name) != "." {
			if err := l.newFolder(r.o.Dir, path.Dir(name)); err != nil {
				return err
			}
			f, err = l.OpenFile(d.temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
		}
		if err != nil {
			return err
		}
		d.on, d.f = l, f
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// newFolder makes a folder within the place, which itself must be there: what
// was unmounted is not to be made anew.
func (l *link) newFolder(root, name string) error {
	if _, err := l.Stat(root); err != nil {
		return err
	}
	err := l.MkdirAll(path.Join(root, name))
	if err != nil { // somebody else may have made it at the same moment
		if _, gone := l.Stat(path.Join(root, name)); !errors.Is(gone, fs.ErrNotExist) {
			err = gone
		}
	}
	for ; err == nil && name != "."; name = path.Dir(name) {
		l.syncFolder(path.Join(root, path.Dir(name)))
	}
	return err
}

// handle is the draft's handle on a connection.
func (d *remoteDraft) handle(l *link) (*sftp.File, error) {
	if d.on == l {
		return d.f, nil
	}
	if err := l.Chmod(d.temp, draftMode); err != nil { // a Commit may have come as far as that
		return nil, err
	}
	f, err := l.OpenFile(d.temp, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	if err := d.stretch(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	sum := crc32.New(castagnoli)
	n, err := io.Copy(sum, io.NewSectionReader(f, 0, d.size))
	if err == nil && (n != d.size || sum.Sum32() != d.sum) {
		err = &backend.OpError{Op: "write", Target: d.name, Err: backend.ErrDamaged, Hint: "the server has forgotten what was written to it: it must have lost its power; run it again"}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	d.on, d.f = l, f
	return f, nil
}

func (d *remoteDraft) Size() int64 { return d.size }

func (d *remoteDraft) Write(p []byte) (int, error) {
	if d.ended || d.broken {
		return 0, inWords("write", d.name, fs.ErrClosed)
	}
	written := 0
	for part := range slices.Chunk(p, writePart) {
		if err := d.write(part); err != nil {
			d.broken = true
			return written, err
		}
		written += len(part)
	}
	return written, nil
}

// writePart is how much is written before it counts as written, in bytes: what
// a lost connection costs at most.
const writePart = 1 << 20

func (d *remoteDraft) write(p []byte) error {
	err := d.r.do(d.ctx, "write", d.name, func(l *link) error {
		f, err := d.handle(l)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(p, d.size)
		return err
	})
	if err == nil {
		d.hole = false
		d.size += int64(len(p))
		d.sum = crc32.Update(d.sum, castagnoli, p)
	}
	return err
}

// finish makes the content durable, with those permissions.
func (d *remoteDraft) finish(l *link, mode fs.FileMode) error {
	f, err := d.handle(l)
	if err != nil {
		return err
	}
	if err := d.stretch(f); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != d.size {
		return &backend.OpError{Op: "write", Target: d.name, Err: backend.ErrDamaged, Hint: "the file has another length than what was written to it; look at the server's disk"}
	}
	if err := f.Chmod(mode); err != nil && l.ended() { // else it has no modes
		return err
	}
	return syncFile(f)
}

// syncFile makes a file durable where the server can.
func syncFile(f *sftp.File) error {
	err := f.Sync()
	var status *sftp.StatusError
	if errors.As(err, &status) && status.FxCode() == sftp.ErrSSHFxOpUnsupported {
		return nil
	}
	return err
}

func (d *remoteDraft) Commit(ctx context.Context) error {
	return d.commit(ctx, fileMode, (*link).replace)
}

// commit makes the draft durable and has give give it its name.
func (d *remoteDraft) commit(ctx context.Context, mode fs.FileMode, give func(l *link, from, to string) error) error {
	if d.ended || d.broken {
		return inWords("write", d.name, fs.ErrClosed)
	}
	to, asked := d.r.path(d.name), false
	err := d.r.do(ctx, "write", d.name, func(l *link) error {
		if !asked || !d.renamed(l, to) {
			if err := d.finish(l, mode); err != nil {
				return err
			}
			asked = true
			if err := give(l, d.temp, to); err != nil {
				return err
			}
		}
		l.syncFolder(path.Dir(to))
		return nil
	})
	if err != nil {
		d.broken = true
		return err
	}
	d.ended = true
	d.drop()
	return nil
}

// renamed reports whether the draft has got its name by a call whose answer was
// lost.
func (d *remoteDraft) renamed(l *link, to string) bool {
	if _, err := l.Lstat(d.temp); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	info, err := l.Stat(to)
	return err == nil && info.Size() == d.size
}

// replace renames, over what has the name.
func (l *link) replace(from, to string) error {
	if _, ok := l.HasExtension("posix-rename@openssh.com"); ok {
		return l.PosixRename(from, to)
	}
	err := l.Rename(from, to)
	if err == nil {
		return nil
	}
	// Servers without the extension do not replace. For a moment there is neither.
	if _, gone := l.Stat(to); gone != nil {
		return err
	}
	if err := l.Remove(to); err != nil {
		return err
	}
	return l.Rename(from, to)
}

// drop closes the handle. What that says does not matter: the content is
// durable, or not wanted.
func (d *remoteDraft) drop() {
	if d.on != nil && !d.on.ended() {
		_ = d.on.call(context.WithoutCancel(d.ctx), d.f.Close)
	}
	d.on = nil
}

func (d *remoteDraft) Discard() error {
	if d.ended {
		return nil
	}
	d.ended = true
	d.drop()
	// Its context may have ended. A connection that is lost is not dialled for
	// it: the draft is found by RemoveDrafts.
	l, err := d.r.live()
	if err != nil || l == nil {
		return nil
	}
	err = l.call(context.WithoutCancel(d.ctx), func() error { return l.Remove(d.temp) })
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, backend.ErrUnreachable) {
		return nil
	}
	return inWords("discard", d.name, err)
}

// CreateExclusive gives a draft its name with a hard link, which fails when the
// name is taken. When the answer to that was lost, the content tells whose it
// is: callers give each a content of its own.
func (r *remote) CreateExclusive(ctx context.Context, name string, content []byte) error {
	if err := checkName("create", name); err != nil {
		return err
	}
	d, err := r.begin(ctx, name)
	if err != nil {
		return err
	}
	if _, err := d.Write(content); err != nil {
		return errors.Join(err, d.Discard())
	}
	to := r.path(name)
	err = r.do(ctx, "create", name, func(l *link) error {
		if err := d.finish(l, fileMode); err != nil {
			return err
		}
		err := l.exclusive(d.temp, to, content)
		if err == nil {
			l.syncFolder(path.Dir(to))
			return nil
		}
		there, readErr := l.content(to, len(content))
		switch {
		case readErr == nil && bytes.Equal(there, content):
			return nil
		case readErr == nil:
			return fs.ErrExist
		case errors.Is(readErr, fs.ErrNotExist):
			return err
		}
		return readErr
	})
	return errors.Join(err, d.Discard())
}

// exclusive gives a draft's content a name that is free.
func (l *link) exclusive(from, to string, content []byte) error {
	if _, ok := l.HasExtension("hardlink@openssh.com"); ok {
		err := l.Link(from, to)
		if _, gone := l.Lstat(to); err == nil || gone == nil || l.ended() {
			return err
		}
	} // else there are no hard links on the server, or on its file system
	f, err := l.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, syncFile(f), f.Close())
}

// content reads a small file, up to one byte more than limit.
func (l *link) content(name string, limit int) ([]byte, error) {
	f, err := l.Open(name)
	if err != nil {
		return nil, err
	}
	all, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	return all, errors.Join(err, f.Close())
}

package place

import (
	"context"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/pkg/sftp"
)

var _ Copier = (*remote)(nil)

// abandoned is how long a copy must not have been written to before it counts as
// left by a process that was killed: while it is read back nothing is written.
const abandoned = 24 * time.Hour

// BeginCopy implements Copier.
func (r *remote) BeginCopy(ctx context.Context, name string) (Copy, error) {
	switch _, err := r.Stat(ctx, name); {
	case err == nil:
		return nil, inWords("create", name, fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	d, err := r.begin(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := r.sweep(ctx, d); err != nil {
		return nil, errors.Join(err, d.Discard())
	}
	return d, nil
}

// sweep removes the abandoned drafts of a draft's name. Its own time is that of
// the server's clock.
func (r *remote) sweep(ctx context.Context, d *remoteDraft) error {
	now := time.Time{}
	mine := func(info os.FileInfo) bool {
		if info.Name() == path.Base(d.temp) {
			now = info.ModTime()
		}
		return info.Mode().IsRegular() && strings.HasPrefix(info.Name(), draftPrefix+path.Base(d.name)+".")
	}
	list, err := r.list(ctx, path.Dir(d.name), mine)
	if err != nil {
		return err
	}
	for _, e := range list {
		if now.Sub(e.ModTime) < abandoned {
			continue
		}
		if err := r.remove(ctx, "remove", e.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Reread implements Copy.
func (d *remoteDraft) Reread(ctx context.Context) (File, error) {
	if d.ended || d.broken {
		return nil, inWords("read", d.name, fs.ErrClosed)
	}
	err := d.r.do(ctx, "write", d.name, func(l *link) error { return d.finish(l, draftMode) })
	if err != nil {
		return nil, err
	}
	return d.r.open(ctx, d.name, d.temp)
}

// CommitNew implements Copy.
func (d *remoteDraft) CommitNew(ctx context.Context, mode fs.FileMode) error {
	return d.commit(ctx, mode, (*link).rename)
}

// rename renames to a name that must be free. Some servers replace what has it:
// there it is free a moment before.
func (l *link) rename(from, to string) error {
	if _, err := l.Lstat(to); err == nil {
		return fs.ErrExist
	}
	err := l.Rename(from, to)
	if err != nil && !l.ended() {
		if _, gone := l.Lstat(to); gone == nil {
			return fs.ErrExist
		}
	}
	return err
}

// Skip implements Copy: what is written next lies behind a hole.
func (d *remoteDraft) Skip(n int64) error {
	if d.ended || d.broken {
		return inWords("write", d.name, fs.ErrClosed)
	}
	for d.hole = true; n > 0; {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		part := zeroes[:min(n, int64(len(zeroes)))]
		d.sum = crc32.Update(d.sum, castagnoli, part)
		d.size += int64(len(part))
		n -= int64(len(part))
	}
	return nil
}

var zeroes [1 << 20]byte

// stretch makes a file as long as what was written, when that ends in a hole.
func (d *remoteDraft) stretch(f *sftp.File) error {
	if !d.hole {
		return nil
	}
	return f.Truncate(d.size)
}

package place

import (
	"context"
	"errors"
	"io/fs"
	"sync"

	"github.com/pkg/sftp"

	"berth/backend"
)

// remoteFile is a file open for reading on a server. It is opened anew on
// another connection when its own was lost.
type remoteFile struct {
	ctx  context.Context // of Open: it holds for reads
	r    *remote
	name string
	at   string // its path on the server
	size int64

	mu sync.Mutex
	on *link
	f  *sftp.File
}

func (r *remote) Open(ctx context.Context, name string) (File, error) {
	if err := checkName("open", name); err != nil {
		return nil, err
	}
	return r.open(ctx, name, r.path(name))
}

func (r *remote) open(ctx context.Context, name, at string) (File, error) {
	f := &remoteFile{ctx: ctx, r: r, name: name, at: at, size: -1}
	err := r.do(ctx, "open", name, func(l *link) error {
		_, err := f.handle(l)
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// handle is the file's handle on a connection.
func (f *remoteFile) handle(l *link) (*sftp.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.on == l {
		return f.f, nil
	}
	h, err := l.Open(f.at)
	if err != nil {
		return nil, err
	}
	info, err := h.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrInvalid
	}
	if err == nil && f.size >= 0 && info.Size() != f.size {
		err = &backend.OpError{Op: "read", Target: f.name, Err: backend.ErrDamaged, Hint: "it has changed while it was read"}
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	f.on, f.f, f.size = l, h, info.Size()
	return h, nil
}

func (f *remoteFile) Size() int64 { return f.size }

func (f *remoteFile) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	err := f.r.do(f.ctx, "read", f.name, func(l *link) error {
		h, err := f.handle(l)
		if err != nil {
			return err
		}
		n, err = h.ReadAt(p, off)
		return err
	})
	return n, err
}

func (f *remoteFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.on == nil || f.on.ended() {
		return nil
	}
	l, h := f.on, f.f
	f.on = nil
	return l.call(context.WithoutCancel(f.ctx), h.Close)
}

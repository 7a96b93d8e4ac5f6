package place

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"berth/backend"
)

// SFTP says how to reach a folder over SFTP.
type SFTP struct {
	// Dial makes a stream to an SFTP server, whose Close wakes all that read and
	// write on it (see Subsystem). It is called again when the connection was
	// lost. Errors that wrap ErrAuth or ErrHostKey are final.
	Dial func(ctx context.Context) (io.ReadWriteCloser, error)
	Dir  string // on the server
	URL  string // for people: sftp://user@host/dir
	// Create makes the folder and its parents.
	Create bool
	// Attempts to do something on a connection that breaks, and the first wait
	// between two, which doubles up to a hundred times that; zero: 9 and 100 ms.
	Attempts int
	Wait     time.Duration
}

// remote is a folder on an SFTP server.
type remote struct {
	o    SFTP
	with patience

	mu     sync.Mutex
	link   *link         // nil or ended: to be dialled
	dials  chan struct{} // of capacity 1: who dials
	closed bool
}

// OpenSFTP opens a folder on an SFTP server.
func OpenSFTP(ctx context.Context, o SFTP) (Place, error) {
	r := &remote{o: o, with: patient, dials: make(chan struct{}, 1)}
	if o.Attempts > 0 {
		r.with.attempts = o.Attempts
	}
	if o.Wait > 0 {
		r.with.first, r.with.last = o.Wait, 100*o.Wait
	}
	err := r.do(ctx, "open", o.URL, func(l *link) error {
		info, err := l.Stat(o.Dir)
		if errors.Is(err, fs.ErrNotExist) && o.Create {
			if err := errors.Join(l.MkdirAll(o.Dir), l.Chmod(o.Dir, folderMode)); err != nil {
				return err
			}
			info, err = l.Stat(o.Dir)
		}
		if err == nil && !info.IsDir() {
			err = &backend.OpError{Op: "open", Target: o.URL, Err: fs.ErrInvalid, Hint: "a repository is a folder"}
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *remote) URL() string { return r.o.URL }

func (r *remote) path(name string) string { return path.Join(r.o.Dir, name) }

// Close ends the connection. Calls under way fail.
func (r *remote) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.link != nil {
		r.link.cut()
		<-r.link.gone
	}
	return nil
}

// live returns the connection, or nil when it has to be dialled.
func (r *remote) live() (*link, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, fs.ErrClosed
	}
	if r.link == nil || r.link.ended() {
		return nil, nil
	}
	return r.link, nil
}

// connect returns a connection that lives, dialling when it must.
func (r *remote) connect(ctx context.Context) (*link, error) {
	select {
	case r.dials <- struct{}{}:
		defer func() { <-r.dials }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l, err := r.live(); l != nil || err != nil {
		return l, err
	}
	stream, err := r.o.Dial(ctx)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	l, err := newLink(ctx, stream)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		l.cut()
		return nil, fs.ErrClosed
	}
	r.link = l
	return l, nil
}

// unreachable tells refusals, which stay, from what may pass.
func unreachable(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, backend.ErrAuth), errors.Is(err, backend.ErrHostKey):
		return err
	}
	return &lostError{cause: err}
}

// do asks the server something, again on a new connection when that is lost.
// What it asks must bear being asked twice.
func (r *remote) do(ctx context.Context, op, name string, f func(l *link) error) error {
	err := r.with.retry(ctx, func() error {
		l, err := r.live()
		if err == nil && l == nil {
			l, err = r.connect(ctx)
		}
		if err != nil {
			return err
		}
		return l.call(ctx, func() error { return f(l) })
	})
	return r.told(ctx, op, name, err)
}

// told puts an error into words. Servers say no more than "failure" when their
// disk is full (SFTP 3 has no code for it): it is asked for its room.
func (r *remote) told(ctx context.Context, op, name string, err error) error {
	var status *sftp.StatusError
	if !errors.As(err, &status) || status.FxCode() != sftp.ErrSSHFxFailure || op != "write" && op != "create" {
		return inWords(op, name, err)
	}
	if room, asked := r.Room(ctx); asked == nil && room < 1<<20 {
		return inWords(op, name, &roomError{cause: err})
	}
	return &backend.OpError{Op: op, Target: name, Err: err, Hint: "the server says no more than that: look whether its disk or the user's quota is full"}
}

func (r *remote) List(ctx context.Context, dir string) ([]Entry, error) {
	return r.list(ctx, dir, func(info os.FileInfo) bool { return info.Mode().IsRegular() && !isDraft(info.Name()) })
}

// list returns what want says of a folder.
func (r *remote) list(ctx context.Context, dir string, want func(os.FileInfo) bool) ([]Entry, error) {
	if !fs.ValidPath(dir) {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: fs.ErrInvalid}
	}
	var found []Entry
	err := r.do(ctx, "list", dir, func(l *link) error {
		all, err := l.ReadDirContext(ctx, r.path(dir))
		if errors.Is(err, fs.ErrNotExist) && dir != "." {
			return nil
		}
		found = found[:0]
		for _, info := range all {
			if want(info) {
				found = append(found, Entry{Name: path.Join(dir, info.Name()), Size: info.Size(), ModTime: info.ModTime()})
			}
		}
		return err
	})
	sort.Slice(found, func(i, j int) bool { return found[i].Name < found[j].Name })
	return found, err
}

func (r *remote) Folders(ctx context.Context, dir string) ([]string, error) {
	all, err := r.list(ctx, dir, os.FileInfo.IsDir)
	var names []string
	for _, e := range all {
		names = append(names, path.Base(e.Name))
	}
	return names, err
}

func (r *remote) Stat(ctx context.Context, name string) (Entry, error) {
	if err := checkName("stat", name); err != nil {
		return Entry{}, err
	}
	var e Entry
	err := r.do(ctx, "stat", name, func(l *link) error {
		info, err := l.Stat(r.path(name))
		if err == nil {
			e = Entry{Name: name, Size: info.Size(), ModTime: info.ModTime()}
		}
		return err
	})
	return e, err
}

func (r *remote) Drafts(ctx context.Context) ([]Entry, error) {
	return drafts(ctx, r, ".", func(dir string) ([]Entry, error) {
		return r.list(ctx, dir, func(info os.FileInfo) bool { return info.Mode().IsRegular() && isDraft(info.Name()) })
	})
}

func (r *remote) RemoveDrafts(ctx context.Context, unchanged time.Duration) (int, error) {
	return removeDrafts(ctx, r, unchanged, func(name string) error { return r.remove(ctx, "remove", name) })
}

func (r *remote) Remove(ctx context.Context, name string) error {
	if err := checkName("remove", name); err != nil {
		return err
	}
	return r.remove(ctx, "remove", name)
}

// remove removes a file. When it was asked for, the connection was lost, and
// then the file is not there, it has been removed.
func (r *remote) remove(ctx context.Context, op, name string) error {
	asked := false
	return r.do(ctx, op, name, func(l *link) error {
		err := l.removeFile(r.path(name))
		if asked && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		asked = true
		if err == nil {
			l.syncFolder(path.Dir(r.path(name)))
		}
		return err
	})
}

// removeFile is Client.Remove, which removes empty folders, too, when the name
// is one of those.
func (l *link) removeFile(name string) error {
	info, err := l.Lstat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fs.ErrInvalid
	}
	return l.Remove(name)
}

// syncFolder makes the names in a folder durable where the server can: SFTP has
// no call for it, but OpenSSH's server opens a folder as it opens a file, and
// makes that durable. Others refuse, and offer no more.
func (l *link) syncFolder(dir string) {
	if f, err := l.Open(dir); err == nil {
		_ = f.Sync()
		_ = f.Close()
	}
}

// Touch sets the time by the server's own clock, which it has to be asked for.
func (r *remote) Touch(ctx context.Context, name string) error {
	if err := checkName("touch", name); err != nil {
		return err
	}
	now, err := r.Now(ctx)
	if err != nil {
		return err
	}
	return r.do(ctx, "touch", name, func(l *link) error { return l.Chtimes(r.path(name), now, now) })
}

// Now is the time of a new file, to the second.
func (r *remote) Now(ctx context.Context) (time.Time, error) {
	var now time.Time
	err := r.do(ctx, "ask the clock of", r.o.URL, func(l *link) error {
		name := r.path(draftName("clock"))
		f, err := l.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err == nil {
			now = info.ModTime()
		}
		return errors.Join(err, f.Close(), l.Remove(name))
	})
	return now, err
}

func (r *remote) Room(ctx context.Context) (int64, error) {
	var room int64
	err := r.do(ctx, "ask the room of", r.o.URL, func(l *link) error {
		if _, ok := l.HasExtension("statvfs@openssh.com"); !ok {
			return backend.ErrUnsupported
		}
		s, err := l.StatVFS(r.o.Dir)
		if err == nil {
			room = int64(s.Bavail * s.Frsize)
		}
		return err
	})
	return room, err
}

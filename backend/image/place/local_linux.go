package place

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/backend"
)

// writeBack is after how many bytes the kernel is told to begin writing them
// out, so that the fsync at the end finds little to do.
const writeBack = 8 << 20

// localDraft is a file being written in a local place.
type localDraft struct {
	ctx    context.Context // of Create: it holds for writes
	l      *local
	name   string
	temp   string // path of the draft
	f      *os.File
	hint   int64
	size   int64
	begun  int64 // up to where write-back has been begun
	ended  bool
	broken bool
}

func (l *local) Create(ctx context.Context, name string, sizeHint int64) (Draft, error) {
	if err := checkName("create", name); err != nil {
		return nil, err
	}
	return l.begin(ctx, name, sizeHint)
}

func (l *local) begin(ctx context.Context, name string, sizeHint int64) (*localDraft, error) {
	return again(ctx, func() (*localDraft, error) {
		temp := l.path(draftName(name))
		f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, draftMode)
		if errors.Is(err, fs.ErrNotExist) {
			if _, gone := os.Stat(l.dir); gone != nil { // pulled out or unmounted: nothing is to be made in its stead
				return nil, inWords("create", name, gone)
			}
			if err := makeFolders(filepath.Dir(temp)); err != nil {
				return nil, inWords("create", name, err)
			}
			f, err = os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, draftMode)
		}
		if err != nil {
			return nil, inWords("create", name, err)
		}
		d := &localDraft{ctx: ctx, l: l, name: name, temp: temp, f: f, hint: sizeHint}
		if err := d.allocate(); err != nil {
			return nil, errors.Join(inWords("create", name, err), d.Discard())
		}
		return d, nil
	})
}

// allocate reserves room beforehand: the blocks lie together, and a disk that
// is too full is known at once. Where the file system cannot, the file grows as
// it is written.
func (d *localDraft) allocate() error {
	if d.hint <= 0 {
		return nil
	}
	err := unix.Fallocate(int(d.f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, d.hint)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return err
	}
	return nil
}

func (d *localDraft) Size() int64 { return d.size }

func (d *localDraft) Write(p []byte) (int, error) {
	if d.ended || d.broken {
		return 0, inWords("write", d.name, fs.ErrClosed)
	}
	if err := d.ctx.Err(); err != nil {
		d.broken = true
		return 0, err
	}
	n, err := d.f.Write(p)
	d.size += int64(n)
	if err != nil {
		d.broken = true // what of p is in the file is not known for sure
		return n, inWords("write", d.name, err)
	}
	if d.size-d.begun >= writeBack {
		// Only a hint: what goes wrong with writing shows at fsync.
		_ = unix.SyncFileRange(int(d.f.Fd()), d.begun, d.size-d.begun, unix.SYNC_FILE_RANGE_WRITE)
		d.begun = d.size
	}
	return n, nil
}

// finish makes the content durable and read-only.
func (d *localDraft) finish() error {
	info, err := d.f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != d.size {
		return &backend.OpError{Op: "write", Target: d.name, Err: backend.ErrDamaged, Hint: "the file has another length than what was written to it; look at the disk"}
	}
	if d.hint > d.size { // gives back what was allocated in vain
		if err := d.f.Truncate(d.size); err != nil {
			return err
		}
	}
	// FAT and some network file systems have no modes of the kind: the file is as
	// safe without.
	if err := d.f.Chmod(fileMode); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return d.f.Sync()
}

func (d *localDraft) Commit(ctx context.Context) error {
	if d.ended || d.broken {
		return inWords("write", d.name, fs.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	d.broken = true // an fsync that failed says nothing when it is tried again
	if err := d.finish(); err != nil {
		return inWords("write", d.name, err)
	}
	to := d.l.path(d.name)
	if err := os.Rename(d.temp, to); err != nil {
		return inWords("write", d.name, err)
	}
	d.ended = true
	return inWords("write", d.name, errors.Join(syncFolder(filepath.Dir(to)), d.f.Close()))
}

// linkTo gives the draft's content a name that must be free.
func (d *localDraft) linkTo(to string, content []byte) error {
	if err := d.f.Sync(); err != nil {
		return err
	}
	err := os.Link(d.temp, to)
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	if err != nil { // no hard links there (FAT, some network file systems)
		err = writeExclusive(to, content)
	}
	if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(to))
}

// writeExclusive is for file systems without hard links. A crash in it leaves
// the name with less than its content, which readers must expect.
func writeExclusive(to string, content []byte) error {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, draftMode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func (d *localDraft) Discard() error {
	if d.ended {
		return nil
	}
	d.ended = true
	err := errors.Join(os.Remove(d.temp), d.f.Close())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return inWords("discard", d.name, err)
}

// Touch leaves the time to the file system's own machine (UTIME_NOW,
// utimensat(2)).
func (l *local) Touch(ctx context.Context, name string) error {
	if err := checkName("touch", name); err != nil {
		return err
	}
	return retry(ctx, func() error {
		now := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
		return inWords("touch", name, unix.UtimesNanoAt(unix.AT_FDCWD, l.path(name), now, 0))
	})
}

func (l *local) Room(ctx context.Context) (int64, error) {
	return again(ctx, func() (int64, error) {
		var s unix.Statfs_t
		if err := unix.Statfs(l.dir, &s); err != nil {
			return 0, inWords("ask the room of", l.dir, err)
		}
		return int64(s.Bavail) * s.Bsize, nil
	})
}

package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/backend"
)

// reserve is what is left free on a file system, for what else happens there.
const reserve = 16 << 20

// Room is the space in bytes that is free in a folder of this machine for who
// asks.
func Room(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(min(st.Bavail, 1<<62/uint64(st.Bsize))) * st.Bsize, nil
}

// needRoom fails with backend.ErrNoRoom when a folder has not that many bytes.
func needRoom(op, path string, need int64) error {
	dir := filepath.Dir(path)
	free, err := Room(dir)
	if err != nil {
		return opError(op, path, err, "")
	}
	if free < need+reserve {
		return opError(op, path, fmt.Errorf("%w: it takes %s and %s are free in %s", backend.ErrNoRoom, words(need), words(free), backend.Clean(dir)), "")
	}
	return nil
}

// roomBetween is needRoom for what takes at least low and at most high bytes.
// Where that does not tell, exact finds out how many, which takes time.
func roomBetween(op, path string, low, high int64, exact func() (int64, error)) error {
	free, err := Room(filepath.Dir(path))
	if err != nil {
		return opError(op, path, err, "")
	}
	if free < low+reserve || free >= high+reserve {
		return needRoom(op, path, low)
	}
	need, err := exact()
	if err != nil {
		return opError(op, path, err, "")
	}
	return needRoom(op, path, need)
}

// counter counts what is written to it.
type counter int64

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// words is an amount for people.
func words(n int64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	v, u := float64(n)/1024, 0
	for v >= 1024 {
		v, u = v/1024, u+1
	}
	return fmt.Sprintf("%.1f %ciB", v, units[u])
}

// fileSystem tells the file systems of folders apart.
func fileSystem(dir string) (uint64, error) {
	st, err := os.Stat(dir)
	if err != nil {
		return 0, err
	}
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, nil
	}
	return uint64(s.Dev), nil
}

// roomForAll drops the targets for which there is no room, counting those that
// share a file system together, and says so of each.
func roomForAll(targets []Target, need int64) []error {
	errs := make([]error, len(targets))
	taken := map[uint64]int64{}
	for i, t := range targets {
		if t.folder == "" {
			continue
		}
		fs, err := fileSystem(t.folder)
		if err == nil {
			err = needRoom("copy to", t.Name, taken[fs]+need)
		}
		if err != nil {
			errs[i] = opError("copy to", t.Name, err, "")
			var known *backend.OpError
			if errors.As(err, &known) {
				errs[i] = err
			}
			continue
		}
		taken[fs] += need
	}
	return errs
}

// noRoom gives a full file system its name.
func noRoom(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", backend.ErrNoRoom, err)
	}
	return err
}

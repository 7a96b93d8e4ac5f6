//go:build linux || darwin || freebsd

package demo

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// nextData finds the next stretch of data from an offset on; io.EOF when only
// a hole follows.
func nextData(f *os.File, at, size int64) (from, to int64, err error) {
	fd := int(f.Fd())
	if from, err = unix.Seek(fd, at, unix.SEEK_DATA); err != nil {
		if errors.Is(err, syscall.ENXIO) {
			err = io.EOF
		}
		return 0, 0, err
	}
	if to, err = unix.Seek(fd, from, unix.SEEK_HOLE); err != nil {
		return 0, 0, err
	}
	return from, min(to, size), nil
}

// realSize is what a file takes on disk.
func realSize(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return info.Size()
}

// freeSpace is what is left of the file system that holds dir.
func freeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}

// Package guestfs reads the file systems on guests' disks: ext2 to ext4 by
// itself, FAT and ISO 9660 through go-diskfs. Nothing is written.
// What it reads was made by guests, who may be hostile: every length is bounded,
// and no name leads anywhere but into the file system it is from.
package guestfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"

	diskfs "github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/partition"

	"berth/backend"
	"berth/backend/image/disk"
)

// Volume is a part of a disk that may hold a file system.
type Volume struct {
	Partition int // from 1; 0: the whole disk
	Offset    int64
	Size      int64
	Kind      string // "ext", "vfat", "iso9660", "squashfs", "xfs", "ntfs", "lvm", ...; empty: not known
	Label     string
	// Dirty: changes lie in its journal alone, which is not read: it was in use
	// and not frozen at that moment.
	Dirty bool

	source *source
}

// FS is a guest's file system. Names are those of package fs: without a slash
// at the front, and "." is its root.
type FS interface {
	fs.ReadDirFS
	fs.StatFS
	// ReadLink tells where a symbolic link leads.
	ReadLink(name string) (string, error)
}

// maxPartitions is how many a GPT has room for as everybody makes it.
const maxPartitions = 128

// Volumes finds what is on a disk. The context holds for all that is read of
// them, too.
func Volumes(ctx context.Context, d disk.Reader) ([]Volume, error) {
	src := &source{ctx: ctx, disk: d}
	whole := Volume{Size: d.Size(), source: src}
	if err := whole.probe(); err != nil {
		return nil, err
	}
	if whole.Kind != "" {
		return []Volume{whole}, nil
	}
	table, err := readTable(src)
	if err != nil || table == nil {
		return []Volume{whole}, err
	}
	logical, extended, err := logicals(src)
	if err != nil {
		return nil, err
	}
	var all []Volume
	for _, p := range table.GetPartitions() {
		if v := (Volume{Partition: p.GetIndex(), Offset: p.GetStart(), Size: p.GetSize(), source: src}); !slices.Contains(extended, v.Offset) {
			all = append(all, v)
		}
	}
	var out []Volume
	for _, v := range append(all, logical...) {
		if v.Offset < 0 || v.Size <= 0 || v.Offset > d.Size() || v.Size > d.Size()-v.Offset {
			continue // it ends beyond the disk, or is none
		}
		if err := v.probe(); err != nil {
			return nil, err
		}
		if out = append(out, v); len(out) >= maxPartitions {
			break
		}
	}
	return out, nil
}

// readTable is nil when the disk has no partition table.
func readTable(src *source) (table partition.Table, err error) {
	defer recovered(&err)
	table, err = partition.Read(src, sector, sector)
	if err != nil {
		return nil, src.fault() // of no table is no error, a disk that cannot be read is
	}
	return table, nil
}

const sector = 512

// recovered turns a panic of a parser that a guest's disk has led astray into
// an error.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: the file system's structures make no sense (%v)", backend.ErrInvalid, r)
	}
}

// Open opens the volume's file system. It wraps backend.ErrUnsupported for one
// that cannot be read here.
func (v *Volume) Open() (FS, error) {
	switch v.Kind {
	case "ext":
		return openExt(v)
	case "vfat", "iso9660":
		return openOther(v)
	}
	what := v.Kind
	if what == "" {
		what = "what is on it"
	}
	return nil, fmt.Errorf("%w: %s cannot be read here", backend.ErrUnsupported, what)
}

// source is a disk as readers of file systems want it.
type source struct {
	ctx    context.Context
	disk   disk.Reader
	pos    int64
	failed error // of the disk, which libraries hide
}

func (s *source) fault() error { return s.failed }

// ReadAt reads beyond the end as files do: less, with an error.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	size := s.disk.Size()
	if off < 0 || off >= size {
		return 0, fmt.Errorf("%w: beyond the disk's end", backend.ErrInvalid)
	}
	n := int(min(int64(len(p)), size-off))
	if err := s.disk.ReadAt(s.ctx, p[:n], off); err != nil {
		s.failed = err
		return 0, err
	}
	if n < len(p) {
		return n, fmt.Errorf("%w: beyond the disk's end", backend.ErrInvalid)
	}
	return n, nil
}

// Read, Seek, Stat, Close, Sys, Writable and Path are what go-diskfs wants of a
// disk besides.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.ReadAt(p, s.pos)
	s.pos += int64(n)
	return n, err
}

func (s *source) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case 1:
		offset += s.pos
	case 2:
		offset += s.disk.Size()
	}
	if offset < 0 {
		return s.pos, fs.ErrInvalid
	}
	s.pos = offset
	return offset, nil
}

func (s *source) Stat() (fs.FileInfo, error)             { return diskInfo{s.disk.Size()}, nil }
func (s *source) Close() error                           { return nil }
func (s *source) Sys() (*os.File, error)                 { return nil, diskfs.ErrNotSuitable }
func (s *source) Writable() (diskfs.WritableFile, error) { return nil, diskfs.ErrIncorrectOpenMode }
func (s *source) Path() string                           { return "" }

// diskInfo describes a disk as a file.
type diskInfo struct{ size int64 }

func (diskInfo) Name() string       { return "disk" }
func (i diskInfo) Size() int64      { return i.size }
func (diskInfo) Mode() fs.FileMode  { return 0o400 }
func (diskInfo) ModTime() time.Time { return time.Time{} }
func (diskInfo) IsDir() bool        { return false }
func (diskInfo) Sys() any           { return nil }

// read reads a stretch of the volume.
func (v *Volume) read(p []byte, offset int64) error {
	if offset < 0 || offset > v.Size || int64(len(p)) > v.Size-offset || v.Offset > math.MaxInt64-offset {
		return fmt.Errorf("%w: the file system points beyond its end", backend.ErrInvalid)
	}
	_, err := v.source.ReadAt(p, v.Offset+offset)
	return err
}

var errNotDir = errors.New("not a folder")

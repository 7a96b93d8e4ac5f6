package guestfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/filesystem/fat12"
	"github.com/diskfs/go-diskfs/filesystem/fat16"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"

	"berth/backend"
)

// other is a file system that go-diskfs reads.
type other struct {
	fs filesystem.FileSystem
	v  *Volume
}

func openOther(v *Volume) (_ FS, err error) {
	defer recovered(&err)
	var errs []error
	for _, open := range readers[v.Kind] {
		f, err := open(v)
		if err == nil && f != nil {
			return &other{f, v}, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("%w: %s: %w", backend.ErrInvalid, v.Kind, errors.Join(errs...))
}

// readers open file systems, those of one kind in turn.
var readers = map[string][]func(*Volume) (filesystem.FileSystem, error){
	"vfat": {
		func(v *Volume) (filesystem.FileSystem, error) {
			return orNil(fat32.Read(v.source, v.Size, v.Offset, sector))
		},
		func(v *Volume) (filesystem.FileSystem, error) {
			return orNil(fat16.Read(v.source, v.Size, v.Offset, sector))
		},
		func(v *Volume) (filesystem.FileSystem, error) {
			return orNil(fat12.Read(v.source, v.Size, v.Offset, sector))
		},
	},
	"iso9660": {func(v *Volume) (filesystem.FileSystem, error) {
		return orNil(iso9660.Read(v.source, v.Size, v.Offset, 0))
	}},
}

// orNil keeps a nil pointer from becoming an interface that is not nil.
func orNil[T interface {
	comparable
	filesystem.FileSystem
}](f T, err error) (filesystem.FileSystem, error) {
	var none T
	if err != nil || f == none {
		return nil, err
	}
	return f, nil
}

// told is err, or what the disk itself said.
func (o *other) told(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if fault := o.v.source.fault(); fault != nil {
		err = fault
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return err
	}
	if !errors.Is(err, fs.ErrNotExist) && (strings.Contains(err.Error(), "not exist") || strings.Contains(err.Error(), "not found")) {
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// Open implements fs.FS.
func (o *other) Open(name string) (f fs.File, err error) {
	defer recovered(&err)
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if info, err := o.Stat(name); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		return emptyFile{info}, nil // which go-diskfs takes for a broken chain on FAT
	}
	f, err = o.fs.Open(name)
	if err != nil {
		return nil, o.told("open", name, err)
	}
	return &otherFile{f}, nil
}

// emptyFile is a file with nothing in it.
type emptyFile struct{ info fs.FileInfo }

func (f emptyFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f emptyFile) Read([]byte) (int, error)   { return 0, io.EOF }
func (f emptyFile) Close() error               { return nil }

// otherFile is a file whose parser may be led astray.
type otherFile struct{ fs.File }

// Read implements io.Reader.
func (f *otherFile) Read(p []byte) (n int, err error) {
	defer recovered(&err)
	return f.File.Read(p)
}

// Stat implements fs.StatFS.
func (o *other) Stat(name string) (info fs.FileInfo, err error) {
	defer recovered(&err)
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return rootInfo{}, nil
	}
	info, err = o.fs.Stat(name)
	return info, o.told("stat", name, err)
}

// rootInfo describes the root of a file system.
type rootInfo struct{ diskInfo }

func (rootInfo) Name() string      { return "." }
func (rootInfo) Mode() fs.FileMode { return fs.ModeDir | 0o755 }
func (rootInfo) IsDir() bool       { return true }

// ReadDir implements fs.ReadDirFS. Names that lead elsewhere are left out.
func (o *other) ReadDir(name string) (list []fs.DirEntry, err error) {
	defer recovered(&err)
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	all, err := o.fs.ReadDir(name)
	if err != nil {
		return nil, o.told("readdir", name, err)
	}
	for _, e := range all {
		if n := e.Name(); fs.ValidPath(n) && n != "." && !strings.Contains(n, "/") {
			list = append(list, e)
		}
	}
	return list, nil
}

// ReadLink implements FS.
func (o *other) ReadLink(name string) (to string, err error) {
	defer recovered(&err)
	if l, ok := o.fs.(interface{ ReadLink(string) (string, error) }); ok {
		to, err = l.ReadLink(name)
		return to, o.told("readlink", name, err)
	}
	return "", &fs.PathError{Op: "readlink", Path: name, Err: backend.ErrUnsupported}
}

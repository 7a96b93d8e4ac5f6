package guestfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"berth/backend"
)

// The layout is that of the kernel's Documentation/filesystems/ext4. A library
// reads it, too, but takes holes and unwritten extents of files for data.

// The incompatible features of a superblock.
const (
	incompatFiletype = 0x2
	incompatRecover  = 0x4
	incompatExtents  = 0x40
	incompat64Bit    = 0x80
	incompatMMP      = 0x100
	incompatFlexBG   = 0x200
	incompatEAInode  = 0x400
	incompatCsumSeed = 0x2000
	incompatLargeDir = 0x4000
	incompatInline   = 0x8000
	incompatEncrypt  = 0x10000
	incompatCasefold = 0x20000

	incompatKnown = incompatFiletype | incompatRecover | incompatExtents | incompat64Bit | incompatMMP | incompatFlexBG | incompatEAInode |
		incompatCsumSeed | incompatLargeDir | incompatInline | incompatEncrypt | incompatCasefold
)

// ext is an ext2, ext3 or ext4 file system.
type ext struct {
	v         *Volume
	blockSize int64
	groups    int64 // bytes from the start of the volume to the group descriptors
	descSize  int64
	wide      bool // descriptors have high halves
	perGroup  uint32
	inodes    uint32
	inodeSize int64
}

func openExt(v *Volume) (*ext, error) {
	sb := make([]byte, 1024)
	if err := v.read(sb, 1024); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	incompat := le.Uint32(sb[0x60:])
	if odd := incompat &^ incompatKnown; odd != 0 {
		return nil, fmt.Errorf("%w: an ext4 with features (%#x) that are not known here", backend.ErrUnsupported, odd)
	}
	shift := le.Uint32(sb[0x18:])
	if shift > 6 {
		return nil, bad("blocks of 2^%d KiB", shift)
	}
	e := &ext{v: v, blockSize: 1024 << shift, perGroup: le.Uint32(sb[0x28:]), inodes: le.Uint32(sb[0x00:]), inodeSize: 128, descSize: 32}
	if le.Uint32(sb[0x4c:]) > 0 {
		e.inodeSize = int64(le.Uint16(sb[0x58:]))
	}
	if incompat&incompat64Bit != 0 {
		e.descSize, e.wide = int64(le.Uint16(sb[0xfe:])), true
	}
	if e.perGroup == 0 || e.inodeSize < 128 || e.inodeSize > e.blockSize || e.descSize < 32 || e.descSize > 1024 || e.wide && e.descSize < 64 {
		return nil, bad("its superblock")
	}
	e.groups = (int64(le.Uint32(sb[0x14:])) + 1) * e.blockSize
	return e, nil
}

// bad is a structure that cannot be.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: ext4: %s", backend.ErrInvalid, fmt.Sprintf(format, args...))
}

// inode is one file.
type inode struct {
	number uint32
	mode   uint16
	size   int64
	mtime  time.Time
	flags  uint32
	block  [60]byte
}

// The flags of an inode.
const (
	flagCompressed = 0x4
	flagEncrypted  = 0x800
	flagExtents    = 0x80000
	flagInline     = 0x10000000
)

const rootInode = 2

func (e *ext) inode(n uint32) (*inode, error) {
	if n == 0 || n > e.inodes {
		return nil, bad("there is no inode %d", n)
	}
	desc := make([]byte, e.descSize)
	if err := e.v.read(desc, e.groups+int64((n-1)/e.perGroup)*e.descSize); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	table := uint64(le.Uint32(desc[8:]))
	if e.wide {
		table |= uint64(le.Uint32(desc[0x28:])) << 32
	}
	at, err := e.at(table)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, 128)
	if err := e.v.read(raw, at+int64((n-1)%e.perGroup)*e.inodeSize); err != nil {
		return nil, err
	}
	i := &inode{
		number: n, mode: le.Uint16(raw), flags: le.Uint32(raw[0x20:]), mtime: time.Unix(int64(int32(le.Uint32(raw[0x10:]))), 0),
		size: int64(le.Uint32(raw[4:])) | int64(le.Uint32(raw[0x6c:]))<<32,
	}
	copy(i.block[:], raw[0x28:])
	if i.size < 0 {
		return nil, bad("inode %d is of a negative size", n)
	}
	return i, nil
}

// at is where a block begins in the volume.
func (e *ext) at(block uint64) (int64, error) {
	if block > uint64(e.v.Size/e.blockSize) {
		return 0, bad("there is no block %d", block)
	}
	return int64(block) * e.blockSize, nil
}

// fileMode is the mode in package fs' words.
func (i *inode) fileMode() fs.FileMode {
	m := fs.FileMode(i.mode & 0o777)
	switch i.mode & 0xf000 {
	case 0x4000:
		m |= fs.ModeDir
	case 0xa000:
		m |= fs.ModeSymlink
	case 0x8000:
	case 0x6000:
		m |= fs.ModeDevice
	case 0x2000:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case 0x1000:
		m |= fs.ModeNamedPipe
	case 0xc000:
		m |= fs.ModeSocket
	default:
		m |= fs.ModeIrregular
	}
	if i.mode&0x800 != 0 {
		m |= fs.ModeSetuid
	}
	if i.mode&0x400 != 0 {
		m |= fs.ModeSetgid
	}
	if i.mode&0x200 != 0 {
		m |= fs.ModeSticky
	}
	return m
}

func (i *inode) info(name string) fs.FileInfo { return extInfo{name, i} }

// extInfo describes a file.
type extInfo struct {
	name string
	i    *inode
}

func (f extInfo) Name() string       { return f.name }
func (f extInfo) Size() int64        { return f.i.size }
func (f extInfo) Mode() fs.FileMode  { return f.i.fileMode() }
func (f extInfo) ModTime() time.Time { return f.i.mtime }
func (f extInfo) IsDir() bool        { return f.Mode().IsDir() }
func (f extInfo) Sys() any           { return nil }

// maxLinks is how many symbolic links one name may lead through, as in Linux.
const maxLinks = 40

// find walks to a name; with follow through a link that it ends in.
func (e *ext) find(name string, follow bool) (*inode, error) {
	if !fs.ValidPath(name) {
		return nil, fs.ErrInvalid
	}
	todo := strings.Split(name, "/")
	if name == "." {
		todo = nil
	}
	root, err := e.inode(rootInode)
	if err != nil {
		return nil, err
	}
	trail := []*inode{root} // the folders above, for ..
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			trail = trail[:max(1, len(trail)-1)]
			continue
		}
		i, err := e.child(trail[len(trail)-1], part)
		if err != nil {
			return nil, err
		}
		if !i.fileMode().IsDir() && i.fileMode()&fs.ModeSymlink == 0 && len(todo) > 0 {
			return nil, errNotDir
		}
		if i.fileMode()&fs.ModeSymlink == 0 || len(todo) == 0 && !follow {
			trail = append(trail, i)
			continue
		}
		if links++; links > maxLinks {
			return nil, errors.New("too many symbolic links")
		}
		to, err := e.link(i)
		if err != nil {
			return nil, err
		}
		if path.IsAbs(to) {
			trail = trail[:1]
		}
		todo = append(strings.Split(to, "/"), todo...)
	}
	return trail[len(trail)-1], nil
}

func (e *ext) child(dir *inode, name string) (*inode, error) {
	list, err := e.list(dir)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		if d.name == name {
			return e.inode(d.inode)
		}
	}
	return nil, fs.ErrNotExist
}

// maxTarget is how long a symbolic link may be, in bytes, as in Linux.
const maxTarget = 4096

// link is where a symbolic link leads.
func (e *ext) link(i *inode) (string, error) {
	if i.size > maxTarget {
		return "", bad("a symbolic link of %d bytes", i.size)
	}
	if i.size < int64(len(i.block)) && i.flags&(flagExtents|flagEncrypted) == 0 {
		return string(i.block[:i.size]), nil
	}
	b := make([]byte, i.size)
	if _, err := e.content(i, b, 0); err != nil {
		return "", err
	}
	return string(b), nil
}

// Open implements fs.FS.
func (e *ext) Open(name string) (fs.File, error) {
	i, err := e.find(name, true)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &extFile{e: e, i: i, name: path.Base(name)}, nil
}

// Stat implements fs.StatFS; it does not follow a link at the end of name.
func (e *ext) Stat(name string) (fs.FileInfo, error) {
	i, err := e.find(name, false)
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return i.info(path.Base(name)), nil
}

// ReadLink implements FS.
func (e *ext) ReadLink(name string) (string, error) {
	i, err := e.find(name, false)
	if err == nil && i.fileMode()&fs.ModeSymlink == 0 {
		err = fs.ErrInvalid
	}
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return e.link(i)
}

// ReadDir implements fs.ReadDirFS.
func (e *ext) ReadDir(name string) ([]fs.DirEntry, error) {
	i, err := e.find(name, true)
	if err == nil && !i.fileMode().IsDir() {
		err = errNotDir
	}
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	list, err := e.list(i)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	var out []fs.DirEntry
	for _, d := range list {
		child, err := e.inode(d.inode)
		if err != nil {
			return out, &fs.PathError{Op: "stat", Path: path.Join(name, d.name), Err: err}
		}
		out = append(out, fs.FileInfoToDirEntry(child.info(d.name)))
	}
	return out, nil
}

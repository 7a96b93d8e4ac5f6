package demo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	diskfs "github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/filesystem/ext4"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
	"github.com/diskfs/go-diskfs/partition/mbr"
	"github.com/google/uuid"
)

const (
	// hostnameLen is the length of etc/hostname: the name, and line ends.
	hostnameLen = 256
	// fsHolds is about what a file system takes of its image.
	fsHolds = 1200 * kib
	logLen  = 8 * slotSize
)

// fsTemplate is a small real file system, partition table and all, from which
// those of many images are copied.
type fsTemplate struct {
	file       string // a sparse raw image
	hostnameAt int64  // of the host's name, from the partition's start
	logAt      int64  // of the log file in one piece; 0: it is in several
	logLen     int
}

// newTemplate makes the file system of a system and keeps it in a file.
func newTemplate(file, system string, seed uint64, at time.Time) (*fsTemplate, error) {
	mem := &memDisk{blocks: map[int64][]byte{}, size: fsOffset + fsSize + 8*mib}
	kind, format := mbr.Linux, makeExt4
	if strings.HasPrefix(system, "win") {
		kind, format = mbr.Fat32LBA, makeFAT
	}
	table := &mbr.Table{LogicalSectorSize: 512, PhysicalSectorSize: 512,
		Partitions: []*mbr.Partition{{Bootable: true, Type: kind, Start: fsOffset / 512, Size: fsSize / 512}}}
	if err := table.Write(mem, mem.size); err != nil {
		return nil, fmt.Errorf("write a partition table: %w", err)
	}
	c := newChance(seed, streamImages, 3)
	fsys, err := format(mem, &c)
	if err != nil {
		return nil, fmt.Errorf("make a file system: %w", err)
	}
	name, log := make([]byte, hostnameLen), make([]byte, logLen) // marks, to find where they come to lie
	random(&c, name)
	random(&c, log)
	if err := populate(fsys, system, &c, name, log, at); err != nil {
		return nil, fmt.Errorf("fill a file system: %w", err)
	}
	if err := fsys.Close(); err != nil {
		return nil, err
	}
	t := &fsTemplate{file: file}
	if t.hostnameAt = mem.find(name) - fsOffset; t.hostnameAt < 0 {
		return nil, errors.New("fill a file system: a file of one block lies in several pieces")
	}
	if at := mem.find(log); at > 0 {
		t.logAt, t.logLen = at-fsOffset, logLen
		if err := fillLog(mem, at, &c); err != nil {
			return nil, err
		}
	}
	return t, mem.save(file)
}

// fillLog replaces the mark in the log file with what a log says.
func fillLog(w io.WriterAt, at int64, c *chance) error {
	buf := make([]byte, slotSize)
	for i := range int64(logLen / slotSize) {
		logLines(c, i-logLen/slotSize, buf)
		if _, err := w.WriteAt(buf, at+i*slotSize); err != nil {
			return err
		}
	}
	return nil
}

func makeExt4(d *memDisk, c *chance) (filesystem.FileSystem, error) {
	id := uuid.UUID(newUUID(c))
	return ext4.Create(d, fsSize, fsOffset, 512, &ext4.Params{VolumeName: "root", UUID: &id})
}

func makeFAT(d *memDisk, _ *chance) (filesystem.FileSystem, error) {
	return fat32.Create(d, fsSize, fsOffset, 512, "DATA", true)
}

// populate writes the files that a person would look for.
func populate(fsys filesystem.FileSystem, system string, c *chance, name, log []byte, at time.Time) error {
	text := func(n int) []byte { p := make([]byte, n); prose(c, p); return p }
	binary := func(n int) []byte { p := make([]byte, n); code(c, p); return p }
	pretty := osNames[system].pretty
	files := []struct {
		path    string
		content []byte
	}{
		{"etc/hostname", name},
		{"etc/os-release", fmt.Appendf(nil, "ID=%s\nPRETTY_NAME=%q\n", system, pretty)},
		{"etc/fstab", []byte("/dev/vda1 / ext4 errors=remount-ro 0 1\n")},
		{"etc/passwd", []byte("root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000:Ada:/home/ada:/bin/sh\n")},
		{"etc/motd", []byte("A simulated guest of berth's demo, on a real file system.\n")},
		{"home/ada/notes.txt", append([]byte("Ask who restores, and when it was tried last.\n\n"), text(3000)...)},
		{"home/ada/photo.raw", func() []byte { p := make([]byte, 96*kib); random(c, p); return p }()},
		{"srv/www/index.html", []byte("<!doctype html><title>It works</title><p>It works.\n")},
		{"usr/bin/app", binary(320 * kib)},
		{"usr/share/doc/README", text(160 * kib)},
		{"var/log/syslog", log},
	}
	made := map[string]bool{".": true}
	for _, f := range files {
		if err := mkdirs(fsys, path.Dir(f.path), made); err != nil {
			return err
		}
		if err := writeInto(fsys, f.path, f.content, at); err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
	}
	return nil
}

func mkdirs(fsys filesystem.FileSystem, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	if err := mkdirs(fsys, path.Dir(dir), made); err != nil {
		return err
	}
	made[dir] = true
	return fsys.Mkdir(dir)
}

func writeInto(fsys filesystem.FileSystem, name string, content []byte, at time.Time) error {
	w, err := fsys.OpenFile(name, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	if _, err := w.Write(content); err != nil {
		return errors.Join(err, w.Close())
	}
	return errors.Join(w.Close(), fsys.Chtimes(name, at, at, at))
}

// memBlock is the grain of a memDisk.
const memBlock = 4 * kib

// memDisk is a sparse disk in memory, for making file systems.
type memDisk struct {
	blocks map[int64][]byte
	size   int64
	pos    int64
}

var _ diskfs.Storage = (*memDisk)(nil)

// ReadAt reads; what was never written is zero.
func (d *memDisk) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		if at >= d.size {
			return n, io.EOF
		}
		part := p[n:min(len(p), n+int(min(memBlock-at%memBlock, d.size-at)))]
		if b := d.blocks[at/memBlock]; b != nil {
			copy(part, b[at%memBlock:])
		} else {
			clear(part)
		}
		n += len(part)
	}
	return n, nil
}

// WriteAt writes; zeroes where nothing is take no room.
func (d *memDisk) WriteAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		if at >= d.size {
			return n, io.ErrShortWrite
		}
		part := p[n:min(len(p), n+int(min(memBlock-at%memBlock, d.size-at)))]
		b := d.blocks[at/memBlock]
		if b == nil && !isZero(part) {
			b = make([]byte, memBlock)
			d.blocks[at/memBlock] = b
		}
		if b != nil {
			copy(b[at%memBlock:], part)
		}
		n += len(part)
	}
	return n, nil
}

func isZero(p []byte) bool {
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}

// find is where a text that lies in one piece begins; -1: nowhere.
func (d *memDisk) find(text []byte) int64 {
	got := make([]byte, len(text))
	for k, b := range d.blocks {
		i := bytes.Index(b, text[:16])
		if i < 0 {
			continue
		}
		at := k*memBlock + int64(i)
		if _, err := d.ReadAt(got, at); err == nil && bytes.Equal(got, text) {
			return at
		}
	}
	return -1
}

// save writes what is not zero to a file.
func (d *memDisk) save(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = f.Truncate(d.size)
	for k, b := range d.blocks {
		if err == nil && !isZero(b) {
			_, err = f.WriteAt(b[:min(memBlock, d.size-k*memBlock)], k*memBlock)
		}
	}
	return errors.Join(err, f.Close())
}

// Seek moves where Read goes on.
func (d *memDisk) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		d.pos = offset
	case io.SeekCurrent:
		d.pos += offset
	case io.SeekEnd:
		d.pos = d.size + offset
	}
	return d.pos, nil
}

// Read reads on.
func (d *memDisk) Read(p []byte) (int, error) {
	n, err := d.ReadAt(p, d.pos)
	d.pos += int64(n)
	return n, err
}

// Stat tells nothing: it is no file.
func (d *memDisk) Stat() (fs.FileInfo, error) { return nil, fs.ErrInvalid }

// Sys has no file to give.
func (d *memDisk) Sys() (*os.File, error) { return nil, diskfs.ErrNotSuitable }

// Writable is the disk itself.
func (d *memDisk) Writable() (diskfs.WritableFile, error) { return d, nil }

// Path is empty.
func (d *memDisk) Path() string { return "" }

// Close does nothing.
func (d *memDisk) Close() error { return nil }

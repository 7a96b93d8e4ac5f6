package guestfs

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"berth/backend"
)

// extFile is an open file.
type extFile struct {
	e    *ext
	i    *inode
	name string
	pos  int64
}

func (f *extFile) Stat() (fs.FileInfo, error) { return f.i.info(f.name), nil }
func (f *extFile) Close() error               { return nil }

// Read implements io.Reader.
func (f *extFile) Read(p []byte) (int, error) {
	if f.i.fileMode().IsDir() {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: fs.ErrInvalid}
	}
	if f.pos >= f.i.size {
		return 0, io.EOF
	}
	n, err := f.e.content(f.i, p, f.pos)
	f.pos += int64(n)
	return n, err
}

// content reads of a file's bytes what of p is within it.
func (e *ext) content(i *inode, p []byte, offset int64) (int, error) {
	if i.flags&(flagEncrypted|flagCompressed) != 0 {
		return 0, fmt.Errorf("%w: the guest has encrypted or compressed it", backend.ErrUnsupported)
	}
	p = p[:min(int64(len(p)), max(0, i.size-offset))]
	if len(p) == 0 {
		return 0, nil
	}
	if i.flags&flagInline != 0 {
		if i.size > int64(len(i.block)) {
			return 0, fmt.Errorf("%w: it lies in its inode's attributes", backend.ErrUnsupported)
		}
		return copy(p, i.block[offset:i.size]), nil
	}
	for done := 0; done < len(p); {
		block, within := (offset+int64(done))/e.blockSize, (offset+int64(done))%e.blockSize
		run, err := e.run(i, block)
		if err != nil {
			return done, err
		}
		n := int(min(int64(len(p)-done), run.count*e.blockSize-within))
		if run.at < 0 {
			clear(p[done : done+n])
		} else if err := e.v.read(p[done:done+n], run.at+within); err != nil {
			return done, err
		}
		done += n
	}
	return len(p), nil
}

// run is a stretch of a file's blocks that lie in a row.
type run struct {
	at    int64 // in the volume; -1: they read as zeroes
	count int64 // blocks, at least 1
}

// run finds where a file's block lies, and how many after it in a row.
func (e *ext) run(i *inode, block int64) (run, error) {
	if i.flags&flagExtents != 0 {
		return e.extent(i.block[:], block, 0)
	}
	return e.indirect(i, block)
}

// maxDepth is that of a tree of extents, by the kernel.
const maxDepth = 5

// unwritten is what an extent's length is above when it reads as zeroes.
const unwritten = 32768

// extent searches a node of a tree of extents.
func (e *ext) extent(node []byte, block int64, level int) (run, error) {
	le := binary.LittleEndian
	entries, depth := int(le.Uint16(node[2:])), int(le.Uint16(node[6:]))
	if le.Uint16(node) != 0xf30a || 12*(entries+1) > len(node) || depth > maxDepth || level > maxDepth {
		return run{}, bad("a tree of extents")
	}
	if depth > 0 {
		child, found := uint64(0), false
		next := int64(1) << 33
		for n := range entries {
			x := node[12*(n+1):]
			if first := int64(le.Uint32(x)); first <= block {
				child, found = uint64(le.Uint32(x[4:]))|uint64(le.Uint16(x[8:]))<<32, true
			} else {
				next = min(next, first)
			}
		}
		if !found {
			return run{-1, next - block}, nil
		}
		at, err := e.at(child)
		if err != nil {
			return run{}, err
		}
		below := make([]byte, e.blockSize)
		if err := e.v.read(below, at); err != nil {
			return run{}, err
		}
		r, err := e.extent(below, block, level+1)
		r.count = min(r.count, next-block)
		return r, err
	}
	next := int64(1) << 33
	for n := range entries {
		x := node[12*(n+1):]
		first, count := int64(le.Uint32(x)), int64(le.Uint16(x[4:]))
		zeroes := count > unwritten
		if zeroes {
			count -= unwritten
		}
		switch {
		case first > block:
			next = min(next, first)
		case block < first+count:
			if zeroes {
				return run{-1, first + count - block}, nil
			}
			at, err := e.at(uint64(le.Uint32(x[8:])) | uint64(le.Uint16(x[6:]))<<32 + uint64(block-first))
			return run{at, first + count - block}, err
		}
	}
	return run{-1, max(1, next-block)}, nil
}

// indirect finds a block of a file of ext2 or ext3.
func (e *ext) indirect(i *inode, block int64) (run, error) {
	le := binary.LittleEndian
	per := e.blockSize / 4
	if block < 12 {
		return e.single(uint64(le.Uint32(i.block[4*block:])))
	}
	block -= 12
	span := per
	for level := range 3 {
		if block >= span {
			block -= span
			span *= per
			continue
		}
		pointer := uint64(le.Uint32(i.block[4*(12+level):]))
		for ; span > 1 && pointer != 0; span /= per {
			at, err := e.at(pointer)
			if err != nil {
				return run{}, err
			}
			word := make([]byte, 4)
			if err := e.v.read(word, at+4*(block/(span/per))); err != nil {
				return run{}, err
			}
			block %= span / per
			pointer = uint64(le.Uint32(word))
		}
		return e.single(pointer)
	}
	return run{}, bad("a file that is too large")
}

func (e *ext) single(pointer uint64) (run, error) {
	if pointer == 0 {
		return run{-1, 1}, nil
	}
	at, err := e.at(pointer)
	return run{at, 1}, err
}

// entry is one name in a folder.
type entry struct {
	name  string
	inode uint32
}

// maxFolder bounds how large a folder may be, in bytes.
const maxFolder = 64 << 20

// list reads a folder, without . and .., by name. Folders with an index are
// lists too, for who does not know it.
func (e *ext) list(dir *inode) ([]entry, error) {
	if !dir.fileMode().IsDir() {
		return nil, errNotDir
	}
	if dir.size > maxFolder {
		return nil, fmt.Errorf("%w: a folder of %d bytes", backend.ErrUnsupported, dir.size)
	}
	raw := make([]byte, dir.size)
	if _, err := e.content(dir, raw, 0); err != nil {
		return nil, err
	}
	step := int(e.blockSize)
	if dir.flags&flagInline != 0 { // the parent's number, then entries
		if len(raw) < 4 {
			return nil, bad("a folder within its inode")
		}
		raw, step = raw[4:], len(raw)
	}
	var out []entry
	for len(raw) > 0 {
		n := min(step, len(raw))
		var err error
		if out, err = entries(out, raw[:n]); err != nil {
			return nil, err
		}
		raw = raw[n:]
	}
	slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// entries reads one block of a folder. Names that lead elsewhere are left out.
func entries(out []entry, block []byte) ([]entry, error) {
	le := binary.LittleEndian
	for len(block) >= 8 {
		length := int(le.Uint16(block[4:]))
		if length == 0xffff || length == 0 && len(block) == 1<<16 {
			length = 1 << 16
		}
		name := int(block[6])
		if length < 8 || length > len(block) || name > length-8 {
			return nil, bad("a folder's entry of %d bytes", length)
		}
		text := string(block[8 : 8+name])
		if n := le.Uint32(block); n != 0 && name > 0 && text != "." && text != ".." && !strings.ContainsAny(text, "/\x00") {
			out = append(out, entry{text, n})
		}
		block = block[length:]
	}
	return out, nil
}

package repo

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// bufLen is what a buffer holds: a frame with a chunk in it that did not
	// become smaller.
	bufLen = frameLen + ChunkSize + tagSize

	memPage = 4096
	bufMem  = memPage + (ChunkSize+tagSize+memPage-1)/memPage*memPage
)

// buffers are kept for reuse. They are not the garbage collector's: it lets
// the heap grow to twice of what is in use, and a few MiB of buffers are most
// of what a backup uses. What is behind the room for a frame's head begins on a
// page of its own, as writing past the page cache wants it.
type buffers struct {
	mu     sync.Mutex
	free   [][]byte
	mapped map[*byte][]byte // all that were made, by their first byte
	closed bool
}

func (b *buffers) get() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.free); n > 0 {
		buf := b.free[n-1]
		b.free = b.free[:n-1]
		return buf
	}
	const skip = memPage - frameLen
	mem, err := unix.Mmap(-1, 0, bufMem, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil { // no room for more maps: the heap may have some
		return make([]byte, bufMem)[skip : skip+bufLen]
	}
	if b.mapped == nil {
		b.mapped = map[*byte][]byte{}
	}
	buf := mem[skip : skip+bufLen]
	b.mapped[&buf[0]] = mem
	return buf
}

// put takes back what get gave, from its first byte on.
func (b *buffers) put(buf []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = append(b.free, buf[:bufLen])
	if b.closed {
		_ = b.drop() // they were private memory
	}
}

// close gives back the memory of all that are not in use, and of others as
// they come.
func (b *buffers) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return b.drop()
}

func (b *buffers) drop() (err error) {
	for _, buf := range b.free {
		if mem := b.mapped[&buf[0]]; mem != nil {
			delete(b.mapped, &buf[0])
			err = errors.Join(err, unix.Munmap(mem))
		}
	}
	b.free = nil
	return err
}

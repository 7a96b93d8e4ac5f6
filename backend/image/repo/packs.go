package repo

import (
	"bytes"
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"path"
	"sync"

	"berth/backend/image/place"
)

const packsDir = "packs"

// packName is the file of a pack.
func packName(id fileID) string { return path.Join(packsDir, id.String()) }

// packFile is a pack open for reading.
type packFile struct {
	id     fileID
	crypt  *crypt
	file   place.File
	cancel context.CancelFunc
	head   packHead
	raw    []byte // the head as it is in the file
	aead   cipher.AEAD

	users  int
	used   uint64 // when last, by the cache's count
	broken bool
}

// openPack opens one. Its reads end with ctx.
func openPack(ctx context.Context, p place.Place, c *crypt, id fileID) (*packFile, error) {
	ctx, cancel := context.WithCancel(ctx)
	f, err := p.Open(ctx, packName(id))
	if err != nil {
		cancel()
		return nil, err
	}
	pf := &packFile{id: id, crypt: c, file: f, cancel: cancel, raw: make([]byte, packHeadLen)}
	err = readFull(f, pf.raw, 0)
	if err == nil {
		pf.head, err = parsePackHead(pf.raw)
	}
	if err == nil && (pf.head.repo != c.repo || pf.head.pack != id || pf.head.encrypted != (c.master != nil)) {
		err = damaged("its header is of another pack or repository")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", packName(id), err), pf.close())
	}
	pf.aead = c.aead("pack", pf.head.salt[:])
	return pf, nil
}

func (p *packFile) close() error {
	err := p.file.Close()
	p.cancel()
	return err
}

// frames reads the footer.
func (p *packFile) frames() ([]frame, error) {
	fault := func(err error) error { return fmt.Errorf("%s: %w", packName(p.id), err) }
	size := p.file.Size()
	if size < packHeadLen+tagSize+trailerLen {
		return nil, fault(damaged("it has %d bytes", size))
	}
	end := make([]byte, trailerLen)
	if err := readFull(p.file, end, size-trailerLen); err != nil {
		return nil, fault(err)
	}
	t, err := parseTrailer(end, size)
	if err != nil {
		return nil, fault(err)
	}
	sealed := make([]byte, t.count*recordLen+tagSize)
	if err := readFull(p.file, sealed, t.offset); err != nil {
		return nil, fault(err)
	}
	frames, err := openFooter(p.aead, t, p.raw, sealed)
	if err != nil {
		return nil, fault(err)
	}
	return frames, nil
}

// found is frames that, when the footer is damaged, looks for what there is. The
// error is the footer's when there is nothing.
func (p *packFile) found() ([]frame, error) {
	frames, err := p.frames()
	if err == nil || !isDamage(err) {
		return frames, err
	}
	_, _ = p.walk(func(f frame) error { // where it ends is where nothing more can be found
		if len(frames) < maxFrames {
			frames = append(frames, f)
		}
		return nil
	})
	if len(frames) == 0 {
		return nil, err
	}
	return frames, nil
}

// walk reads the heads of frames from the first on, without the footer, as far
// as they can be read. It returns where it ended and why, nil when that is
// where a footer begins or the file ends.
func (p *packFile) walk(f func(frame) error) (end int64, err error) {
	head := make([]byte, frameLen)
	size := p.file.Size()
	for end = packHeadLen; size-end >= frameLen; {
		if err := readFull(p.file, head, end); err != nil {
			return end, err
		}
		fr, _, err := openFrame(p.aead, head)
		if err != nil {
			if p.footerAt(end) {
				return end, nil
			}
			return end, fmt.Errorf("%s at %d: %w", packName(p.id), end, err)
		}
		if fr.offset = end; fr.size() > size-end {
			return end, fmt.Errorf("%s at %d: %w", packName(p.id), end, damaged("it ends within a chunk"))
		}
		if err := f(fr); err != nil {
			return end, err
		}
		end += fr.size()
	}
	return end, nil
}

// footerAt reports whether the trailer says that the footer is there.
func (p *packFile) footerAt(offset int64) bool {
	end := make([]byte, trailerLen)
	if p.file.Size() < trailerLen || readFull(p.file, end, p.file.Size()-trailerLen) != nil {
		return false
	}
	t, err := parseTrailer(end, p.file.Size())
	return err == nil && t.offset == offset
}

// read reads the frame at a location into buf and returns it and the chunk as
// it was stored, in buf's memory, with everything checked but what only
// unpacking can.
func (p *packFile) read(at location, buf []byte) (f frame, stored []byte, err error) {
	if at.length < frameLen || int(at.length) > len(buf) {
		return f, nil, damaged("a frame of %d bytes", at.length)
	}
	buf = buf[:at.length]
	if err := readFull(p.file, buf, at.offset); err != nil {
		return f, nil, fmt.Errorf("%s at %d: %w", packName(p.id), at.offset, err)
	}
	f, number, err := openFrame(p.aead, buf)
	if err == nil {
		f.offset = at.offset
		stored, err = openPayload(p.crypt, p.aead, number, &f, buf[frameLen:])
	}
	if err != nil {
		return f, nil, fmt.Errorf("%s at %d: %w", packName(p.id), at.offset, err)
	}
	return f, stored, nil
}

// packCache keeps a few packs open.
type packCache struct {
	place place.Place
	crypt *crypt
	ctx   context.Context // reads end with it

	mu    sync.Mutex
	open  map[fileID]*packFile
	count uint64
}

const openPacks = 16

func newPackCache(ctx context.Context, p place.Place, c *crypt) *packCache {
	return &packCache{place: p, crypt: c, ctx: ctx, open: map[fileID]*packFile{}}
}

// acquire returns a pack, to be given back by release.
func (c *packCache) acquire(id fileID) (*packFile, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	if p := c.open[id]; p != nil {
		p.users, p.used = p.users+1, c.count
		return p, nil
	}
	c.mu.Unlock()
	p, err := openPack(c.ctx, c.place, c.crypt, id)
	c.mu.Lock()
	if err != nil {
		return nil, err
	}
	if other := c.open[id]; other != nil { // opened by two at once
		p.close() // it was read only
		other.users, other.used = other.users+1, c.count
		return other, nil
	}
	c.shrink()
	p.users, p.used = 1, c.count
	c.open[id] = p
	return p, nil
}

// shrink closes what was not used for longest.
func (c *packCache) shrink() {
	for len(c.open) >= openPacks {
		var oldest *packFile
		for _, p := range c.open {
			if p.users == 0 && (oldest == nil || p.used < oldest.used) {
				oldest = p
			}
		}
		if oldest == nil {
			return
		}
		delete(c.open, oldest.id)
		oldest.close() // it was read only
	}
}

// release gives a pack back; fault is what reading it ended in.
func (c *packCache) release(p *packFile, fault error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.users--
	if fault != nil && c.open[p.id] == p { // the next user opens it anew
		delete(c.open, p.id)
		p.broken = true
	}
	if p.users == 0 && c.open[p.id] != p {
		p.close() // it was read only
	}
}

func (c *packCache) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	for id, p := range c.open {
		delete(c.open, id)
		if p.users == 0 {
			err = errors.Join(err, p.close())
		}
	}
	return err
}

// chunkReader reads chunks, for one goroutine.
type chunkReader struct {
	repo  *Repo
	packs *packCache
	codec *codec
	in    []byte // a frame
	out   []byte // a chunk
}

func (r *Repo) newChunkReader(packs *packCache) *chunkReader {
	return &chunkReader{repo: r, packs: packs, codec: newCodec(r.crypt), in: r.buffers.get(), out: r.buffers.get()}
}

// close gives back what it took. What chunk returned is not to be used any more.
func (c *chunkReader) close() {
	c.codec.close()
	c.repo.buffers.put(c.in)
	c.repo.buffers.put(c.out)
}

// chunk returns a chunk's content, good until the next call. When one copy is
// damaged and there is another, that is taken.
func (c *chunkReader) chunk(ctx context.Context, id ChunkID) ([]byte, error) {
	at, err := c.repo.index.find(ctx, id)
	if len(at) == 0 {
		return nil, errors.Join(errNoChunk(id), err)
	}
	return c.anyOf(ctx, id, at)
}

// anyOf reads a chunk from the first of several locations where it is right.
// Those where it is not are noted.
func (c *chunkReader) anyOf(ctx context.Context, id ChunkID, at []location) ([]byte, error) {
	if len(at) == 0 {
		return nil, errNoChunk(id)
	}
	var faults error
	for _, l := range at {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		content, err := c.at(id, l)
		if err == nil {
			return content, nil
		}
		if ctx.Err() == nil && isDamage(err) {
			c.repo.noteDamage(id, l, err)
		}
		faults = errors.Join(faults, err)
	}
	return nil, faults
}

// at reads a chunk from a location.
func (c *chunkReader) at(id ChunkID, l location) ([]byte, error) {
	p, err := c.packs.acquire(l.pack)
	if err != nil {
		return nil, err
	}
	f, stored, err := p.read(l, c.in)
	c.packs.release(p, err)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(f.id[:], id[:]) {
		return nil, damaged("%s at %d: there is chunk %s instead of %s", packName(l.pack), l.offset, f.id, id)
	}
	content, err := c.codec.unpack(c.out, &f, stored)
	if err != nil {
		return nil, fmt.Errorf("%s at %d: %w", packName(l.pack), l.offset, err)
	}
	return content, nil
}

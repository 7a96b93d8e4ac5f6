package repo

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"berth/backend/image/place"
)

// packer writes chunks into packs, and the index of the packs that are sealed.
// Its methods may be called from several goroutines.
type packer struct {
	repo *Repo
	ctx  context.Context // writes end with it
	head packHead        // of all packs but for what names one
	aead cipher.AEAD
	last atomic.Uint64 // number that a frame was sealed with

	mu     sync.Mutex // for the pack that is being written
	pack   *openDraft
	expect int64 // bytes still to come at most, for allocating no more than that
	err    error

	seals   sync.WaitGroup
	sealing chan struct{} // holds as many as may be made durable at once

	sealedMu sync.Mutex
	sealed   []packed // durable, and in no index file yet
	frames   int      // in those
	made     []fileID // all packs that are durable
	indexed  time.Time
	fault    error // of a sealing in the background

	pendMu  sync.Mutex
	pending map[ChunkID]struct{} // chunks that are in no index file yet

	stored atomic.Int64 // bytes of frames written
}

// openDraft is a pack that is being written.
type openDraft struct {
	id     fileID
	raw    []byte // its head
	draft  place.Draft
	hash   hash.Hash
	frames []frame
	size   int64
}

const (
	// An index file is written after so many chunks or so long, whichever comes
	// first: what is in none is found again only by looking at all packs.
	indexFrames = 1 << 16
	indexEvery  = 30 * time.Second

	sealsAtOnce = 2
)

func (r *Repo) newPacker(ctx context.Context, job fileID) *packer {
	p := &packer{repo: r, ctx: ctx, sealing: make(chan struct{}, sealsAtOnce), pending: map[ChunkID]struct{}{}, indexed: r.now(),
		head: packHead{encrypted: r.conf.Encrypted, repo: r.conf.repo, job: job}}
	if r.conf.Encrypted {
		rand.Read(p.head.salt[:]) // never fails (crypto/rand)
	}
	p.aead = r.crypt.aead("pack", p.head.salt[:])
	return p
}

// claim reports whether the chunk is the caller's to store: nobody has it, and
// nobody else is about to.
func (p *packer) claim(id ChunkID) bool {
	p.pendMu.Lock()
	_, taken := p.pending[id]
	if !taken {
		p.pending[id] = struct{}{}
	}
	p.pendMu.Unlock()
	if taken {
		return false
	}
	if p.repo.index.has(id) {
		p.pendMu.Lock()
		delete(p.pending, id)
		p.pendMu.Unlock()
		return false
	}
	return true
}

// expecting says that so many more bytes may come, or fewer than was said.
func (p *packer) expecting(more int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expect = max(0, p.expect+more)
}

// add seals a frame and appends it. buf has frameLen bytes of room and then
// the chunk as it is to be stored; it may be reused afterwards.
func (p *packer) add(f frame, buf []byte) error {
	buf = sealFrame(p.repo.crypt, p.aead, p.last.Add(1), &f, buf)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	if p.err = p.append(f, buf); p.err != nil {
		return p.err
	}
	p.stored.Add(f.size())
	return nil
}

// append is add with the lock held.
func (p *packer) append(f frame, buf []byte) error {
	if p.pack != nil && (len(p.pack.frames) == maxFrames || p.pack.endSize(1)+f.size() > p.repo.conf.PackSize) {
		if err := p.seal(); err != nil {
			return err
		}
	}
	if p.pack == nil {
		if err := p.start(); err != nil {
			return err
		}
	}
	f.offset = p.pack.size
	p.pack.frames = append(p.pack.frames, f)
	p.expect = max(0, p.expect-int64(f.raw))
	return p.pack.write(buf)
}

// endSize is how large the pack is once it is sealed, with more frames.
func (d *openDraft) endSize(more int) int64 {
	return d.size + int64(len(d.frames)+more)*recordLen + tagSize + trailerLen
}

func (d *openDraft) write(b []byte) error {
	d.hash.Write(b)
	d.size += int64(len(b))
	_, err := d.draft.Write(b)
	return err
}

func (p *packer) start() error {
	id := newFileID()
	hint := min(p.repo.conf.PackSize, p.expect+p.expect/16+(1<<20))
	draft, err := p.repo.place.Create(p.ctx, packName(id), hint)
	if err != nil {
		return err
	}
	head := p.head
	head.pack, head.created = id, p.repo.now()
	p.pack = &openDraft{id: id, raw: head.marshal(), draft: draft, hash: sha256.New()}
	return p.pack.write(p.pack.raw)
}

// seal ends the pack; it is made durable in the background.
func (p *packer) seal() error {
	d := p.pack
	p.pack = nil
	if err := d.write(sealFooter(p.aead, p.last.Add(1), d.raw, d.frames, d.size)); err != nil {
		return errors.Join(err, d.draft.Discard())
	}
	select {
	case p.sealing <- struct{}{}:
	case <-p.ctx.Done():
		return errors.Join(context.Cause(p.ctx), d.draft.Discard())
	}
	p.seals.Go(func() {
		defer func() { <-p.sealing }()
		if err := p.settle(d); err != nil {
			p.fail(err)
		}
	})
	return nil
}

// fail makes all that comes later fail.
func (p *packer) fail(err error) {
	p.sealedMu.Lock()
	p.fault = errors.Join(p.fault, err)
	p.sealedMu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// settle makes a pack durable and, now and then, an index file of those that are.
func (p *packer) settle(d *openDraft) error {
	if err := d.draft.Commit(p.ctx); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", packName(d.id), err), d.draft.Discard())
	}
	info := packInfo{id: d.id, size: d.size, frames: uint32(len(d.frames)), job: p.head.job}
	d.hash.Sum(info.sum[:0])
	p.sealedMu.Lock()
	defer p.sealedMu.Unlock()
	p.sealed = append(p.sealed, packed{packInfo: info, frames: d.frames})
	p.made = append(p.made, d.id)
	p.frames += len(d.frames)
	if p.frames < indexFrames && p.repo.now().Sub(p.indexed) < indexEvery {
		return nil
	}
	return p.writeIndex(p.ctx)
}

// writeIndex makes an index file of what is sealed, with sealedMu held.
func (p *packer) writeIndex(ctx context.Context) error {
	if err := p.repo.index.add(ctx, slices.Clone(p.sealed)); err != nil {
		return err
	}
	p.pendMu.Lock()
	for _, s := range p.sealed {
		for i := range s.frames {
			delete(p.pending, s.frames[i].id)
		}
	}
	p.pendMu.Unlock()
	p.sealed, p.frames, p.indexed = nil, 0, p.repo.now()
	return nil
}

// flush seals what is open, waits until all is durable and in an index.
func (p *packer) flush(ctx context.Context) error {
	p.mu.Lock()
	err := p.err
	if err == nil && p.pack != nil {
		err = p.seal()
	}
	p.mu.Unlock()
	p.seals.Wait()
	p.sealedMu.Lock()
	defer p.sealedMu.Unlock()
	if err = errors.Join(err, p.fault); err != nil {
		return err
	}
	return p.writeIndex(ctx)
}

// abandon drops the pack that is open, and keeps those that are sealed for a
// later writer.
func (p *packer) abandon(ctx context.Context) error {
	p.mu.Lock()
	var err error
	if p.pack != nil {
		err = p.pack.draft.Discard()
		p.pack = nil
	}
	if p.err == nil {
		p.err = errWriterEnded
	}
	p.mu.Unlock()
	p.seals.Wait()
	p.sealedMu.Lock()
	defer p.sealedMu.Unlock()
	return errors.Join(err, p.writeIndex(ctx))
}

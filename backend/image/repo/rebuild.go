package repo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"path"
	"slices"
	"strings"

	"berth/backend/image/place"
)

// rebuildIndex makes the index and SHA256SUMS anew of what packs say of
// themselves, and then removes what there was. Of packs that cannot say what
// they hold it takes what the old index knew. It needs the repository for itself.
func (r *Repo) rebuildIndex(ctx context.Context, l *lock) ([]Note, error) {
	b := &rebuilding{r: r, wounded: map[fileID]*packed{}}
	err := b.run(ctx)
	if err == nil {
		err = l.held(ctx)
	}
	for _, id := range b.old {
		if err == nil {
			err = r.index.remove(ctx, id)
		}
	}
	if err == nil {
		err = r.index.load(ctx)
	}
	return b.notes, err
}

// rebuilding is one rebuildIndex at work.
type rebuilding struct {
	r       *Repo
	old     []fileID
	sums    map[fileID][32]byte
	batch   []packed
	frames  int
	wounded map[fileID]*packed // packs without a footer that can be read
	notes   []Note
}

func (b *rebuilding) run(ctx context.Context) error {
	old, err := b.r.place.List(ctx, indexDir)
	if err != nil {
		return err
	}
	for _, e := range old {
		if id, err := parseFileID(path.Base(e.Name)); err == nil {
			b.old = append(b.old, id)
		}
	}
	if err := b.knownSums(ctx); err != nil {
		return err
	}
	packs, err := b.r.place.List(ctx, packsDir)
	if err != nil {
		return err
	}
	for _, e := range packs {
		if id, err := parseFileID(path.Base(e.Name)); err == nil {
			if err := b.pack(ctx, id, e); err != nil {
				return err
			}
		}
	}
	if err := b.askOld(ctx); err != nil {
		return err
	}
	return b.flush(ctx)
}

// knownSums reads which SHA-256 packs had when they were made. To hash one again
// would make damage look right.
func (b *rebuilding) knownSums(ctx context.Context) error {
	entries, err := b.r.place.List(ctx, sumsDir)
	if err != nil {
		return err
	}
	b.sums = map[fileID][32]byte{}
	for _, e := range entries {
		text, err := place.Read(ctx, b.r.place, e.Name, maxSums)
		if err != nil && !isDamage(err) {
			return err
		}
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			sum, name, _ := strings.Cut(lines.Text(), "  ")
			id, err := parseFileID(path.Base(name))
			full, bad := hex.DecodeString(sum)
			if err == nil && bad == nil && len(full) == 32 && path.Dir(name) == packsDir {
				b.sums[id] = [32]byte(full)
			}
		}
	}
	return nil
}

// pack lists a pack.
func (b *rebuilding) pack(ctx context.Context, id fileID, e place.Entry) error {
	p, err := b.whole(ctx, id)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		return b.add(ctx, p)
	}
	if !isDamage(err) {
		return err
	}
	b.notes = append(b.notes, Note{Kind: "rebuilt", File: packName(id), Size: e.Size, What: "it cannot say what it holds (" + words(err) + "): what can be found of it is listed"})
	if p, _ = b.read(ctx, id, (*packFile).found); ctx.Err() != nil { // what it finds is all there is
		return ctx.Err()
	}
	p.id, p.size = id, e.Size
	b.wounded[id] = &p
	return nil
}

// whole reads what a pack's footer says.
func (b *rebuilding) whole(ctx context.Context, id fileID) (packed, error) {
	return b.read(ctx, id, (*packFile).frames)
}

func (b *rebuilding) read(ctx context.Context, id fileID, frames func(*packFile) ([]frame, error)) (packed, error) {
	sum, known := b.sums[id]
	p, err := b.r.lookInto(ctx, id, frames, !known)
	if known {
		p.sum = sum
	}
	return p, err
}

// add takes up a pack, and makes an index file of those that were when they are
// many.
func (b *rebuilding) add(ctx context.Context, p packed) error {
	b.batch, b.frames = append(b.batch, p), b.frames+len(p.frames)
	if b.frames < indexFrames {
		return nil
	}
	return b.flush(ctx)
}

func (b *rebuilding) flush(ctx context.Context) error {
	if len(b.batch) == 0 {
		return nil
	}
	_, err := writeIndex(ctx, b.r.place, b.r.crypt, b.batch)
	b.batch, b.frames = nil, 0
	return err
}

// askOld adds to packs without a footer what the old index knew of them.
func (b *rebuilding) askOld(ctx context.Context) error {
	if len(b.wounded) == 0 {
		return nil
	}
	for _, id := range b.old {
		if err := b.askFile(ctx, id); err != nil {
			return err
		}
	}
	for _, p := range b.wounded {
		slices.SortStableFunc(p.frames, func(x, y frame) int { return int(min(max(x.offset-y.offset, -1), 1)) })
		p.frames = slices.CompactFunc(p.frames, func(x, y frame) bool { return x.offset == y.offset && x.id == y.id })
		if p.packInfo.frames = uint32(len(p.frames)); len(p.frames) == 0 {
			continue
		}
		if err := b.add(ctx, *p); err != nil {
			return err
		}
	}
	return nil
}

// askFile takes what can be read of an index file.
func (b *rebuilding) askFile(ctx context.Context, id fileID) error {
	file, err := b.r.place.Open(ctx, path.Join(indexDir, id.String()))
	if err != nil {
		return err
	}
	defer file.Close() // it was read only
	f, err := openIndexFile(b.r.crypt, id, file)
	if err != nil {
		if isDamage(err) {
			return nil
		}
		return err
	}
	packs := make([]*packed, f.packs)
	err = f.scanPacks().all(ctx, func(n int64, row []byte) error {
		var info packInfo
		info.parse(row)
		if packs[n] = b.wounded[info.id]; packs[n] != nil {
			packs[n].job, packs[n].size = info.job, info.size
		}
		return nil
	})
	if err != nil && (ctx.Err() != nil || !isDamage(err)) {
		return err
	}
	err = f.scanChunks().all(ctx, func(_ int64, row []byte) error {
		var e entry
		e.parse(row)
		if e.check(f.packs) == nil && packs[e.pack] != nil {
			p := packs[e.pack]
			p.frames = append(p.frames, frame{id: e.id, offset: e.offset, stored: e.length - frameLen})
		}
		return nil
	})
	if err != nil && (ctx.Err() != nil || !isDamage(err)) {
		return err
	}
	return nil
}

// mendIndex lists packs again that no index file can be read to know: a backup
// would store all that is in them anew. It only adds, so that it needs the
// repository not for itself.
func (r *Repo) mendIndex(ctx context.Context) error {
	if !r.index.broken(ctx) {
		return nil
	}
	b := &rebuilding{r: r}
	if err := b.knownSums(ctx); err != nil {
		return err
	}
	packs, err := r.place.List(ctx, packsDir)
	if err != nil {
		return err
	}
	for _, e := range packs {
		id, err := parseFileID(path.Base(e.Name))
		if err != nil {
			continue
		}
		if has, err := r.index.hasPack(id); has && err == nil {
			continue
		}
		p, err := b.whole(ctx, id)
		if err == nil {
			err = b.add(ctx, p)
		}
		if ctx.Err() != nil || err != nil && !isDamage(err) {
			return errors.Join(ctx.Err(), err)
		}
	}
	if err := b.flush(ctx); err != nil {
		return err
	}
	return r.index.load(ctx)
}

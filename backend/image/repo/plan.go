package repo

import (
	"context"
	"fmt"

	"berth/backend"
	"berth/backend/image/disk"
)

// chunkPlan says what to do about one chunk of a disk.
type chunkPlan struct {
	n      int64
	length int              // bytes
	parts  []backend.Extent // to be read, relative to the chunk; none: it is zero or clean
	clean  bool             // nothing of it has changed
}

// bytes is how much is to be read.
func (c *chunkPlan) bytes() (n int64) {
	for _, p := range c.parts {
		n += p.Length
	}
	return n
}

// smallHole is what is rather read than left out, in bytes.
const smallHole = 32 << 10

// planner goes over a disk, chunk by chunk.
type planner struct {
	src         disk.Reader
	incremental bool
	at          int64
	have        []backend.Extent // from at on
}

// next returns the plan for the next chunk; its parts are good until the next
// call. It reports false behind the end.
func (p *planner) next(ctx context.Context, parts []backend.Extent) (c chunkPlan, more bool, err error) {
	size := p.src.Size()
	if p.at >= size {
		return c, false, nil
	}
	start := p.at
	end := min(start+ChunkSize, size)
	c = chunkPlan{n: start / ChunkSize, length: int(end - start), parts: parts[:0]}
	dirty, clean := false, int64(0)
	for p.at < end {
		e, err := p.extent(ctx, end)
		if err != nil {
			return c, false, err
		}
		switch {
		case e.Kind == backend.ExtentZero:
			dirty = true
		case e.Kind == backend.ExtentClean && p.incremental:
			clean += e.Length
			fallthrough
		default:
			dirty = dirty || e.Kind == backend.ExtentData
			c.parts = appendPart(c.parts, backend.Extent{Offset: e.Offset - start, Length: e.Length})
		}
	}
	if clean > 0 && !dirty {
		c.clean = true
	}
	return c, true, nil
}

// appendPart joins parts that are near to each other.
func appendPart(parts []backend.Extent, e backend.Extent) []backend.Extent {
	if n := len(parts); n > 0 {
		if last := &parts[n-1]; e.Offset-(last.Offset+last.Length) <= smallHole {
			last.Length = e.Offset + e.Length - last.Offset
			return parts
		}
	}
	return append(parts, e)
}

// extent takes the next extent, up to end at most.
func (p *planner) extent(ctx context.Context, end int64) (e backend.Extent, err error) {
	if len(p.have) == 0 {
		if p.have, err = p.src.Extents(ctx, p.at, p.src.Size()-p.at); err != nil {
			return e, err
		}
	}
	if len(p.have) == 0 || p.have[0].Offset > p.at || p.have[0].Offset+p.have[0].Length <= p.at {
		return e, fmt.Errorf("%w: the disk does not say what is at %d", backend.ErrInvalid, p.at)
	}
	e = p.have[0]
	stop := e.Offset + e.Length
	if stop <= end {
		p.have = p.have[1:]
	}
	e.Offset, e.Length = p.at, min(stop, end)-p.at
	p.at += e.Length
	return e, nil
}

// toRead is how many bytes of a disk are to be read.
func toRead(ctx context.Context, src disk.Reader, incremental bool) (total int64, err error) {
	p := planner{src: src, incremental: incremental}
	var parts []backend.Extent
	for {
		c, more, err := p.next(ctx, parts)
		if err != nil || !more {
			return total, err
		}
		if parts = c.parts; !c.clean {
			total += c.bytes()
		}
	}
}

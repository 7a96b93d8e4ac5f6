// Package fastzstd compresses chunks of disk images into Zstandard frames
// (RFC 8878) that every decoder of the format reads. It exists because a backup
// of a machine spends most of its time compressing: it goes over programs and
// text half as fast again as klauspost/compress's fastest level, for frames a
// few percent larger. The literals' Huffman coding is klauspost's huff0.
//
// It finds matches as zstd's level 1 does, with one table of hashes and the
// last two offsets, and gives up nothing that a reader could miss: frames have
// their content's size, one segment, and no checksum.
package fastzstd

import (
	"encoding/binary"

	"github.com/klauspost/compress/huff0"
)

// MaxSize is the largest content of a frame, in bytes.
const MaxSize = 1 << 20

// maxBlock is the largest content of a block (RFC 8878, 3.1.1.2.4).
const maxBlock = 128 << 10

// Block types (RFC 8878, 3.1.1.2.2).
const (
	blockRaw        = 0
	blockCompressed = 2
)

// Encoder makes frames, for one goroutine at a time. Its zero value is ready.
type Encoder struct {
	table   [1 << hashBits]uint32 // where a hash was seen last
	offsets [2]uint32             // the last two offsets, as a decoder knows them
	found   matches
	coders  [3]coder // of the kinds of codes
	stream  []byte   // of a block's sequences
	huff    huff0.Scratch
	limit   int // what dst may grow to
}

// Append appends a frame with content to dst, of at most limit bytes, and
// reports whether content, of at most MaxSize, goes into one. It never lets dst
// grow beyond that meanwhile.
func (e *Encoder) Append(dst, content []byte, limit int) (out []byte, ok bool) {
	const head, sizeInFourBytes, singleSegment = 9, 2 << 6, 1 << 5
	if len(content) > MaxSize || limit < head {
		return dst, false
	}
	before := len(dst)
	e.limit = before + limit
	dst = append(dst, 0x28, 0xb5, 0x2f, 0xfd, sizeInFourBytes|singleSegment)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(content)))
	clear(e.table[:])
	e.offsets = [2]uint32{1, 4} // RFC 8878, 3.1.1.5
	e.huff.Reuse = huff0.ReusePolicyNone
	for from := 0; ; from += maxBlock {
		to := min(from+maxBlock, len(content))
		if dst, ok = e.appendBlock(dst, content[:to], from, to == len(content)); !ok {
			return dst[:before], false
		}
		if to == len(content) {
			return dst, true
		}
	}
}

// appendBlock appends the block seen[from:], raw where compression does not
// pay, and reports whether there was room.
func (e *Encoder) appendBlock(dst, seen []byte, from int, last bool) (out []byte, ok bool) {
	offsets, size, head := e.offsets, len(seen)-from, len(dst)
	e.find(seen, from)
	kind := blockCompressed
	out, ok = e.appendCompressed(append(dst, 0, 0, 0), head+3+size)
	if !ok {
		// A decoder learns nothing from a raw block.
		e.offsets, e.huff.Reuse = offsets, huff0.ReusePolicyNone
		kind = blockRaw
		if out = out[:head+3]; len(out)+size > e.limit {
			return out, false
		}
		out = append(out, seen[from:]...)
	}
	header := (len(out)-head-3)<<3 | kind<<1
	if last {
		header |= 1
	}
	out[head], out[head+1], out[head+2] = byte(header), byte(header>>8), byte(header>>16)
	return out, true
}

// appendCompressed appends what was found, if dst does not grow to raw, which
// it would without compression, or beyond the limit.
func (e *Encoder) appendCompressed(dst []byte, raw int) (out []byte, ok bool) {
	most := min(raw-1, e.limit)
	header, literals := e.codeLiterals(e.found.literals[:e.found.copied])
	if len(dst)+len(header)+len(literals) > most {
		return dst, false
	}
	dst = append(append(dst, header...), literals...)
	sequences := e.codeSequences()
	if len(dst)+len(sequences) > most {
		return dst, false
	}
	return append(dst, sequences...), true
}

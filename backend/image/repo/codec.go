package repo

import (
	"bytes"
	"fmt"

	"berth/backend/image/repo/fastzstd"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"
)

// codec compresses, decompresses and names chunks, for one goroutine.
type codec struct {
	crypt *crypt
	hash  *blake3.Hasher
	enc   *fastzstd.Encoder
	dec   *zstd.Decoder
}

func newCodec(c *crypt) *codec { return &codec{crypt: c, hash: c.hasher()} }

func (c *codec) id(content []byte) ChunkID { return sumID(c.hash, content) }

// compress appends content to dst, compressed, and reports whether that is
// worth it: a thirtysecond less.
func (c *codec) compress(dst, content []byte) (out []byte, ok bool) {
	if len(content) < 64 {
		return dst, false
	}
	if c.enc == nil {
		c.enc = new(fastzstd.Encoder)
	}
	return c.enc.Append(dst, content, len(content)-len(content)/32)
}

// unpack returns a chunk's content, in the memory of dst, a buffer, or of
// stored. It has checked length and id.
func (c *codec) unpack(dst []byte, f *frame, stored []byte) ([]byte, error) {
	content := stored
	if f.alg == algZstd {
		if c.dec == nil {
			d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(ChunkSize),
				zstd.WithDecoderMaxWindow(ChunkSize), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true))
			if err != nil {
				return nil, fmt.Errorf("zstd: %w", err)
			}
			c.dec = d
		}
		var err error
		if content, err = c.dec.DecodeAll(stored, dst[frameLen:frameLen:frameLen+ChunkSize]); err != nil {
			return nil, damaged("chunk %s: %w", f.id, err)
		}
	}
	if len(content) != int(f.raw) {
		return nil, damaged("chunk %s has %d bytes instead of %d", f.id, len(content), f.raw)
	}
	if c.id(content) != f.id {
		return nil, damaged("chunk %s: its content is another", f.id)
	}
	return content, nil
}

// close lets go of what the compressor holds.
func (c *codec) close() {
	if c.dec != nil {
		c.dec.Close()
	}
}

var zeroes [64 << 10]byte

// isZero reports whether b is all zeroes.
func isZero(b []byte) bool {
	for len(b) > len(zeroes) {
		if !bytes.Equal(b[:len(zeroes)], zeroes[:]) {
			return false
		}
		b = b[len(zeroes):]
	}
	return bytes.Equal(b, zeroes[:len(b)])
}

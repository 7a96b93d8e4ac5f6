package repo

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/zeebo/blake3"

	"berth/backend"
)

// The parts of a pack, as FORMAT.md has them. Nothing here reads or writes
// files; every length is checked before it is believed.

const (
	packMagic   = "berthpk1"
	packEnd     = "berthend"
	packHeadLen = 128
	frameLen    = 72 // before a frame's payload
	recordLen   = 56 // of a frame in the footer
	trailerLen  = 40

	maxFrames = 1 << 16 // in a pack, so that its footer fits into memory
)

const flagEncrypted = 1

// algorithm says how a chunk is stored.
type algorithm uint8

const (
	algRaw  algorithm = 0
	algZstd algorithm = 1
)

// chunkKind says what a chunk is a part of.
type chunkKind uint8

const (
	kindData chunkKind = 1
	kindMap  chunkKind = 2
	kindFile chunkKind = 3
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// damaged says what is wrong with something stored.
func damaged(format string, a ...any) error {
	return fmt.Errorf("%w: %w", backend.ErrDamaged, fmt.Errorf(format, a...))
}

// packHead is how a pack begins.
type packHead struct {
	encrypted bool
	repo      fileID
	pack      fileID
	salt      [32]byte // what the key of its frames is derived with
	job       fileID   // the job that wrote it
	created   time.Time
}

func (h *packHead) marshal() []byte {
	b := make([]byte, 0, packHeadLen)
	b = append(b, packMagic...)
	b = binary.BigEndian.AppendUint32(b, flags(h.encrypted))
	b = binary.BigEndian.AppendUint32(b, 0)
	b = append(b, h.repo[:]...)
	b = append(b, h.pack[:]...)
	b = append(b, h.salt[:]...)
	b = append(b, h.job[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.created.Unix()))
	b = append(b, make([]byte, 8)...)
	sum := checksumOf(nil, b, nil)
	return append(b, sum[:]...)
}

func flags(encrypted bool) uint32 {
	if encrypted {
		return flagEncrypted
	}
	return 0
}

func parsePackHead(b []byte) (h packHead, err error) {
	if len(b) < packHeadLen || string(b[:8]) != packMagic {
		return h, damaged("it does not begin as a pack does")
	}
	sum := checksumOf(nil, b[:packHeadLen-tagSize], nil)
	if !bytes.Equal(sum[:], b[packHeadLen-tagSize:packHeadLen]) {
		return h, damaged("its header: %w", errChecksum)
	}
	if f := binary.BigEndian.Uint32(b[8:]); f&^flagEncrypted != 0 {
		return h, fmt.Errorf("%w: a pack with flags %#x, of a later version of berth", backend.ErrUnsupported, f)
	}
	h.encrypted = b[11] == flagEncrypted
	copy(h.repo[:], b[16:])
	copy(h.pack[:], b[32:])
	copy(h.salt[:], b[48:])
	copy(h.job[:], b[80:])
	h.created = time.Unix(int64(binary.BigEndian.Uint64(b[96:])), 0).UTC()
	return h, nil
}

// frame describes one chunk in a pack.
type frame struct {
	offset int64  // of its first byte
	stored uint32 // bytes of payload, with the tag
	raw    uint32 // bytes of the chunk
	alg    algorithm
	kind   chunkKind
	crc    uint32 // CRC32C of the payload
	id     ChunkID
}

// size is how many bytes of the pack it takes.
func (f *frame) size() int64 { return frameLen + int64(f.stored) }

// check bounds what a frame says of itself.
func (f *frame) check() error {
	if f.raw == 0 || f.raw > ChunkSize || f.stored == 0 || f.stored > ChunkSize+tagSize {
		return damaged("a chunk of %d bytes stored as %d", f.raw, f.stored)
	}
	if f.alg > algZstd || f.kind < kindData || f.kind > kindFile {
		return damaged("a chunk of algorithm %d, kind %d", f.alg, f.kind)
	}
	return nil
}

// appendFields writes all but the offset.
func (f *frame) appendFields(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, f.stored)
	b = binary.BigEndian.AppendUint32(b, f.raw)
	b = append(b, byte(f.alg), byte(f.kind), 0, 0)
	b = binary.BigEndian.AppendUint32(b, f.crc)
	return append(b, f.id[:]...)
}

func (f *frame) parseFields(b []byte) error {
	f.stored = binary.BigEndian.Uint32(b)
	f.raw = binary.BigEndian.Uint32(b[4:])
	f.alg, f.kind = algorithm(b[8]), chunkKind(b[9])
	f.crc = binary.BigEndian.Uint32(b[12:])
	copy(f.id[:], b[16:])
	return f.check()
}

// sealFrame makes a frame of buf, which has frameLen bytes of room and then
// the chunk as it is to be stored, and returns all of it. Number is used for
// this frame alone. buf has room for the tag.
func sealFrame(c *crypt, a cipher.AEAD, number uint64, f *frame, buf []byte) []byte {
	if c.overhead() > 0 {
		buf = a.Seal(buf[:frameLen], nonce(nonceChunk, number), buf[frameLen:], f.id[:])
	}
	f.stored = uint32(len(buf) - frameLen)
	f.crc = crc32.Checksum(buf[frameLen:], castagnoli)
	head := binary.BigEndian.AppendUint64(buf[:0], number)
	var fields [recordLen - 8]byte
	a.Seal(head, nonce(nonceHead, number), f.appendFields(fields[:0]), nil)
	return buf
}

// openFrame reads the head of a frame.
func openFrame(a cipher.AEAD, b []byte) (f frame, number uint64, err error) {
	if len(b) < frameLen {
		return f, 0, damaged("a frame of %d bytes", len(b))
	}
	number = binary.BigEndian.Uint64(b)
	var fields [recordLen]byte
	plain, err := a.Open(fields[:0], nonce(nonceHead, number), b[8:frameLen], nil)
	if err != nil {
		return f, 0, damaged("a frame's head: %w", err)
	}
	return f, number, f.parseFields(plain)
}

// openPayload checks a frame's payload and returns the chunk as it was stored,
// in the memory of payload.
func openPayload(c *crypt, a cipher.AEAD, number uint64, f *frame, payload []byte) ([]byte, error) {
	if len(payload) != int(f.stored) || crc32.Checksum(payload, castagnoli) != f.crc {
		return nil, damaged("chunk %s: its CRC is wrong", f.id)
	}
	if c.overhead() == 0 {
		return payload, nil
	}
	plain, err := a.Open(payload[:0], nonce(nonceChunk, number), payload, f.id[:])
	if err != nil {
		return nil, damaged("chunk %s: %w", f.id, err)
	}
	return plain, nil
}

// sealFooter makes what follows the last frame, up to the end of the pack.
func sealFooter(a cipher.AEAD, number uint64, head []byte, frames []frame, offset int64) []byte {
	plain := make([]byte, 0, len(frames)*recordLen)
	for i := range frames {
		plain = binary.BigEndian.AppendUint64(plain, uint64(frames[i].offset))
		plain = frames[i].appendFields(plain)
	}
	b := make([]byte, 0, len(plain)+tagSize+trailerLen)
	b = a.Seal(b, nonce(nonceFooter, number), plain, head)
	t := trailer{number: number, offset: offset, count: len(frames)}
	return append(b, t.marshal()...)
}

// trailer is the last part of a pack; it tells where the footer is.
type trailer struct {
	number uint64
	offset int64 // of the footer
	count  int   // of frames
}

func (t *trailer) marshal() []byte {
	b := make([]byte, 0, trailerLen)
	b = binary.BigEndian.AppendUint64(b, t.number)
	b = binary.BigEndian.AppendUint64(b, uint64(t.offset))
	b = binary.BigEndian.AppendUint64(b, uint64(t.count))
	sum := blake3.Sum256(b)
	b = append(b, sum[:8]...)
	return append(b, packEnd...)
}

// parseTrailer reads the end of a pack that has size bytes.
func parseTrailer(b []byte, size int64) (t trailer, err error) {
	if len(b) != trailerLen || string(b[32:]) != packEnd {
		return t, damaged("it does not end as a pack does")
	}
	if sum := blake3.Sum256(b[:24]); !bytes.Equal(sum[:8], b[24:32]) {
		return t, damaged("its trailer: %w", errChecksum)
	}
	offset, count := binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
	if count > maxFrames || offset < packHeadLen || offset > MaxPackSize*2 ||
		int64(offset)+int64(count)*recordLen+tagSize+trailerLen != size {
		return t, damaged("a footer of %d frames at %d in a pack of %d bytes", count, offset, size)
	}
	return trailer{number: binary.BigEndian.Uint64(b), offset: int64(offset), count: int(count)}, nil
}

// openFooter reads the list of frames.
func openFooter(a cipher.AEAD, t trailer, head, sealed []byte) ([]frame, error) {
	plain, err := a.Open(nil, nonce(nonceFooter, t.number), sealed, head)
	if err != nil {
		return nil, damaged("its footer: %w", err)
	}
	if len(plain) != t.count*recordLen {
		return nil, damaged("its footer has %d bytes for %d frames", len(plain), t.count)
	}
	frames := make([]frame, t.count)
	end := int64(packHeadLen)
	for i := range frames {
		b, f := plain[i*recordLen:], &frames[i]
		f.offset = int64(binary.BigEndian.Uint64(b))
		if err := f.parseFields(b[8:recordLen]); err != nil {
			return nil, err
		}
		if f.offset != end || f.offset+f.size() > t.offset {
			return nil, damaged("its footer: frame %d is said to be at %d", i, f.offset)
		}
		end += f.size()
	}
	if end != t.offset {
		return nil, damaged("its footer does not tell of all frames")
	}
	return frames, nil
}

package repo

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"berth/backend/image/place"
)

// A box is a small sealed file: a header and JSON, compressed and filled up
// to a whole number of boxGrain, so that its size tells little.

const (
	boxMagic   = "berthbx1"
	boxHeadLen = 64
	boxGrain   = 4096
	maxBox     = 16 << 20 // bytes of JSON
)

// boxKind says what a box is for, so that none passes for another.
type boxKind uint32

const (
	boxPoint boxKind = 1
	boxJob   boxKind = 2
	boxMark  boxKind = 3
)

func (c *crypt) boxHead(kind boxKind, salt []byte) []byte {
	b := make([]byte, 0, boxHeadLen)
	b = append(b, boxMagic...)
	b = binary.BigEndian.AppendUint16(b, uint16(flags(c.master != nil)))
	b = binary.BigEndian.AppendUint16(b, uint16(kind))
	b = append(b, make([]byte, 4)...)
	b = append(b, c.repo[:]...)
	return append(b, salt...)
}

// sealBox makes a box of v's JSON.
func (c *crypt) sealBox(kind boxKind, v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(plain) > maxBox {
		return nil, fmt.Errorf("%d bytes of JSON are more than the repository takes (%d)", len(plain), maxBox)
	}
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(ChunkSize))
	if err != nil {
		return nil, err
	}
	defer e.Close()
	small := e.EncodeAll(plain, make([]byte, 4, boxGrain))
	binary.BigEndian.PutUint32(small, uint32(len(small)-4))
	small = append(small, make([]byte, boxGrain-1-(len(small)-1)%boxGrain)...)
	salt := make([]byte, 32)
	rand.Read(salt) // never fails (crypto/rand)
	head := c.boxHead(kind, salt)
	return c.aead("box", salt).Seal(head, nonce(nonceBox, 0), small, head), nil
}

// openBox reads what sealBox made.
func (c *crypt) openBox(kind boxKind, b []byte, v any) error {
	if len(b) < boxHeadLen+boxGrain {
		return damaged("it has %d bytes", len(b))
	}
	head := b[:boxHeadLen]
	salt := head[32:]
	if !bytes.Equal(head, c.boxHead(kind, salt)) {
		return damaged("its header is not what it should be")
	}
	small, err := c.aead("box", salt).Open(nil, nonce(nonceBox, 0), b[boxHeadLen:], head)
	if err != nil {
		return damaged("%w", err)
	}
	n := binary.BigEndian.Uint32(small)
	if int64(n)+4 > int64(len(small)) {
		return damaged("%d bytes in a box of %d", n, len(small))
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBox), zstd.WithDecoderLowmem(true))
	if err != nil {
		return err
	}
	defer d.Close()
	plain, err := d.DecodeAll(small[4:4+n], nil)
	if err != nil {
		return damaged("%w", err)
	}
	if err := json.Unmarshal(plain, v); err != nil {
		return damaged("%w", err)
	}
	return nil
}

// boxID names a box by what is in the file: the first half of its SHA-256.
func boxID(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

func readBox(ctx context.Context, p place.Place, c *crypt, kind boxKind, name string, v any) ([]byte, error) {
	b, err := place.Read(ctx, p, name, maxBox+boxHeadLen+boxGrain)
	if err != nil {
		return nil, err
	}
	if err := c.openBox(kind, b, v); err != nil {
		return b, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

package repo

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"
)

// fileID names packs and index files, and the repository.
type fileID [16]byte

func newFileID() (id fileID) {
	rand.Read(id[:]) // never fails (crypto/rand)
	return id
}

func (id fileID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText makes it hexadecimal in JSON.
func (id fileID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText made.
func (id *fileID) UnmarshalText(text []byte) error { return unhex(id[:], string(text)) }

func parseFileID(s string) (id fileID, err error) { return id, unhex(id[:], s) }

// unhex fills dst from exactly as many hexadecimal digits as it takes.
func unhex(dst []byte, s string) error {
	if len(s) != 2*len(dst) {
		return fmt.Errorf("%q does not have %d hexadecimal digits", s, 2*len(dst))
	}
	_, err := hex.Decode(dst, []byte(s))
	return err
}

// tagSize is what sealing adds, in bytes.
const tagSize = 16

// What nonces begin with, so that no two things of one key have the same.
const (
	nonceHead   = 1
	nonceChunk  = 2
	nonceFooter = 3
	noncePage   = 4
	nonceBox    = 5
)

// nonce is a purpose and a number that is used once for it under a key.
func nonce(purpose uint32, number uint64) []byte {
	b := make([]byte, 0, 12)
	b = binary.BigEndian.AppendUint32(b, purpose)
	return binary.BigEndian.AppendUint64(b, number)
}

// crypt seals and names what a repository holds.
type crypt struct {
	repo   fileID
	master []byte // 32 bytes; nil: not encrypted
}

// derive makes a key for one use, by BLAKE3's derive_key.
func (c *crypt) derive(use string, salt []byte) []byte {
	key := make([]byte, 32)
	blake3.DeriveKey("berth repository 1 "+use, append(append([]byte{}, c.master...), salt...), key)
	return key
}

// aead seals for one use: AES-256-GCM, or in a repository that is not
// encrypted a checksum that finds damage.
func (c *crypt) aead(use string, salt []byte) cipher.AEAD {
	if c.master == nil {
		return checksum{}
	}
	block, err := aes.NewCipher(c.derive(use, salt))
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // the block has 16 bytes
	}
	return gcm
}

// hasher makes the ids of chunks.
func (c *crypt) hasher() *blake3.Hasher {
	if c.master == nil {
		return blake3.New()
	}
	h, err := blake3.NewKeyed(c.derive("chunk id", nil))
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	return h
}

// sumID is the id of content.
func sumID(h *blake3.Hasher, content []byte) (id ChunkID) {
	h.Reset()
	h.Write(content) // never fails
	h.Sum(id[:0])
	return id
}

// overhead is what sealing the content of a chunk adds.
func (c *crypt) overhead() int {
	if c.master == nil {
		return 0 // its id and its CRC find any damage
	}
	return tagSize
}

// checksum is a cipher.AEAD that keeps nothing secret: what it appends are the
// first 16 bytes of the BLAKE3 of the additional data, the nonce, and the text.
type checksum struct{}

var errChecksum = errors.New("the checksum is wrong")

func (checksum) NonceSize() int { return 12 }
func (checksum) Overhead() int  { return tagSize }

func (checksum) Seal(dst, nonce, text, extra []byte) []byte {
	sum := checksumOf(nonce, text, extra)
	return append(append(dst, text...), sum[:]...)
}

func (checksum) Open(dst, nonce, sealed, extra []byte) ([]byte, error) {
	if len(sealed) < tagSize {
		return nil, errChecksum
	}
	text, tag := sealed[:len(sealed)-tagSize], sealed[len(sealed)-tagSize:]
	sum := checksumOf(nonce, text, extra)
	if subtle.ConstantTimeCompare(sum[:], tag) == 0 {
		return nil, errChecksum
	}
	return append(dst, text...), nil
}

func checksumOf(nonce, text, extra []byte) (sum [tagSize]byte) {
	h := blake3.New()
	h.Write(extra)
	h.Write(nonce)
	h.Write(text)
	var full [32]byte
	h.Sum(full[:0])
	copy(sum[:], full[:])
	return sum
}

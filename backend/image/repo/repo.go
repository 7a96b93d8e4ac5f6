// Package repo is the backup repository: chunks of disks, kept once each in
// packs, and points in time that are made of them. ../FORMAT.md tells how it
// lies on the place that holds it.
//
// A repository is used by several processes at once. What is written is only
// ever added, under names nobody else takes, and nothing counts before the
// manifest that names it is there; only Prune removes, alone.
package repo

import (
	"context"
	"encoding/hex"
	"time"

	"filippo.io/age"
	"golang.org/x/time/rate"

	"berth/backend"
	"berth/backend/image/place"
)

// ChunkID names a chunk by its content: BLAKE3, keyed in an encrypted
// repository. The zero ChunkID stands for a chunk of zeroes, which is not kept.
type ChunkID [32]byte

// IsZero reports whether the chunk is all zeroes.
func (id ChunkID) IsZero() bool { return id == ChunkID{} }

// String is the id in hexadecimal.
func (id ChunkID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText makes it hexadecimal in JSON.
func (id ChunkID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText made.
func (id *ChunkID) UnmarshalText(text []byte) error { return unhex(id[:], string(text)) }

// ChunkSize is how much of a disk one chunk holds, in bytes, aligned to it.
// The last one of a disk may be shorter.
const ChunkSize = 1 << 20

// Secret opens an encrypted repository; the zero Secret opens one that is not
// encrypted.
type Secret struct {
	Passphrase []byte
	Identities []age.Identity
	Keyring    *Keyring // remembers what the passphrase is stretched to; nil: nothing does
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return len(s.Passphrase) == 0 && len(s.Identities) == 0 }

// InitOptions say how to make a repository.
type InitOptions struct {
	// Secret's passphrase and Recipients can open it; without either it is not
	// encrypted.
	Secret     Secret
	Recipients []age.Recipient
	// PackSize is how large its pack files may become, in bytes (MinPackSize to
	// MaxPackSize); 0: DefaultPackSize.
	PackSize int64
	Label    string // for people
}

// Sizes of pack files, in bytes.
const (
	MinPackSize     = 4 << 20
	DefaultPackSize = 64 << 20
	MaxPackSize     = 64 << 30
)

// Options say how to open a repository.
type Options struct {
	// CacheDir keeps copies of the index of repositories that are not on this
	// machine; empty: each lookup asks the place.
	CacheDir string
	Workers  int              // that compress or decompress; 0: as many as there are cores, but at most 8
	Now      func() time.Time // nil: time.Now
}

// WriteOptions say how to write a backup.
type WriteOptions struct {
	// Job names the journal: a later Begin with the same name goes on from what
	// was written. Empty: one of its own.
	Job string
	// Base is the point that incremental disks go on from.
	Base  *Manifest
	Limit *rate.Limiter // bytes read a second; its burst may be any; nil: none
	// Gate is called before each read and may wait: a pause. It returns an error
	// to end the work. nil: none.
	Gate     func(ctx context.Context) error
	Progress func(WriteProgress) // called now and then, from one goroutine at a time
}

// WriteProgress is how far AddDisk is.
type WriteProgress struct {
	Disk  string
	Done  int64 // bytes of the disk that were read
	Total int64 // bytes of the disk that are to be read
	New   int64 // bytes of Done that the repository did not have, over all disks of the Writer
	Out   int64 // bytes that those take
	// Waits names the stage that the others wait for: "reading", "compressing" or
	// "writing"; "the limit" when that holds them; empty: not known.
	Waits string
}

// RestoreOptions say how to restore a disk.
type RestoreOptions struct {
	Limit    *rate.Limiter                   // bytes written a second; nil: none
	Gate     func(ctx context.Context) error // as in WriteOptions
	Progress func(RestoreProgress)
}

// RestoreProgress is how far Restore is.
type RestoreProgress struct {
	Done, Total int64 // bytes to be written; holes are not counted
}

// Key is one way to open the repository.
type Key struct {
	ID      string
	Kind    string // "passphrase" or "age"
	Created time.Time
	Label   string
}

// Repo is an open repository. Its methods may be called from several
// goroutines.
type Repo struct {
	place   place.Place
	conf    config
	crypt   *crypt
	opts    Options
	index   *index
	buffers *buffers
}

// Place is what holds it.
func (r *Repo) Place() place.Place { return r.place }

// ID names the repository, in 32 hexadecimal digits.
func (r *Repo) ID() string { return r.conf.ID }

// Label is what its maker called it.
func (r *Repo) Label() string { return backend.Clean(r.conf.Label) }

// Encrypted reports whether it is.
func (r *Repo) Encrypted() bool { return r.conf.Encrypted }

// Created is when it was made.
func (r *Repo) Created() time.Time { return r.conf.Created }

func (r *Repo) now() time.Time { return r.opts.Now() }

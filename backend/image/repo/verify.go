package repo

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

// VerifyOptions say what to read back.
type VerifyOptions struct {
	// Points are IDs or beginnings of them; empty: the whole repository, with what
	// no point needs.
	Points []string
	// Sample is the part of the chunks to read, in percent, chosen at random with
	// Seed; 0: all.
	Sample float64
	Seed   uint64
	Limit  *rate.Limiter                   // bytes read a second; nil: none
	Gate   func(ctx context.Context) error // as in WriteOptions
	// Progress is called now and then, from one goroutine at a time.
	Progress func(VerifyProgress)
}

// VerifyProgress is how far Verify is.
type VerifyProgress struct {
	Done, Total int64 // bytes of the repository's files
	Damages     int
}

// Verify reads back packs and manifests, decrypts, decompresses and hashes
// every chunk, and names each that is not what was written, with all that it
// touches. Points that were read back whole, or found damaged, are marked so
// (Marks). An error means that it could not be looked at; damage is in the
// report alone.
func (r *Repo) Verify(ctx context.Context, o VerifyOptions) (Report, error) {
	return Report{}, errSoon
}

// Mark is what is known of a point from verifying it.
type Mark struct {
	// Verified is when it was last read back whole and found right; zero: never.
	Verified time.Time `json:"verified,omitzero"`
	// Damaged says what is wrong with it, found at Found; empty: nothing is known
	// to be.
	Damaged string    `json:"damaged,omitempty"`
	Found   time.Time `json:"found,omitzero"`
}

// Marks returns what is known of points, by their IDs.
func (r *Repo) Marks(ctx context.Context) (map[string]Mark, error) { return nil, errSoon }

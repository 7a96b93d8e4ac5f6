package repo

import (
	"fmt"
	"time"

	"berth/backend"
)

// Report is what Verify or Check found.
type Report struct {
	Repo string // its ID
	At   time.Time
	Took time.Duration
	// What was looked at: files of the repository, points, chunks (each counted
	// once), and the bytes that were read from the place for it.
	Packs, Points, Chunks int
	Bytes                 int64
	// Sample is the part of the chunks that was read back, in percent, chosen with
	// Seed; 100: all that the points asked about are made of. Check reads none.
	Sample float64
	Seed   uint64
	// Damages are what is lost or wrong, Notes what is odd and harmless or has
	// been put right.
	Damages []Damage
	Notes   []Note
	// Verified are the points that were read back whole and are right.
	Verified []string
}

// OK reports whether nothing is damaged.
func (r *Report) OK() bool { return len(r.Damages) == 0 }

// Rate is how many bytes were read a second.
func (r *Report) Rate() int64 {
	if r.Took <= 0 {
		return 0
	}
	return int64(float64(r.Bytes) / r.Took.Seconds())
}

// DamageKind says what kind of thing is damaged.
type DamageKind string

// What may be damaged.
const (
	DamagedPack     DamageKind = "pack"     // a file of chunks, or what lies between them
	DamagedChunk    DamageKind = "chunk"    // one chunk in a pack
	DamagedManifest DamageKind = "manifest" // a point in time
	DamagedIndex    DamageKind = "index"    // can be rebuilt
	DamagedKey      DamageKind = "key"      // one of the ways to open the repository
	DamagedConfig   DamageKind = "config"
	DamagedSums     DamageKind = "sums" // SHA256SUMS; can be rebuilt
	DamagedOther    DamageKind = "other"
)

// Damage is one thing that is not what was written.
type Damage struct {
	Kind DamageKind
	File string // relative to the place
	// Offset and Length are the stretch of the file, in bytes, where known.
	Offset, Length int64
	Chunk          ChunkID // of a chunk
	What           string  // what is wrong, in words
	// Rebuild: nothing is lost; Check with Rebuild makes it anew.
	Rebuild bool
	// Touches are the parts of points that cannot be restored for it.
	Touches []Touch

	row int // one more than its row in the census; 0: none
}

// String reads "packs/ab…: chunk 12ab… at 4096: its content is not what was
// written; touches web1@2026-11-23 21:00 vda 1048576+1048576".
func (d Damage) String() string {
	s := d.File
	if d.Kind == DamagedChunk {
		s += fmt.Sprintf(": chunk %.12s… at %d", d.Chunk, d.Offset)
	}
	s += ": " + d.What
	for i, t := range d.Touches {
		if i == 0 {
			s += "; touches "
		} else {
			s += ", "
		}
		if i == 5 {
			return s + fmt.Sprintf("and %d more", len(d.Touches)-i)
		}
		s += t.String()
	}
	return s
}

// Touch is a part of a point.
type Touch struct {
	Point  string // Manifest.ID; empty: every point
	VM     backend.UUID
	Name   string
	At     time.Time
	Disk   string // target; empty: File, or the whole point
	File   string // kind and path of a small file
	Offset int64  // bytes of the disk
	Length int64
}

// String reads "web1@2026-11-23 21:00:00 vda 1048576+1048576".
func (t Touch) String() string {
	s := backend.Clean(t.Name) + "@" + t.At.UTC().Format(time.DateTime)
	switch {
	case t.Disk != "":
		s += fmt.Sprintf(" %s %d+%d", backend.Clean(t.Disk), t.Offset, t.Length)
	case t.File != "":
		s += " " + backend.Clean(t.File)
	}
	return s
}

// Note is something to know that is no damage.
type Note struct {
	Kind string // "orphan", "draft", "job", "lock", "rebuilt", "foreign", "healed", "marks"
	File string
	Size int64
	What string
}

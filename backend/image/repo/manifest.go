package repo

import (
	"time"

	"berth/backend"
)

// Manifest describes one point in time of a VM. It holds no chunk maps, but
// where they are.
type Manifest struct {
	ID       string       `json:"-"` // 32 hexadecimal digits; what the file is called
	VM       backend.UUID `json:"-"`
	Name     string       `json:"name"`
	Host     string       `json:"host"`
	Owner    string       `json:"owner,omitempty"`
	At       time.Time    `json:"at"`       // the moment that its disks are of
	Finished time.Time    `json:"finished"` // set by Commit
	Running  bool         `json:"running,omitempty"`
	Quiesced bool         `json:"quiesced,omitempty"`
	Full     bool         `json:"full,omitempty"` // all disks were read whole
	Why      string       `json:"why,omitempty"`  // why it is full
	// Checkpoint is libvirt's, that the next incremental one goes on from.
	Checkpoint string   `json:"checkpoint,omitempty"`
	Base       string   `json:"base,omitempty"` // ID of the point that it was made from; for people
	Tags       []string `json:"tags,omitempty"`
	Disks      []Disk   `json:"disks"`  // in the order of AddDisk; set by Commit
	Files      []File   `json:"files"`  // set by Commit
	Read       int64    `json:"read"`   // bytes read, set by Commit
	New        int64    `json:"new"`    // bytes of Read that the repository did not have, set by Commit
	Stored     int64    `json:"stored"` // bytes that those take, set by Commit
}

// Disk is one disk of a point.
type Disk struct {
	Target string `json:"target"`
	Path   string `json:"path,omitempty"`
	Format string `json:"format,omitempty"`
	Size   int64  `json:"size"`           // bytes that the guest sees; set by AddDisk
	Data   int64  `json:"data"`           // bytes in chunks that are not zero; set by AddDisk
	Read   int64  `json:"read"`           // bytes read; set by AddDisk
	Full   bool   `json:"full,omitempty"` // it was read whole; set by AddDisk
	Why    string `json:"why,omitempty"`
	Map    Map    `json:"map"`
}

// Map is the root of a disk's list of chunks. It is a tree, of which each node
// is a chunk that lists up to MapFanout others.
type Map struct {
	Root  ChunkID `json:"root"`  // zero: the disk is all zeroes
	Depth int     `json:"depth"` // how many nodes are above a disk's chunk, at least 1
}

// MapFanout is how many chunks one node of a Map lists.
const MapFanout = 1024

// File is a small file of a point.
type File struct {
	Kind   string    `json:"kind"` // "xml", "stored-xml", "nvram", "tpm", "snapshot", "checkpoint"
	Path   string    `json:"path,omitempty"`
	Size   int64     `json:"size"`
	Chunks []ChunkID `json:"chunks"`
}

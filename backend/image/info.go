package image

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/backend"
)

// Info describes one image file of this machine.
type Info struct {
	Path     string
	Format   string // "qcow2", "raw", ...
	Virtual  int64  // bytes that a guest sees
	Real     int64  // bytes that it takes
	Modified time.Time
	// Backing is the chain below it, nearest first. The last one may be what
	// cannot be followed: then Trouble says why.
	Backing     []Backing
	Snapshots   []Snapshot // internal ones
	Bitmaps     []Bitmap
	Compression string // "zlib" or "zstd" of qcow2
	Cluster     int64  // bytes; 0: the format has none
	Encrypted   bool
	Corrupt     bool // marked so by QEMU
	InUse       bool // QEMU has it open
	Trouble     string
}

// Backing is an image below another.
type Backing struct {
	Path, Format string
}

// Snapshot is an internal one.
type Snapshot struct {
	ID, Name string
	At       time.Time
	State    int64 // bytes of the machine's memory that it holds
}

// Bitmap is a dirty bitmap that the image keeps.
type Bitmap struct {
	Name        string
	Granularity int64
	InUse       bool // it was not closed: of no use
}

// maxChain bounds a backing chain.
const maxChain = 200

// qemuInfo is what qemu-img info prints; see ImageInfo in QEMU's
// qapi/block-core.json.
type qemuInfo struct {
	Format        string `json:"format"`
	Virtual       int64  `json:"virtual-size"`
	Actual        int64  `json:"actual-size"`
	Cluster       int64  `json:"cluster-size"`
	Encrypted     bool   `json:"encrypted"`
	Backing       string `json:"backing-filename"`
	BackingFull   string `json:"full-backing-filename"`
	BackingFormat string `json:"backing-filename-format"`
	Snapshots     []struct {
		ID      string `json:"id"`
		Name    string `json:"name"`
		State   int64  `json:"vm-state-size"`
		DateSec int64  `json:"date-sec"`
	} `json:"snapshots"`
	Specific struct {
		Data struct {
			Compression string `json:"compression-type"`
			Corrupt     bool   `json:"corrupt"`
			Bitmaps     []struct {
				Name        string   `json:"name"`
				Granularity int64    `json:"granularity"`
				Flags       []string `json:"flags"`
			} `json:"bitmaps"`
		} `json:"data"`
	} `json:"format-specific"`
}

// Inspect describes an image, without locking it. format is what it is known
// to be, or empty: then it is looked for, which a guest can mislead when the
// image is raw. Of the images below it only local files are looked at: their
// names come out of images, too.
func Inspect(ctx context.Context, path, format string) (*Info, error) {
	st, err := regular("read", path)
	if err != nil {
		return nil, err
	}
	q, err := ask(ctx, path, format)
	if err != nil {
		return nil, opError("read", path, err, "")
	}
	i := &Info{Path: path, Format: q.Format, Virtual: q.Virtual, Real: q.Actual, Modified: st.ModTime(), Cluster: q.Cluster, Encrypted: q.Encrypted,
		Compression: q.Specific.Data.Compression, Corrupt: q.Specific.Data.Corrupt}
	for _, s := range q.Snapshots {
		i.Snapshots = append(i.Snapshots, Snapshot{ID: s.ID, Name: s.Name, At: time.Unix(s.DateSec, 0), State: s.State})
	}
	for _, b := range q.Specific.Data.Bitmaps {
		i.Bitmaps = append(i.Bitmaps, Bitmap{Name: b.Name, Granularity: b.Granularity, InUse: slices.Contains(b.Flags, "in-use")})
	}
	if err := Busy(path); err != nil {
		i.InUse = errors.Is(err, backend.ErrBusy)
	}
	if err := i.follow(ctx, path, q); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		i.Trouble = err.Error()
	}
	return i, nil
}

func ask(ctx context.Context, path, format string) (*qemuInfo, error) {
	abs, err := absolute(path)
	if err != nil {
		return nil, err
	}
	args := []string{"info", "-U", "--output=json"}
	if format != "" {
		args = append(args, "-f", format)
	}
	out, err := qemuImg(ctx, nil, append(args, abs)...)
	if err != nil {
		return nil, err
	}
	var q qemuInfo
	if err := json.Unmarshal(out, &q); err != nil {
		return nil, fmt.Errorf("%w: what qemu-img says of it cannot be read: %w", backend.ErrInvalid, err)
	}
	if q.Virtual < 0 || q.Actual < 0 {
		return nil, fmt.Errorf("%w: a size below nothing", backend.ErrInvalid)
	}
	return &q, nil
}

// follow goes down the backing chain.
func (i *Info) follow(ctx context.Context, path string, q *qemuInfo) error {
	seen := []string{path}
	for q.Backing != "" {
		next := cmp.Or(q.BackingFull, q.Backing)
		i.Backing = append(i.Backing, Backing{Path: next, Format: q.BackingFormat})
		if !filepath.IsAbs(next) || strings.HasPrefix(next, "json:") {
			return fmt.Errorf("the backing file %s is no local file", backend.Clean(next))
		}
		if slices.Contains(seen, next) || len(seen) >= maxChain {
			return fmt.Errorf("%w: the backing chain has no end: %s", backend.ErrInvalid, backend.Clean(next))
		}
		seen = append(seen, next)
		if _, err := regular("read", next); err != nil {
			return fmt.Errorf("backing file: %w", err)
		}
		below, err := ask(ctx, next, q.BackingFormat)
		if err != nil {
			return fmt.Errorf("backing file %s: %w", backend.Clean(next), err)
		}
		i.Backing[len(i.Backing)-1].Format = below.Format
		q = below
	}
	return nil
}

// suffixes are the names that image files commonly have.
var suffixes = []string{".qcow2", ".qcow", ".raw", ".img", ".vmdk", ".vdi", ".vhdx", ".vhd", ".qed", ".iso"}

// LooksLikeImage reports whether a file's name is one that images have.
func LooksLikeImage(name string) bool {
	return slices.Contains(suffixes, strings.ToLower(filepath.Ext(name)))
}

// Walk finds the image files in folders of this machine, at most depth folders
// down, and describes each. One that cannot be read is described by its
// Trouble.
func Walk(ctx context.Context, dirs []string, depth int) ([]Info, error) {
	var found []Info
	for _, dir := range dirs {
		root := filepath.Clean(dir)
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			switch {
			case err != nil && path == root:
				return opError("list", path, err, "")
			case err != nil:
				found = append(found, Info{Path: path, Trouble: err.Error()})
				return nil
			case e.IsDir():
				if rel, rerr := filepath.Rel(root, path); rerr != nil || rel != "." && strings.Count(rel, string(os.PathSeparator)) >= depth {
					return fs.SkipDir
				}
				return nil
			case !e.Type().IsRegular() || !LooksLikeImage(path):
				return nil
			}
			i, err := Inspect(ctx, path, "")
			if err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				i = &Info{Path: path, Trouble: err.Error()}
			}
			found = append(found, *i)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

package repo

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"path"
	"time"

	"github.com/zeebo/blake3"

	"berth/backend/image/place"
)

// A job is one backup in the making, over all the processes that it takes. Its
// id is in the packs that it wrote, and a file in jobs/ says that it has not
// ended: what such a job has written is kept although no point needs it yet.
const jobsDir = "jobs"

// job is the content of its file.
type job struct {
	Name    string    `json:"name"`
	Started time.Time `json:"started"`
}

// jobID is what a job is called in packs. Encrypted repositories do not show
// the names of jobs.
func (r *Repo) jobID(name string) (id fileID) {
	h := blake3.NewDeriveKey("berth repository 1 job")
	h.Write(r.crypt.master)
	h.WriteString(name)
	var sum [32]byte
	h.Sum(sum[:0])
	copy(id[:], sum[:])
	return id
}

func jobName(id fileID) string { return path.Join(jobsDir, id.String()) }

// beginJob notes that a job is under way. It reports whether it was before.
func (r *Repo) beginJob(ctx context.Context, name string) (id fileID, again bool, err error) {
	id = r.jobID(name)
	err = r.place.Touch(ctx, jobName(id))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return id, err == nil, err
	}
	b, err := r.crypt.sealBox(boxJob, job{Name: name, Started: r.now().UTC()})
	if err != nil {
		return id, false, err
	}
	return id, false, place.Write(ctx, r.place, jobName(id), b)
}

// endJob notes that one has ended.
func (r *Repo) endJob(ctx context.Context, id fileID) error {
	err := r.place.Remove(ctx, jobName(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// adopt puts those packs of a job into the index that it had sealed and not
// yet listed when it was broken off. Packs that cannot be read are left alone.
func (r *Repo) adopt(ctx context.Context, id fileID) error {
	entries, err := r.place.List(ctx, packsDir)
	if err != nil {
		return err
	}
	var found []packed
	for _, e := range entries {
		pack, err := parseFileID(path.Base(e.Name))
		if err != nil {
			continue
		}
		if has, err := r.index.hasPack(pack); has && err == nil {
			continue
		}
		p, err := r.readPack(ctx, pack)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && p.job == id {
			found = append(found, p)
		}
	}
	return r.index.add(ctx, found)
}

// readPack reads what a sealed pack holds and its SHA-256.
func (r *Repo) readPack(ctx context.Context, id fileID) (packed, error) {
	return r.lookInto(ctx, id, func(f *packFile) ([]frame, error) { return f.frames() }, true)
}

// heldBy reads what a pack holds. It does without the footer when that is
// damaged: then it takes the frames that can be found from the start on.
func (r *Repo) heldBy(ctx context.Context, id fileID) (packed, error) {
	return r.lookInto(ctx, id, (*packFile).found, false)
}

// lookInto reads a pack's frames.
func (r *Repo) lookInto(ctx context.Context, id fileID, frames func(*packFile) ([]frame, error), sum bool) (p packed, err error) {
	f, err := openPack(ctx, r.place, r.crypt, id)
	if err != nil {
		return p, err
	}
	p.packInfo = packInfo{id: id, size: f.file.Size(), job: f.head.job}
	p.frames, err = frames(f)
	p.packInfo.frames = uint32(len(p.frames))
	if err == nil && sum {
		p.sum, err = sumFile(ctx, f.file)
	}
	return p, errors.Join(err, f.close())
}

// sumFile is the SHA-256 of a file.
func sumFile(ctx context.Context, f place.File) (sum [32]byte, err error) {
	h := sha256.New()
	buf := make([]byte, 256<<10)
	for offset := int64(0); offset < f.Size(); {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		some := buf[:min(int64(len(buf)), f.Size()-offset)]
		if err := readFull(f, some, offset); err != nil {
			return sum, err
		}
		h.Write(some)
		offset += int64(len(some))
	}
	h.Sum(sum[:0])
	return sum, nil
}

package repo

import (
	"errors"
	"io"
	"os"

	"berth/backend"
)

// scratchMem is how much of a scratch stays in memory, in bytes.
const scratchMem = 4 << 20

// scratch is what does not fit into memory: a file of this machine that has no
// name, so that nothing is left of it whatever happens. Little stays in memory.
type scratch struct {
	dirs []string // where it may be, the best first
	mem  []byte
	file *os.File
	size int64
}

// newScratch is an empty one. Where there is a folder for copies of indexes it
// is there; /tmp, which is in memory on many machines, comes last.
func (r *Repo) newScratch() *scratch {
	return &scratch{dirs: []string{r.opts.CacheDir, "/var/tmp", os.TempDir()}}
}

// Write appends.
func (s *scratch) Write(p []byte) (int, error) {
	if s.file == nil && len(s.mem)+len(p) <= scratchMem {
		s.mem = append(s.mem, p...)
		s.size = int64(len(s.mem))
		return len(p), nil
	}
	if s.file == nil {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	n, err := s.file.WriteAt(p, s.size)
	s.size += int64(n)
	return n, s.failed(err)
}

// spill goes from memory to a file.
func (s *scratch) spill() error {
	var faults error
	for _, dir := range s.dirs {
		if dir == "" {
			continue
		}
		f, err := os.CreateTemp(dir, ".berth-index-")
		if err != nil {
			faults = errors.Join(faults, err)
			continue
		}
		if err := errors.Join(os.Remove(f.Name())); err != nil {
			return s.failed(errors.Join(err, f.Close()))
		}
		s.file = f
		_, err = f.WriteAt(s.mem, 0)
		s.mem = nil
		return s.failed(err)
	}
	return s.failed(faults)
}

func (s *scratch) failed(err error) error {
	if err == nil {
		return nil
	}
	return &backend.OpError{Op: "keep the sorted index in", Target: "a temporary file", Err: err,
		Hint: "it takes some 64 MiB for each TiB of the repository: make room in /var/tmp, or set TMPDIR"}
}

// ReadAt is io.ReaderAt's.
func (s *scratch) ReadAt(p []byte, offset int64) (int, error) {
	if s.file != nil {
		n, err := s.file.ReadAt(p[:max(0, min(int64(len(p)), s.size-offset))], offset)
		if err == nil && n < len(p) {
			err = io.EOF
		}
		return n, err
	}
	if offset >= int64(len(s.mem)) {
		return 0, io.EOF
	}
	n := copy(p, s.mem[offset:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// close lets go of it. A nil scratch is none.
func (s *scratch) close() {
	if s == nil {
		return
	}
	s.mem = nil
	if s.file != nil {
		s.file.Close() // nobody reads it again
	}
}

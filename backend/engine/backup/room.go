package backup

import (
	"context"
	"errors"
	"fmt"
	"path"

	"berth/backend"
)

// roomSpare is what a file system keeps besides the images.
const roomSpare = 32 << 20

// rooms tells whether images fit on a host, before the first of them is made.
// Paths whose file systems say the same free space to the byte are taken for
// one.
type rooms struct {
	files backend.HostFiles // nil: nobody can tell
	taken map[uint64]int64  // by that free space
}

// take counts n bytes more at a path, and fails with backend.ErrNoRoom when
// they are too many.
func (r *rooms) take(ctx context.Context, at string, n int64) error {
	if r.files == nil {
		return nil
	}
	free, err := r.files.Room(ctx, at)
	if errors.Is(err, backend.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	if r.taken == nil {
		r.taken = map[uint64]int64{}
	}
	r.taken[free] += n
	if need := r.taken[free]; uint64(need)+roomSpare > free {
		return fmt.Errorf("%w: %d MiB are needed in %s, %d MiB are free", backend.ErrNoRoom, need>>20, backend.Clean(path.Dir(at)), free>>20)
	}
	return nil
}

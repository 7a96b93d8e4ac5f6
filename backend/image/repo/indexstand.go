package repo

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"berth/backend"
)

// standIn finds chunks in the stead of an index of which something cannot be
// read: it is a census, which asks packs what they hold, taken when first it is
// needed.
type standIn struct {
	take func(context.Context) (*census, error)

	mu     sync.Mutex
	census *census
	fault  error
}

// find returns where a chunk is.
func (s *standIn) find(ctx context.Context, id ChunkID) ([]location, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.census == nil && s.fault == nil && s.take != nil {
		c, err := s.take(ctx)
		if ctx.Err() != nil {
			c.close()
			return nil, ctx.Err()
		}
		s.census, s.fault = c, err
	}
	if s.census == nil {
		return nil, s.fault
	}
	return s.census.locations(id)
}

// drop lets go of it.
func (s *standIn) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.census.close()
	s.census, s.fault = nil, nil
}

// Trouble says what is wrong with the repository that its user should hear of
// though everything works: parts of the index cannot be read, and packs are
// asked in their stead. nil: nothing is known to be.
func (r *Repo) Trouble() error {
	r.index.mu.RLock()
	defer r.index.mu.RUnlock()
	var faults []error
	for _, fault := range r.index.faults {
		faults = append(faults, fault)
	}
	for _, f := range r.index.files {
		if fault := f.fault.Load(); fault != nil {
			faults = append(faults, *fault)
		}
	}
	if len(faults) == 0 {
		return nil
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return &backend.OpError{Op: "read the index of", Target: r.place.URL(), Err: errors.Join(faults...),
		Hint: "nothing is lost: berth backup check --rebuild makes it anew; until then packs are asked what they hold, which takes longer"}
}

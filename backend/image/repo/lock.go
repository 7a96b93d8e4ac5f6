package repo

import (
	"context"
	"time"
)

// LockInfo is one lock on a repository.
type LockInfo struct {
	ID        string
	Exclusive bool
	What      string // what it is for: "backup", "prune"
	Host      string
	Owner     string
	PID       int
	Since     time.Time
	Refreshed time.Time // by the place's clock
	// Stale says why it counts for nothing any more; empty: it does.
	Stale string
}

// Locks returns those that are there, the oldest first.
func (r *Repo) Locks(ctx context.Context) ([]LockInfo, error) { return nil, errSoon }

// Unlock removes locks, with stale only those that are, and returns how many.
// Removing one that is not stale endangers what its holder does.
func (r *Repo) Unlock(ctx context.Context, stale bool) (int, error) { return 0, errSoon }

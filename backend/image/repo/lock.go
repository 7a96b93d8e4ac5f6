package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"syscall"
	"time"

	"berth/backend"
	"berth/backend/image/place"
)

// Locks are files. Whoever wants one writes his own first and looks at the
// others' then, so that of two that do not go together at most one succeeds.
// Shared ones are for who writes packs or needs what is there to stay,
// exclusive ones for who removes. How old a lock is tells the place's clock
// alone: that of another machine may be wrong.

const (
	locksDir         = "locks"
	boxLock  boxKind = 4

	// A lock is refreshed every lockRefresh, counts until lockExpiry after it was
	// refreshed last, and is given up by its holder lockMargin before that.
	lockRefresh = 4 * time.Minute
	lockExpiry  = 30 * time.Minute
	lockMargin  = 5 * time.Minute
	// lockTries is how often a lock is tried for when others are about to take
	// theirs, with waits of up to lockWait.
	lockTries = 5
	lockWait  = 300 * time.Millisecond
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

// String reads "prune of root on host1 (process 12) since 2026-11-23 21:00:00".
func (l LockInfo) String() string {
	if l.What == "" {
		return "a lock that cannot be read, of " + l.Refreshed.Format(time.DateTime)
	}
	return fmt.Sprintf("%s of %s on %s (process %d) since %s", backend.Clean(l.What), backend.Clean(l.Owner), backend.Clean(l.Host), l.PID, l.Since.Format(time.DateTime))
}

// lockBox is what a lock's file holds.
type lockBox struct {
	Exclusive bool      `json:"exclusive,omitempty"`
	What      string    `json:"what"`
	Since     time.Time `json:"since"`
	holder
}

// Locks returns those that are there, the oldest first.
func (r *Repo) Locks(ctx context.Context) ([]LockInfo, error) {
	entries, err := r.place.List(ctx, locksDir)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	now, err := r.lockClock(ctx)
	if err != nil {
		return nil, err
	}
	var all []LockInfo
	for _, e := range entries {
		l, err := r.readLock(ctx, e, now)
		if errors.Is(err, fs.ErrNotExist) {
			continue // released meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b LockInfo) int { return a.Refreshed.Compare(b.Refreshed) })
	return all, nil
}

// lockClock is the place's time. Where nothing can be written this machine's
// has to do.
func (r *Repo) lockClock(ctx context.Context) (time.Time, error) {
	now, err := r.place.Now(ctx)
	if cannotWrite(err) {
		return time.Now(), nil
	}
	return now, err
}

// cannotWrite reports whether a place takes nothing: it is full, or mounted
// read-only, or somebody else's.
func cannotWrite(err error) bool {
	return errors.Is(err, backend.ErrNoRoom) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// readLock reads one. One that cannot be read counts as exclusive until it
// expires: it may be of a later version, or of a process that had no room for
// more than its name.
func (r *Repo) readLock(ctx context.Context, e place.Entry, now time.Time) (LockInfo, error) {
	l := LockInfo{ID: path.Base(e.Name), Exclusive: true, Refreshed: e.ModTime, Since: e.ModTime}
	var b lockBox
	_, err := readBox(ctx, r.place, r.crypt, boxLock, e.Name, &b)
	switch {
	case err == nil:
		l.Exclusive, l.What, l.Since = b.Exclusive, b.What, b.Since
		l.Host, l.Owner, l.PID = b.Host, b.Owner, b.PID
		l.Stale = b.gone()
	case !errors.Is(err, backend.ErrDamaged) && !errors.Is(err, backend.ErrInvalid):
		return l, err
	}
	if age := now.Sub(e.ModTime); l.Stale == "" && age > lockExpiry {
		l.Stale = "it was not refreshed for " + age.Round(time.Minute).String()
	}
	return l, nil
}

// Unlock removes locks, with stale only those that are, and returns how many.
// Removing one that is not stale endangers what its holder does.
func (r *Repo) Unlock(ctx context.Context, stale bool) (int, error) {
	all, err := r.Locks(ctx)
	n := 0
	for _, l := range all {
		if stale && l.Stale == "" {
			continue
		}
		if err := r.removeLock(ctx, l.ID); err != nil {
			return n, err
		}
		n++
	}
	return n, err
}

func (r *Repo) removeLock(ctx context.Context, id string) error {
	if err := r.place.Remove(ctx, path.Join(locksDir, id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// lock is a lock that is held.
type lock struct {
	r    *Repo // nil: the place takes no locks
	name string

	mu        sync.Mutex
	refreshed time.Duration // steady, before the refresh that succeeded last
	lost      error

	stop   context.CancelFunc
	ended  chan struct{} // closed when the refreshing has ended
	cancel []context.CancelCauseFunc
}

// lockShared takes a lock that others can share.
func (r *Repo) lockShared(ctx context.Context, what string) (*lock, error) {
	return r.lock(ctx, lockBox{What: what})
}

// lockReading is lockShared for who writes nothing. Where no lock can be
// written he goes without: a full disk or a read-only mount must not keep
// anybody from a restore.
func (r *Repo) lockReading(ctx context.Context, what string) (*lock, error) {
	l, err := r.lockShared(ctx, what)
	if cannotWrite(err) {
		return &lock{}, nil
	}
	return l, err
}

// lockExclusive takes a lock that nobody shares.
func (r *Repo) lockExclusive(ctx context.Context, what string) (*lock, error) {
	return r.lock(ctx, lockBox{What: what, Exclusive: true})
}

// lock takes a lock, or wraps backend.ErrBusy and says who hinders it.
func (r *Repo) lock(ctx context.Context, b lockBox) (*lock, error) {
	b.holder, b.Since = thisProcess(), r.now().UTC().Truncate(time.Second)
	for try := 1; ; try++ {
		l, by, err := r.tryLock(ctx, b)
		if err != nil {
			return nil, err
		}
		if l != nil {
			l.keep()
			return l, nil
		}
		if try == lockTries {
			return nil, &backend.OpError{Op: b.What, Target: r.place.URL(), Err: fmt.Errorf("%w: %s", backend.ErrBusy, by),
				Hint: "wait for its end; if that process is gone, berth backup unlock removes its lock"}
		}
		if err := sleep(ctx, lockWait/4+rand.N(lockWait)); err != nil {
			return nil, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// tryLock writes a lock and looks at the others. It returns who hinders it.
func (r *Repo) tryLock(ctx context.Context, b lockBox) (*lock, *LockInfo, error) {
	id := newFileID().String()
	l := &lock{r: r, name: path.Join(locksDir, id), refreshed: steady()}
	content, err := r.crypt.sealBox(boxLock, &b)
	if err != nil {
		return nil, nil, err
	}
	err = r.place.CreateExclusive(ctx, l.name, content)
	if b.Exclusive && errors.Is(err, backend.ErrNoRoom) {
		// Pruning is what makes room. A name takes less than a file does, and a lock
		// that cannot be read counts as exclusive.
		err = r.place.CreateExclusive(ctx, l.name, nil)
	}
	if err != nil {
		return nil, nil, errors.Join(err, l.giveUp())
	}
	by, err := r.hindered(ctx, id, b.Exclusive)
	if by != nil || err != nil {
		return nil, by, errors.Join(err, l.giveUp())
	}
	return l, nil, nil
}

// hindered returns a lock that does not go together with that one, and removes
// stale ones.
func (r *Repo) hindered(ctx context.Context, id string, exclusive bool) (*LockInfo, error) {
	all, err := r.Locks(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range all {
		switch {
		case l.ID == id || !exclusive && !l.Exclusive:
		case l.Stale == "":
			return &l, nil
		default:
			if err := r.removeLock(ctx, l.ID); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

// othersAtWork reports whether somebody else may be writing: there is more than
// one lock that counts.
func (r *Repo) othersAtWork(ctx context.Context) bool {
	all, err := r.Locks(ctx)
	n := 0
	for _, l := range all {
		if l.Stale == "" {
			n++
		}
	}
	return err != nil || n > 1
}

// giveUp removes the lock's file, whether it was made or not.
func (l *lock) giveUp() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the caller's may have ended
	defer cancel()
	if err := l.r.place.Remove(ctx, l.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// keep refreshes the lock until release.
func (l *lock) keep() {
	ctx, stop := context.WithCancel(context.Background())
	l.stop, l.ended = stop, make(chan struct{})
	go func() {
		defer close(l.ended)
		t := time.NewTicker(lockRefresh)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				_ = l.held(ctx) // what it finds is kept, for the next call
			}
		}
	}()
}

// context returns one that ends when the lock is lost, with the reason as its
// cause.
func (l *lock) context(ctx context.Context) (context.Context, context.CancelFunc) {
	c, cancel := context.WithCancelCause(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost != nil {
		cancel(l.lost)
	}
	l.cancel = append(l.cancel, cancel)
	return c, func() { cancel(nil) }
}

// held refreshes the lock and returns an error when it is lost: somebody
// removed it, or this machine slept, or the place did not answer, for so long
// that others may take it for stale. Before something is done that others must
// not meet it is called.
func (l *lock) held(ctx context.Context) error {
	if l.r == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost != nil {
		return l.lost
	}
	began := steady()
	if began-l.refreshed > lockExpiry-lockMargin {
		return l.lose(errors.New("it could not be refreshed for " + (began - l.refreshed).Round(time.Minute).String()))
	}
	err := l.r.place.Touch(ctx, l.name)
	if errors.Is(err, fs.ErrNotExist) {
		return l.lose(errors.New("somebody has removed it"))
	}
	if err != nil {
		return err // it still holds for a while
	}
	l.refreshed = began
	return nil
}

// lose ends what goes on under the lock. l.mu is held.
func (l *lock) lose(why error) error {
	l.lost = &backend.OpError{Op: "keep the lock on", Target: l.r.place.URL(), Err: why,
		Hint: "run it again: what is stored already is used"}
	for _, cancel := range l.cancel {
		cancel(l.lost)
	}
	return l.lost
}

// release releases the lock, though ctx has ended.
func (l *lock) release(context.Context) error {
	if l.r == nil {
		return nil
	}
	l.stop()
	<-l.ended
	return l.giveUp()
}

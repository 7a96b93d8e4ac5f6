package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"

	"berth/backend"
)

// timing is how patient a store is.
type timing struct {
	busy time.Duration // how long a writer waits for another one
	poll time.Duration // how often Wait looks for what other processes have done that it cannot hear
}

// One look of Wait reads one row of a page that is in memory: 10 µs.
var usual = timing{busy: 5 * time.Second, poll: 150 * time.Millisecond}

// readers is how many reads of one process may go on at once.
const readers = 4

// Store is an open state file. All methods may be called from several
// goroutines; Close makes the later ones fail with backend.ErrClosed.
type Store struct {
	timing
	name  string // of the file, for messages
	write *sql.DB
	read  *sql.DB     // the same as write for a store in memory
	keep  *sql.DB     // keeps a store in memory alive
	file  os.FileInfo // which file it is; nil in memory

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when something has changed
	bell    bell          // that of other processes; nil: nobody listens to it yet
	deaf    bool          // it cannot be heard
	closed  bool
}

var errClosed = errors.New("sql: database is closed")

// Open opens the state file at path, or makes it, its folder too: nobody but
// its owner may look into either. A file of an older berth is brought up to
// date. The error wraps ErrNewer, ErrForeign, ErrCorrupt, ErrFull,
// backend.ErrBusy or fs.ErrPermission where one of those is the cause.
func Open(ctx context.Context, path string) (*Store, error) { return open(ctx, path, usual) }

func open(ctx context.Context, path string, patience timing) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, &backend.OpError{Op: "open the queue", Target: path, Err: err}
	}
	s := &Store{timing: patience, name: path, changed: make(chan struct{})}
	if s.file, err = makePrivate(path); err != nil {
		return nil, &backend.OpError{Op: "open the queue", Target: path, Err: err, Hint: s.hintAccess()}
	}
	fdatasync()
	s.write, err = s.connect(path, "_txlock=immediate", 1)
	if err != nil {
		return nil, &backend.OpError{Op: "open the queue", Target: path, Err: err}
	}
	s.read, err = s.connect(path, "_pragma=query_only(1)", readers)
	if err != nil {
		return nil, &backend.OpError{Op: "open the queue", Target: path, Err: err}
	}
	return s.ready(ctx)
}

// memories numbers the stores in memory of this process.
var memories atomic.Int64

// OpenMemory makes a store that lasts until Close, for the demo and tests. It
// is the same but for the file.
func OpenMemory(ctx context.Context) (*Store, error) {
	// SQLite's memdb VFS shares one database between the connections that name
	// it, and drops it with the last of them; one is kept, because
	// database/sql may close the other when a context ends.
	name := fmt.Sprintf("/berth-%d", memories.Add(1))
	s := &Store{timing: usual, name: "in memory", changed: make(chan struct{})}
	var err error
	if s.keep, err = s.connect(name, "vfs=memdb", 1); err != nil {
		return nil, err
	}
	if err := s.keep.PingContext(ctx); err != nil {
		return nil, errors.Join(s.explain(ctx, "open the queue", err), s.keep.Close())
	}
	if s.write, err = s.connect(name, "vfs=memdb&_txlock=immediate", 1); err != nil {
		return nil, err
	}
	s.read = s.write
	return s.ready(ctx)
}

// connect prepares a pool of connections to one file; none is made yet.
func (s *Store) connect(path, more string, most int) (*sql.DB, error) {
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: path}
	dsn.RawQuery = fmt.Sprintf("_error_rc=1&_pragma=busy_timeout(%d)&_pragma=foreign_keys(1)&_pragma=synchronous(full)"+
		"&_pragma=trusted_schema(0)&_pragma=journal_size_limit(4194304)&%s", s.busy.Milliseconds(), more)
	connector, err := sqlite.NewConnector(dsn.String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	return db, nil
}

// makePrivate makes the file and its folder if they are not there yet. SQLite
// gives the files beside it the same rights.
func makePrivate(path string) (file os.FileInfo, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	file, err = f.Stat()
	return file, errors.Join(err, f.Close())
}

// fdatasync makes commits wait for the data and not for the file's times
// also, where the system can tell them apart: as durable, and half the wait.
var fdatasync = sync.OnceFunc(func() {
	if _, err := sqlite.Fdatasync(true); err != nil && !errors.Is(err, sqlite.ErrFdatasyncUnavailable) {
		panic(err) // it has no other error
	}
})

func (s *Store) ready(ctx context.Context) (*Store, error) {
	if err := s.migrate(ctx, migrations); err != nil {
		return nil, errors.Join(s.explain(ctx, "open the queue", err), s.Close())
	}
	return s, nil
}

// Close lets go of the file. Transactions that still run are waited for.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.changed) // whoever waits finds the store closed
	rung := s.bell
	s.mu.Unlock()
	var errs []error
	if rung != nil {
		errs = append(errs, rung.close())
	}
	if s.read != s.write {
		errs = append(errs, s.read.Close())
	}
	errs = append(errs, s.write.Close())
	if s.keep != nil {
		errs = append(errs, s.keep.Close())
	}
	return errors.Join(errs...)
}

func (s *Store) folder() string { return filepath.Dir(s.name) }

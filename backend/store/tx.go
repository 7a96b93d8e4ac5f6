package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Tx is one transaction, given to the function of View or Update and of no
// use after it. It is for one goroutine, which must not begin another one
// before its end: in memory that would wait for itself until the context ends.
type Tx struct {
	ctx      context.Context
	tx       *sql.Tx
	s        *Store
	writable bool
	dirty    parts // what changed that others should see
	prepared map[string]*sql.Stmt
}

var errReadOnly = errors.New("store: write in View")

// View calls f with one consistent moment of the store. It never waits for a
// writer. It returns f's error as it is.
func (s *Store) View(ctx context.Context, f func(*Tx) error) error {
	return s.explain(ctx, "read the queue", s.run(ctx, s.read, false, f))
}

// Update calls f in a transaction that nobody writes beside, and makes what it
// did last, whole; when f fails, nothing of it happened and f's error is
// returned as it is. It waits at most five seconds for other writers, then the
// error wraps backend.ErrBusy. ErrFull and ErrCorrupt leave the store as it
// was.
func (s *Store) Update(ctx context.Context, f func(*Tx) error) error {
	return s.explain(ctx, "change the queue", s.run(ctx, s.write, true, f))
}

func (s *Store) run(ctx context.Context, db *sql.DB, writable bool, f func(*Tx) error) error {
	if s.isClosed() {
		return errClosed
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: !writable})
	if err != nil {
		return s.orClosed(err)
	}
	defer tx.Rollback() //nolint:errcheck // does nothing after Commit
	t := &Tx{ctx: ctx, tx: tx, s: s, writable: writable, prepared: map[string]*sql.Stmt{}}
	if err := t.checkVersion(); err != nil {
		return err
	}
	if err := f(t); err != nil {
		return err
	}
	if !writable {
		return nil
	}
	return t.commit()
}

// checkVersion notices that a newer berth has changed the file since it was
// opened here.
func (t *Tx) checkVersion() error {
	var version int
	if err := t.row("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	return t.s.checkVersion(version, len(migrations))
}

func (t *Tx) commit() error {
	if t.dirty != 0 {
		_, err := t.exec("UPDATE meta SET revision = revision + ?, transfers = transfers + ?, catalogue = catalogue + ?",
			t.dirty.one(partQueue), t.dirty.one(partTransfers), t.dirty.one(partCatalogue))
		if err != nil {
			return err
		}
	}
	if err := t.tx.Commit(); err != nil {
		return err
	}
	if t.dirty != 0 {
		t.s.wake()
		t.s.ring()
	}
	return nil
}

// stmt prepares a statement once in this transaction.
func (t *Tx) stmt(query string) (*sql.Stmt, error) {
	if st := t.prepared[query]; st != nil {
		return st, nil
	}
	st, err := t.tx.PrepareContext(t.ctx, query)
	if err != nil {
		return nil, err
	}
	t.prepared[query] = st // closed with the transaction
	return st, nil
}

// exec runs a statement and returns how many rows it touched.
func (t *Tx) exec(query string, args ...any) (int64, error) {
	r, err := t.execResult(query, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// parts of the store, each with a revision of its own: whoever watches one is
// not woken by the others.
type parts uint8

const (
	partQueue     parts = 1 << iota // jobs, hosts, events, settings, the lease
	partTransfers                   // transfers and how far they are
	partCatalogue                   // points, repositories, schedules
)

// one is 1 when p holds part, else 0.
func (p parts) one(part parts) int {
	if p&part != 0 {
		return 1
	}
	return 0
}

// change is exec for what others should see of the queue: if a row was
// touched, its revision rises.
func (t *Tx) change(query string, args ...any) (int64, error) {
	return t.changeIn(partQueue, query, args...)
}

// changeIn is change of any part.
func (t *Tx) changeIn(part parts, query string, args ...any) (int64, error) {
	n, err := t.exec(query, args...)
	if n > 0 {
		t.dirty |= part
	}
	return n, err
}

func (t *Tx) execResult(query string, args ...any) (sql.Result, error) {
	if !t.writable {
		return nil, errReadOnly
	}
	st, err := t.stmt(query)
	if err != nil {
		return nil, err
	}
	return st.ExecContext(t.ctx, args...)
}

func (t *Tx) row(query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(t.ctx, query, args...)
}

// each calls f for every row; vals are good until it returns.
func (t *Tx) each(query string, args []any, f func(vals []any) error) (err error) {
	st, err := t.stmt(query)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(t.ctx, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	vals, ptrs := make([]any, len(names)), make([]any, len(names))
	for i := range vals {
		ptrs[i] = &vals[i]
	}
	for rows.Next() {
		if err := rows.Scan(ptrs...); err != nil {
			return fmt.Errorf("read a row: %w", err)
		}
		if err := f(vals); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// orClosed says that the store was closed meanwhile, if that is why err came.
func (s *Store) orClosed(err error) error {
	if s.isClosed() {
		return errClosed
	}
	return err
}

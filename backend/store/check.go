package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"berth/backend"
)

// Placed returns an error that wraps ErrMoved when the file is no longer where
// it was opened: what is written here then, nobody else reads. It costs one stat.
func (s *Store) Placed() error {
	if s.file == nil {
		return nil
	}
	now, err := os.Stat(s.name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil // the folder cannot be looked into: that says nothing of the file
	}
	if err == nil && os.SameFile(now, s.file) {
		return nil
	}
	return &backend.OpError{Op: "go on with the queue", Target: s.name, Err: ErrMoved, Hint: "what is there now is another queue; an engine that starts takes that up"}
}

// Check reads the whole file and returns an error that wraps ErrCorrupt when
// anything in it contradicts itself. It takes some milliseconds a megabyte:
// for an engine that begins, not for every command.
func (s *Store) Check(ctx context.Context) error {
	return s.View(ctx, func(t *Tx) error {
		var verdict string
		if err := t.row("PRAGMA quick_check(1)").Scan(&verdict); err != nil {
			return err
		}
		if verdict != "ok" {
			return t.s.damaged("check the queue", fmt.Errorf("%w: %s", ErrCorrupt, verdict))
		}
		return nil
	})
}

package store

import (
	"context"
	"fmt"
)

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

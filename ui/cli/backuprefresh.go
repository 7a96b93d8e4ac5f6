package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"berth/backend"
)

// refreshCatalogue has the catalogue on this machine read the repository anew,
// after this process has changed it, so that screens show what there is. Where
// nothing is kept yet nothing is made. It is no failure of the command.
func (a *app) refreshCatalogue(ctx context.Context, r *openRepo) {
	if _, err := os.Stat(filepath.Join(a.config.Paths.StateDir, stateFile)); err != nil || a.flags.demo {
		return
	}
	if err := a.refresh(ctx, r); err != nil && ctx.Err() == nil {
		a.complain(fmt.Errorf("screens may show this repository as it was before: %w", err))
	}
}

func (a *app) refresh(ctx context.Context, r *openRepo) (err error) {
	b, err := a.openBackups(ctx, func() []backend.Host { return nil })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	ref, undo, err := a.handOver(r)
	if err != nil {
		return err
	}
	err = b.Refresh(ctx, ref)
	if uerr := undo(); !errors.Is(uerr, os.ErrNotExist) {
		err = errors.Join(err, uerr)
	}
	return err
}

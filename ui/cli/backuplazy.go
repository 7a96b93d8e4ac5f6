package cli

import (
	"context"
	"fmt"

	"berth/backend"
)

// lazyBackups are backups that are opened when they are first needed.
type lazyBackups struct{ *lazy[backend.Backups] }

func newLazyBackups(open func(context.Context) (backend.Backups, error)) *lazyBackups {
	return &lazyBackups{newLazy(open)}
}

func (l *lazyBackups) State(ctx context.Context) (backend.BackupsState, error) {
	b, err := l.get(ctx)
	if err != nil {
		return backend.BackupsState{}, err
	}
	return b.State(ctx)
}

func (l *lazyBackups) Wait(ctx context.Context, revision int64) error {
	b, err := l.get(ctx)
	if err != nil {
		return err
	}
	return b.Wait(ctx, revision)
}

func (l *lazyBackups) Start(ctx context.Context, specs []backend.TransferSpec) ([]backend.TransferID, error) {
	b, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return b.Start(ctx, specs)
}

func (l *lazyBackups) Change(ctx context.Context, ids []backend.TransferID, c backend.TransferChange) error {
	b, err := l.get(ctx)
	if err != nil {
		return err
	}
	return b.Change(ctx, ids, c)
}

func (l *lazyBackups) Refresh(ctx context.Context, repo backend.RepoRef) error {
	b, err := l.get(ctx)
	if err != nil {
		return err
	}
	return b.Refresh(ctx, repo)
}

func (l *lazyBackups) PutSchedule(ctx context.Context, s backend.Schedule) (int64, error) {
	b, err := l.get(ctx)
	if err != nil {
		return 0, err
	}
	return b.PutSchedule(ctx, s)
}

func (l *lazyBackups) RemoveSchedule(ctx context.Context, id int64) error {
	b, err := l.get(ctx)
	if err != nil {
		return err
	}
	return b.RemoveSchedule(ctx, id)
}

func (l *lazyBackups) RunSchedule(ctx context.Context, id int64) ([]backend.TransferID, error) {
	b, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return b.RunSchedule(ctx, id)
}

// StartEngine sees to it that an engine runs, where these backups have one to
// start.
func (l *lazyBackups) StartEngine(ctx context.Context) error {
	b, err := l.get(ctx)
	if err != nil {
		return err
	}
	if s, ok := b.(backend.EngineStarter); ok {
		return s.StartEngine(ctx)
	}
	return fmt.Errorf("start the engine: %w", backend.ErrUnsupported)
}

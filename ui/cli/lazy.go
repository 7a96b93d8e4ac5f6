package cli

import (
	"context"
	"io"

	"berth/backend"
)

// lazy opens something when it is first needed. A console whose state folder
// cannot be written so works all the same, and whoever asks hears why there is
// nothing to ask; the next who asks tries again.
type lazy[T interface {
	comparable
	io.Closer
}] struct {
	open func(context.Context) (T, error)
	slot chan T // holds what was opened, the zero T until then
}

func newLazy[T interface {
	comparable
	io.Closer
}](open func(context.Context) (T, error)) *lazy[T] {
	l := &lazy[T]{open: open, slot: make(chan T, 1)}
	var none T
	l.slot <- none
	return l
}

// get opens it unless it is open. Others who ask meanwhile wait, but not longer
// than their context.
func (l *lazy[T]) get(ctx context.Context) (T, error) {
	var none T
	select {
	case q, open := <-l.slot:
		if !open {
			return none, backend.ErrClosed
		}
		if q != none {
			l.slot <- q
			return q, nil
		}
		q, err := l.open(ctx)
		if err != nil {
			q = none // whatever stands beside an error
		}
		l.slot <- q
		return q, err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// Close closes it if it was opened; calls after it fail with backend.ErrClosed.
func (l *lazy[T]) Close() error {
	var none T
	q, open := <-l.slot
	if !open {
		return nil
	}
	close(l.slot)
	if q == none {
		return nil
	}
	return q.Close()
}

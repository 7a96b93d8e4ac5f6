package backup

import (
	"context"
	"sync"

	"golang.org/x/time/rate"
)

// gate is where a transfer's readers wait while it is paused.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // closed when the gate opens; nil while it is open
}

// set shuts or opens the gate.
func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case shut && g.shut == nil:
		g.shut = make(chan struct{})
	case !shut && g.shut != nil:
		close(g.shut)
		g.shut = nil
	}
}

// wait returns when the gate is open, or ctx's cause when that ends.
func (g *gate) wait(ctx context.Context) error {
	for {
		g.mu.Lock()
		shut := g.shut
		g.mu.Unlock()
		if shut == nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return nil
		}
		select {
		case <-shut:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// limitBurst is what may be read at once under a limit: one chunk.
const limitBurst = 1 << 20

// newLimit is a limiter of bytes a second, 0 for none; setLimit changes it
// while it is in use.
func newLimit(perSecond int64) *rate.Limiter {
	l := rate.NewLimiter(rate.Inf, limitBurst)
	setLimit(l, perSecond)
	return l
}

func setLimit(l *rate.Limiter, perSecond int64) {
	if perSecond <= 0 {
		l.SetLimit(rate.Inf)
		return
	}
	l.SetLimit(rate.Limit(perSecond))
}

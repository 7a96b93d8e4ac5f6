package backup

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"berth/backend"
)

// hosts are the connections of the manager, one a host.
type hosts struct {
	o    *Options
	mu   sync.Mutex
	uris map[string]string
	open map[string]*openHost
}

type openHost struct {
	backend.Host
	uri  string
	idle time.Time // since when nothing needs it; zero: something does
}

// idleHost is how long a connection that nothing needs stays.
const idleHost = 5 * time.Minute

// know takes in which hosts there are.
func (h *hosts) know(uris map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.uris = maps.Clone(uris)
}

// names are all of them.
func (h *hosts) names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.uris))
}

// get returns a host by its name.
func (h *hosts) get(_ context.Context, name string) (backend.Host, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	uri, known := h.uris[name]
	if o := h.open[name]; o != nil && (o.uri == uri || !known) {
		o.idle = time.Time{}
		return o.Host, nil
	}
	if !known {
		return nil, &backend.OpError{Op: "connect", Target: name, Err: fmt.Errorf("%w: no host of that name is known to the engine", backend.ErrInvalid),
			Hint: "order it anew from a berth that has the host"}
	}
	host, err := h.o.Connect(name, uri)
	if err != nil {
		return nil, err
	}
	h.open[name] = &openHost{Host: host, uri: uri}
	return host, nil
}

// closeIdle closes what nothing has needed for a while.
func (h *hosts) closeIdle(used map[string]bool) {
	if h.o.KeepOpen {
		return
	}
	now := h.o.Clock.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, o := range h.open {
		switch {
		case used[name]:
			o.idle = time.Time{}
		case o.idle.IsZero():
			o.idle = now
		case now.Sub(o.idle) >= idleHost:
			o.Close() //nolint:errcheck // nobody waits for it
			delete(h.open, name)
		}
	}
}

func (h *hosts) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.o.KeepOpen {
		return
	}
	for _, o := range h.open {
		o.Close() //nolint:errcheck // nothing follows
	}
	h.open = map[string]*openHost{}
}

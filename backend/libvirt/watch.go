package libvirt

import (
	"context"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

const (
	// watchPing is how often an event connection is tried, so that a line that
	// died without a word is noticed.
	watchPing        = 15 * time.Second
	watchPingTimeout = 5 * time.Second
	// watchBuffer holds events until they are read; beyond it the oldest
	// knowledge is what a Poll brings.
	watchBuffer = 256
	// watchGrace is how long closing waits for a request that is under way.
	watchGrace = time.Second
)

// Closing an event connection while the daemon is still at work on a request
// of it makes libvirtd free its list of callbacks twice and crash (seen with
// 9.0.0 once in some 200 quick starts and ends of berth: the worker that
// cannot send its answer and the main loop both run remoteClientCloseFunc).
// So nothing may be asked on it at its end: go-libvirt, which deregisters each
// callback when its context ends, gets a context that outlives the connection,
// and what is under way is waited for.

// watched is the events subscribed to. All but the first may be missing.
// Tunable and job-completed events are not among them: go-libvirt's decoder
// drops them, for it cannot read their typed parameters.
var watched = []libvirt.DomainEventID{
	libvirt.DomainEventIDLifecycle,
	libvirt.DomainEventIDReboot,
	libvirt.DomainEventIDIoErrorReason,
	libvirt.DomainEventIDWatchdog,
	libvirt.DomainEventIDAgentLifecycle,
	libvirt.DomainEventIDDeviceAdded,
	libvirt.DomainEventIDDeviceRemoved,
	libvirt.DomainEventIDBlockJob,
	libvirt.DomainEventIDDiskChange,
	libvirt.DomainEventIDTrayChange,
	libvirt.DomainEventIDBalloonChange,
	libvirt.DomainEventIDMetadataChange,
	libvirt.DomainEventIDMigrationIteration,
	libvirt.DomainEventIDPmsuspend,
	libvirt.DomainEventIDPmsuspendDisk,
	libvirt.DomainEventIDPmwakeup,
}

// Watch subscribes to the host's events over a connection of its own. The
// channel is closed when that is lost or ctx ends.
func (h *Host) Watch(ctx context.Context) (<-chan backend.Event, error) {
	if h.life.Err() != nil {
		return nil, h.broken("watch", backend.ErrClosed)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(h.life, cancel)
	cl, err := within(ctx, h.open)
	if err != nil {
		stop()
		cancel()
		return nil, h.broken("watch", err)
	}
	live, unsubscribe := context.WithCancel(context.WithoutCancel(ctx))
	end := func() {
		cl.wire.Close()
		unsubscribe()
		cancel()
	}
	streams, err := subscribe(ctx, live, cl)
	if err != nil {
		stop()
		end()
		return nil, h.broken("watch", err)
	}
	out := make(chan backend.Event, watchBuffer)
	h.watches.Add(1)
	h.table.unsweep() // what happened before the subscription is not told
	h.spawn(func() {
		defer stop()
		h.forward(ctx, end, cl, streams, out)
	})
	return out, nil
}

// within dials with both the caller's context and a bound.
func within(ctx context.Context, open func(context.Context) (*client, error)) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return open(ctx)
}

// subscribe asks for every kind of event; only lifecycle must succeed. The
// streams end with live.
func subscribe(ctx, live context.Context, cl *client) ([]<-chan any, error) {
	type result struct {
		streams []<-chan any
		err     error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		for i, id := range watched {
			if r.err = ctx.Err(); r.err != nil {
				break
			}
			ch, err := cl.SubscribeEvents(live, id, nil)
			if err != nil && (i == 0 || isConnectionError(err)) {
				r.err = err
				break
			}
			if err == nil {
				r.streams = append(r.streams, ch)
			}
		}
		done <- r
	}()
	select {
	case r := <-done:
		return r.streams, r.err
	case <-ctx.Done():
		await(done)
		return nil, ended(ctx)
	}
}

// await gives a request that is under way the time to be answered.
func await[T any](answer <-chan T) {
	limit := time.NewTimer(watchGrace)
	defer limit.Stop()
	select {
	case <-answer:
	case <-limit.C:
	}
}

// forward merges the streams into out until the connection or ctx ends.
func (h *Host) forward(ctx context.Context, end func(), cl *client, streams []<-chan any, out chan<- backend.Event) {
	var readers sync.WaitGroup
	for _, s := range streams {
		readers.Go(func() { h.relay(ctx, s, out) })
	}
	h.keepAlive(ctx, cl)
	end()
	readers.Wait()
	h.watches.Add(-1)
	close(out)
}

// keepAlive returns when the connection is lost, no longer answers, or ctx ends.
func (h *Host) keepAlive(ctx context.Context, cl *client) {
	tick := time.NewTicker(watchPing)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-cl.wire.lost:
			return
		case <-tick.C:
		}
		answered := make(chan error, 1)
		go func() {
			_, err := cl.ConnectGetLibVersion()
			answered <- err
		}()
		limit := time.NewTimer(watchPingTimeout)
		select {
		case err := <-answered:
			limit.Stop()
			if err != nil {
				return
			}
		case <-limit.C:
			return
		case <-ctx.Done():
			limit.Stop()
			await(answered)
			return
		}
	}
}

// relay passes one stream on. It reads to the stream's end, for go-libvirt
// blocks on a reader that leaves early.
func (h *Host) relay(ctx context.Context, in <-chan any, out chan<- backend.Event) {
	for raw := range in {
		ev, what, ok := translate(raw)
		if !ok {
			continue
		}
		ev.At, ev.Host = h.now(), h.name
		h.learn(raw, &ev, what)
		select {
		case out <- ev:
		case <-ctx.Done():
		default: // nobody reads: the table has it, the next Poll shows it
		}
	}
}

// learn keeps the table current.
func (h *Host) learn(raw any, ev *backend.Event, what touch) {
	if ev.UUID.IsZero() {
		return
	}
	switch m := raw.(type) {
	case *libvirt.DomainEventCallbackAgentLifecycleMsg:
		h.table.setAgent(ev.UUID, m.State == int32(libvirt.ConnectDomainEventAgentLifecycleStateConnected))
	case *libvirt.DomainEventCallbackIOErrorReasonMsg:
		h.table.setNote(ev.UUID, "disk error: "+ev.Detail)
	}
	if what != 0 {
		h.table.touch(ev.UUID, what)
	}
}

// unsweep makes the next Poll list the whole host.
func (t *table) unsweep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.sweptAt.IsZero() {
		t.sweptAt = time.Unix(0, 0)
	}
}

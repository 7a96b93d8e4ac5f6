package libvirt

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

// Options say which host and how.
type Options struct {
	// Name is the host's label; empty takes one from the URI.
	Name string
	// URI is a libvirt connection URI, as dial.Parse accepts.
	URI string
	// ReadOnly refuses every verb and asks the daemon for read-only access.
	ReadOnly bool
	// Local samples the machine berth runs on. It is used when the URI
	// names a daemon on this machine; nil asks libvirt in any case.
	Local func(context.Context) (backend.HostSample, error)
}

// target is where a Host connects to; dial.Target is one.
type target interface {
	String() string
	Driver() string
	Local() bool
	Label() string
	Dial(ctx context.Context, readOnly bool) (net.Conn, error)
}

// Host is a backend.Host on a libvirt daemon. It also is a backend.Definer,
// Consoler, Screenshotter, LogTailer, Tuner, Capacitor and Reacher.
type Host struct {
	name     string
	readOnly bool
	target   target
	sampler  func(context.Context) (backend.HostSample, error)
	procs    processSource // nil for remote hosts
	now      func() time.Time

	life context.Context // ends with Close
	end  context.CancelFunc
	mu   sync.Mutex     // orders work.Add before Close's Wait
	work sync.WaitGroup // goroutines that outlive a call

	cheap   *lane // never reaches a QEMU
	dear    *lane // figures of many domains
	single  *lane // questions about one domain
	action  *lane
	picture *lane // screenshots, which are streams
	backup  *lane // backup jobs, checkpoints, freezing and thawing
	jobs    *lane // DomainJobs, of the domains one by one
	storage *lane // pools and volumes

	road road // to the machine itself

	polling  chan struct{} // held by the Poll under way
	figuring chan struct{} // held by the Figures under way
	looking  chan struct{} // held by the DomainJobs under way
	qemu     bool          // the driver is QEMU's: domains have monitors and processes
	table    *table
	plan     *ration
	stuck    *quarantine
	lookup   addressBook
	static   staticFacts
	watches  atomic.Int32 // Watches with lifecycle events
	bulkless atomic.Bool  // the driver has no bulk statistics
	latency  atomic.Int64 // of the last cheap round trip, nanoseconds
	frozen   func()       // tests: called while a guest is frozen
}

var (
	_ backend.Host          = (*Host)(nil)
	_ backend.Definer       = (*Host)(nil)
	_ backend.Consoler      = (*Host)(nil)
	_ backend.Screenshotter = (*Host)(nil)
	_ backend.LogTailer     = (*Host)(nil)
	_ backend.Tuner         = (*Host)(nil)
	_ backend.Capacitor     = (*Host)(nil)
	_ backend.Reacher       = (*Host)(nil)
)

// New makes a Host and does no I/O. Its error, for a URI that berth does not
// support, wraps backend.ErrURI.
func New(o Options) (*Host, error) {
	t, err := dial.Parse(o.URI)
	if err != nil {
		return nil, err
	}
	h := newHost(o, t)
	if t.Local() && h.qemu {
		h.procs = newProcs()
	}
	return h, nil
}

// newHost wires a Host to a target.
func newHost(o Options, t target) *Host {
	life, end := context.WithCancel(context.Background())
	h := &Host{
		name: o.Name, readOnly: o.ReadOnly, target: t, now: time.Now, life: life, end: end,
		polling: make(chan struct{}, 1), figuring: make(chan struct{}, 1), looking: make(chan struct{}, 1),
		qemu: strings.HasPrefix(t.Driver(), "qemu:"), table: newTable(), plan: newRation(), stuck: newQuarantine(),
	}
	if h.name == "" {
		h.name = t.Label()
	}
	if t.Local() {
		h.sampler = o.Local
	}
	h.cheap = newLane(life, "cheap", 1, 4, h.open)
	h.dear = newLane(life, "dear", 1, 1, h.open)
	h.single = newLane(life, "single", 4, 1, h.open)
	h.action = newLane(life, "action", 8, 1, h.open)
	h.picture = newLane(life, "picture", 1, 1, h.openStreams)
	h.backup = newLane(life, "backup", 12, 1, h.open)
	h.jobs = newLane(life, "jobs", 4, 1, h.open)
	h.storage = newLane(life, "storage", 4, 1, h.open)
	h.road.turn = make(chan struct{}, 1)
	return h
}

// Name is the host's label in lists.
func (h *Host) Name() string { return h.name }

// URI is the connection URI, without secrets.
func (h *Host) URI() string { return h.target.String() }

// ReadOnly reports whether this Host refuses every verb.
func (h *Host) ReadOnly() bool { return h.readOnly }

// Close ends all connections and waits for what worked in the background.
func (h *Host) Close() error {
	h.mu.Lock()
	h.end()
	h.mu.Unlock()
	for _, l := range []*lane{h.cheap, h.dear, h.single, h.action, h.picture, h.backup, h.jobs, h.storage} {
		l.close()
	}
	h.road.set(nil)
	h.work.Wait()
	h.polling <- struct{}{} // a Poll under way ends soon now
	h.table.close()
	<-h.polling
	return nil
}

// take waits for the caller's turn at something that one does at a time, and
// whose channel it then holds.
func (h *Host) take(ctx context.Context, turn chan struct{}) error {
	if h.life.Err() != nil {
		return backend.ErrClosed
	}
	select {
	case turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	case <-h.life.Done():
		return backend.ErrClosed
	}
}

// spawn runs fn in the background, where Close waits for it. Once the Host is
// closed nobody waits: fn then ends at once by itself.
func (h *Host) spawn(fn func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.life.Err() != nil {
		go fn()
		return
	}
	h.work.Add(1)
	go func() {
		defer h.work.Done()
		fn()
	}()
}

// open dials the daemon and opens the driver. Errors wrap the sentinels.
func (h *Host) open(ctx context.Context) (*client, error) { return h.connect(ctx, false) }

// openStreams is open for calls that open streams.
func (h *Host) openStreams(ctx context.Context) (*client, error) { return h.connect(ctx, true) }

func (h *Host) connect(ctx context.Context, streams bool) (*client, error) {
	conn, err := h.target.Dial(ctx, h.readOnly)
	if err != nil {
		return nil, err
	}
	w := newWire(conn, h.readOnly, streams)
	lv := libvirt.NewWithDialer(dialers.NewAlreadyConnected(w))
	done := make(chan error, 1)
	go func() {
		err := lv.ConnectToURI(libvirt.ConnectURI(h.target.Driver()))
		close(w.opened)
		done <- err
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ended(ctx)
	}
	if err != nil {
		why := w.reason()
		w.Close()
		return nil, h.notOpened(err, why)
	}
	if !w.alive() {
		return nil, h.notOpened(errLost, w.reason())
	}
	return &client{Libvirt: lv, wire: w}, nil
}

// notOpened explains a handshake that failed.
func (h *Host) notOpened(err, why error) error {
	if isConnectionError(err) {
		err = fmt.Errorf("%w: the daemon closed the connection before it was open", backend.ErrUnreachable)
		if why != nil {
			err = fmt.Errorf("%w (%w)", err, why)
		}
	}
	return failed("connect", h.target.String(), err)
}

// writable refuses a change on a read-only Host, before any I/O.
func (h *Host) writable(op, name string) error {
	if h.readOnly {
		return failed(op, name, fmt.Errorf("%w: %s was opened read-only", backend.ErrReadOnly, h.name))
	}
	return nil
}

// label is a domain's name for messages: as last seen, else its UUID.
func (h *Host) label(u backend.UUID) string {
	if d, ok := h.table.domain(u); ok {
		return backend.Clean(d.Name)
	}
	return u.String()
}

// find returns libvirt's handle of u, asking when u was never seen.
func (h *Host) find(ctx context.Context, u backend.UUID) (libvirt.Domain, error) {
	if d, ok := h.table.domain(u); ok {
		return d, nil
	}
	return ask(ctx, h.cheap, func(lv *libvirt.Libvirt) (libvirt.Domain, error) {
		return lv.DomainLookupByUUID(libvirt.UUID(u))
	})
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/backend"
	"berth/model/config"
)

// Attempt is one connection that was tried and failed.
type Attempt struct {
	URI string
	Err error
}

// probeDeadline bounds how long a daemon on this machine is waited for.
const probeDeadline = 5 * time.Second

// fleet is the hosts of one run.
type fleet struct {
	hosts []backend.Host
	tried []Attempt // defaults that did not answer
}

func (f *fleet) close() error {
	var errs []error
	for _, h := range f.hosts {
		errs = append(errs, h.Close())
	}
	return errors.Join(errs...)
}

// openFleet makes the hosts that flags, config and environment ask for. When
// nothing names a connection, the defaults are tried in order and the first
// that answers is taken; when none does, the fleet has no hosts and says what
// was tried.
func (a *app) openFleet(ctx context.Context) (*fleet, error) {
	if a.flags.demo {
		return &fleet{hosts: a.demoHosts()}, nil
	}
	conns := a.chosen()
	if len(conns) == 0 {
		return a.firstThatAnswers(ctx)
	}
	f := &fleet{}
	names := labels{}
	for _, c := range conns {
		h, err := a.connect(c, names)
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
		f.hosts = append(f.hosts, h)
	}
	return f, nil
}

func (a *app) demoHosts() []backend.Host {
	return a.Demo(DemoSpec{Seed: a.flags.demoSeed, Hosts: a.flags.demoHosts, VMs: a.flags.demoVMs, ReadOnly: a.config.ReadOnly})
}

// chosen are the connections that -c, the config or LIBVIRT_DEFAULT_URI name.
// What is named is never replaced by a default when it does not answer: that
// would show, and act on, another host than the one that was meant.
func (a *app) chosen() []config.Connection {
	uris := a.flags.connect
	if len(uris) == 0 {
		if len(a.config.Connections) > 0 {
			return a.config.Connections
		}
		if uri := a.Env("LIBVIRT_DEFAULT_URI"); uri != "" {
			uris = []string{uri}
		}
	}
	var out []config.Connection
	for _, uri := range uris {
		c := a.entry(uri)
		if !slices.Contains(out, c) { // twice would be every VM twice
			out = append(out, c)
		}
	}
	return out
}

// entry is the config's connection of that URI or name, so that a host that
// the config guards is guarded however it is named; else one of the URI alone.
func (a *app) entry(uri string) config.Connection {
	for _, c := range a.config.Connections {
		if c.URI == uri || c.Name == uri {
			return c
		}
	}
	return config.Connection{URI: uri}
}

// defaultURIs are tried when nothing names a connection.
var defaultURIs = []string{"qemu:///system", "qemu:///session"}

func (a *app) firstThatAnswers(ctx context.Context) (*fleet, error) {
	f := &fleet{}
	for _, uri := range defaultURIs {
		err := a.probe(ctx, uri)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		// One that is there and slow is still the one that is meant: another
		// would show other VMs.
		if err != nil && !errors.Is(err, backend.ErrTimeout) {
			f.tried = append(f.tried, Attempt{URI: uri, Err: err})
			continue
		}
		h, err := a.connect(a.entry(uri), labels{})
		if err != nil {
			return nil, err
		}
		f.hosts = []backend.Host{h}
		return f, nil
	}
	return f, nil
}

// probe reports why the daemon at uri does not answer, or nil. It polls a host
// of its own, because a Host's first Poll is its fastest and the caller's
// should stay that.
func (a *app) probe(ctx context.Context, uri string) error {
	h, err := a.Connect(HostSpec{URI: uri, ReadOnly: true})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeDeadline)
	defer cancel()
	_, err = h.Poll(ctx)
	return errors.Join(err, h.Close())
}

// labels keeps hosts' names unique.
type labels map[string]bool

// connect makes one host. A name that is taken gets "-2", "-3" and so on.
func (a *app) connect(c config.Connection, taken labels) (backend.Host, error) {
	spec := HostSpec{Name: c.Name, URI: c.URI, ReadOnly: a.readOnly(c)}
	h, err := a.Connect(spec)
	if err != nil {
		return nil, err
	}
	base := h.Name()
	for n := 2; taken[h.Name()]; n++ {
		if err := h.Close(); err != nil {
			return nil, err
		}
		spec.Name = fmt.Sprintf("%s-%d", base, n)
		if h, err = a.Connect(spec); err != nil {
			return nil, err
		}
	}
	taken[h.Name()] = true
	return h, nil
}

// readOnly reports whether a connection is to change nothing, because it or
// everything is read-only; --write overrides the config in both.
func (a *app) readOnly(c config.Connection) bool {
	return a.config.ReadOnly || c.ReadOnly && !a.flags.write
}

// needHosts turns a fleet without hosts into an error for commands that
// cannot go on without: one line for each connection that was tried.
func (a *app) needHosts(f *fleet) error {
	if len(f.hosts) > 0 {
		return nil
	}
	for _, t := range f.tried {
		a.complain(connectionError(t.URI, t.Err))
	}
	a.complain(errors.New("no libvirt answers; name one with -c URI, or look around with --demo"))
	return errReported
}

// overFleet runs do over the hosts that are asked for, of which there has to be
// one.
func (a *app) overFleet(ctx context.Context, do func(*fleet) error) (err error) {
	f, err := a.openFleet(ctx)
	if err != nil {
		return err
	}
	defer func() { err = closeAll(err, f) }()
	if err := a.needHosts(f); err != nil {
		return err
	}
	return do(f)
}

// connectionError names the URI unless the error does.
func connectionError(uri string, err error) error {
	var op *backend.OpError
	if errors.As(err, &op) {
		return err
	}
	return fmt.Errorf("%s: %w", uri, err)
}

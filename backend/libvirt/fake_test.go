package libvirt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"berth/backend"
)

// The procedures that the fake daemon answers (remote_protocol.x).
const (
	procXML          = 14
	procInfo         = 16
	procLookup       = 24
	procAuthList     = 66
	procAbortJob     = 164
	procLibVersion   = 157
	procOpenConsole  = 201
	procScreenshot   = 211
	procState        = 212
	procDestroy      = 234
	procListAll      = 273
	procJobStats     = 298
	procRegister     = 316
	procDeregister   = 317
	procLifecycleMsg = 318
	procStats        = 344
)

// xdr builds what a daemon sends.
type xdr struct{ bytes.Buffer }

func (x *xdr) u32(v uint32) *xdr { _ = binary.Write(x, binary.BigEndian, v); return x }
func (x *xdr) u64(v uint64) *xdr { _ = binary.Write(x, binary.BigEndian, v); return x }
func (x *xdr) str(s string) *xdr {
	x.u32(uint32(len(s)))
	x.WriteString(s)
	x.Write(make([]byte, (4-len(s)%4)%4))
	return x
}

func (x *xdr) domain(d fakeDomain) *xdr {
	x.str(d.name)
	x.Write(d.uuid[:])
	return x.u32(uint32(d.id))
}

// ullong adds a typed parameter.
func (x *xdr) ullong(name string, v uint64) *xdr { return x.str(name).u32(4).u64(v) }

func (x *xdr) int(name string, v uint32) *xdr { return x.str(name).u32(1).u32(v) }

// fakeDomain is a domain of the fake daemon.
type fakeDomain struct {
	name  string
	uuid  backend.UUID
	id    int32
	state uint32
	stuck bool
}

// fakeDaemon speaks libvirt's RPC over pipes. It is a target, too.
type fakeDaemon struct {
	t *testing.T

	mu      sync.Mutex
	domains []fakeDomain
	calls   map[uint32]int
	asked   [][]string // the domains of each bulk call for dear figures
	flags   []uint32   // of each connection's opening
	handle  map[uint32]func(payload []byte) ([]byte, error)
	conns   []net.Conn
	down    bool
	eager   bool // streams send their data before the reply
	picture []byte
	release chan struct{} // ends the calls that hang
	once    sync.Once
	events  []*fakeConn
}

func newFake(t *testing.T, domains ...fakeDomain) *fakeDaemon {
	d := &fakeDaemon{t: t, domains: domains, calls: map[uint32]int{}, handle: map[uint32]func([]byte) ([]byte, error){},
		release: make(chan struct{})}
	t.Cleanup(d.end)
	return d
}

// host is a Host on the daemon, closed at the test's end.
func (d *fakeDaemon) host(o Options) *Host {
	h := newHost(o, d)
	d.t.Cleanup(func() {
		if err := h.Close(); err != nil {
			d.t.Error(err)
		}
	})
	return h
}

func (d *fakeDaemon) String() string { return "qemu+tcp://fake/system" }
func (d *fakeDaemon) Driver() string { return "qemu:///system" }
func (d *fakeDaemon) Local() bool    { return false }
func (d *fakeDaemon) Label() string  { return "fake" }

func (d *fakeDaemon) Dial(context.Context, bool) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return nil, &backend.OpError{Op: "connect", Target: d.String(), Err: backend.ErrUnreachable}
	}
	ours, theirs := net.Pipe()
	d.conns = append(d.conns, theirs)
	go (&fakeConn{d: d, c: theirs}).serve()
	return ours, nil
}

// cut closes every connection.
func (d *fakeDaemon) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		c.Close()
	}
	d.conns = nil
}

func (d *fakeDaemon) count(proc uint32) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[proc]
}

// fakeConn is one connection of the daemon.
type fakeConn struct {
	d  *fakeDaemon
	c  net.Conn
	mu sync.Mutex
}

func (f *fakeConn) serve() {
	for {
		head := make([]byte, headerSize)
		if _, err := io.ReadFull(f.c, head); err != nil {
			return
		}
		payload := make([]byte, binary.BigEndian.Uint32(head)-headerSize)
		if _, err := io.ReadFull(f.c, payload); err != nil {
			return
		}
		if binary.BigEndian.Uint32(head[16:]) == 0 { // a call
			go f.answer(binary.BigEndian.Uint32(head[12:]), binary.BigEndian.Uint32(head[20:]), payload)
		}
	}
}

func (f *fakeConn) send(proc, kind, serial, status uint32, payload []byte) {
	x := &xdr{}
	x.u32(uint32(headerSize + len(payload))).u32(remoteProgram).u32(1).u32(proc).u32(kind).u32(serial).u32(status)
	x.Write(payload)
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = f.c.Write(x.Bytes()) // the client may have gone
}

// lvError is an error to send back.
type lvError struct {
	code uint32
	text string
}

func (e lvError) Error() string { return e.text }

func (f *fakeConn) answer(proc, serial uint32, payload []byte) {
	f.d.mu.Lock()
	f.d.calls[proc]++
	custom := f.d.handle[proc]
	f.d.mu.Unlock()
	if custom == nil {
		custom = f.d.builtin(f, proc)
	}
	body, err := custom(payload)
	var e lvError
	if errors.As(err, &e) {
		x := &xdr{}
		x.u32(e.code).u32(10).u32(1).str(e.text).u32(2).u32(0).u32(0).u32(0).u32(0).u32(0).u32(0).u32(0)
		f.send(proc, typeReply, serial, 1, x.Bytes())
		return
	}
	if proc == procScreenshot {
		f.stream(proc, serial, body)
		return
	}
	f.send(proc, typeReply, serial, 0, body)
}

// stream sends the picture and the reply, in either order.
func (f *fakeConn) stream(proc, serial uint32, reply []byte) {
	data := func() {
		f.send(proc, typeStream, serial, 2, f.d.picture)
		f.send(proc, typeStream, serial, 2, nil)
	}
	if f.d.eager {
		data()
	}
	f.send(proc, typeReply, serial, 0, reply)
	if !f.d.eager {
		data()
	}
}

// builtin is what the daemon does unless a test says otherwise.
func (d *fakeDaemon) builtin(f *fakeConn, proc uint32) func([]byte) ([]byte, error) {
	reply := func(build func(*xdr)) func([]byte) ([]byte, error) {
		return func([]byte) ([]byte, error) {
			x := &xdr{}
			build(x)
			return x.Bytes(), nil
		}
	}
	switch proc {
	case procAuthList:
		return reply(func(x *xdr) { x.u32(1).u32(0) })
	case procOpen:
		return func(p []byte) ([]byte, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.flags = append(d.flags, binary.BigEndian.Uint32(p[len(p)-4:]))
			return nil, nil
		}
	case procLibVersion:
		return reply(func(x *xdr) { x.u64(9000000) })
	case procListAll:
		return reply(func(x *xdr) { x.u32(0).u32(0) })
	case procStats:
		return d.stats
	case procXML:
		return reply(func(x *xdr) { x.str(fakeXML) })
	case procLookup:
		return d.lookup
	case procState:
		return func(p []byte) ([]byte, error) {
			return d.about(p, func(x *xdr, m fakeDomain) { x.u32(m.state).u32(1) })
		}
	case procInfo:
		return func(p []byte) ([]byte, error) {
			return d.about(p, func(x *xdr, m fakeDomain) { x.u32(m.state).u64(1024).u64(1024).u32(1).u64(5e9) })
		}
	case procScreenshot:
		return reply(func(x *xdr) { x.u32(1).str("image/x-portable-pixmap") })
	case procRegister:
		return func(p []byte) ([]byte, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.events = append(d.events, f)
			x := &xdr{}
			x.u32(binary.BigEndian.Uint32(p) + 100) // the callback's number
			return x.Bytes(), nil
		}
	}
	return func([]byte) ([]byte, error) { return nil, lvError{3, "no support"} }
}

// lookup finds by UUID.
func (d *fakeDaemon) lookup(p []byte) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range d.domains {
		if bytes.Equal(m.uuid[:], p[:16]) {
			x := &xdr{}
			x.domain(m)
			return x.Bytes(), nil
		}
	}
	return nil, lvError{42, "Domain not found"}
}

// about answers on the domain that a payload begins with.
func (d *fakeDaemon) about(p []byte, build func(*xdr, fakeDomain)) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range d.domains {
		if bytes.Contains(p, m.uuid[:]) {
			x := &xdr{}
			build(x, m)
			return x.Bytes(), nil
		}
	}
	return nil, lvError{42, "Domain not found"}
}

// stats answers the bulk call. When a stuck domain is among those whose block
// figures are asked for, it hangs.
func (d *fakeDaemon) stats(p []byte) ([]byte, error) {
	groups := binary.BigEndian.Uint32(p[len(p)-8:])
	n := binary.BigEndian.Uint32(p)
	d.mu.Lock()
	var in []fakeDomain
	var names []string
	hang := false
	for _, m := range d.domains {
		if n == 0 || bytes.Contains(p, m.uuid[:]) {
			in = append(in, m)
			names = append(names, m.name)
			hang = hang || m.stuck && groups&32 != 0
		}
	}
	if groups&32 != 0 {
		d.asked = append(d.asked, names)
	}
	d.mu.Unlock()
	if hang {
		<-d.release
	}
	x := &xdr{}
	x.u32(uint32(len(in)))
	for _, m := range in {
		x.domain(m)
		if groups&32 == 0 {
			x.u32(2).int("state.state", m.state).int("state.reason", 1)
			continue
		}
		x.u32(4).ullong("block.count", 1).ullong("block.0.rd.bytes", 4096).ullong("block.0.rd.reqs", 2).ullong("balloon.rss", 1024)
	}
	return x.Bytes(), nil
}

// lifecycle sends a lifecycle event about m.
func (d *fakeDaemon) lifecycle(m fakeDomain, event, detail uint32) {
	d.mu.Lock()
	to := d.events[0]
	d.mu.Unlock()
	x := &xdr{}
	x.u32(100).domain(m).u32(event).u32(detail)
	to.send(procLifecycleMsg, 2, 0, 0, x.Bytes())
}

// end lets the calls that hang go.
func (d *fakeDaemon) end() { d.once.Do(func() { close(d.release) }) }

// hang leaves calls of that procedure without an answer. The channel tells
// when the first has arrived.
func (d *fakeDaemon) hang(proc uint32) (arrived <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := make(chan struct{})
	var once sync.Once
	d.handle[proc] = func([]byte) ([]byte, error) {
		once.Do(func() { close(first) })
		<-d.release
		return nil, nil
	}
	return first
}

func (d *fakeDaemon) heal(proc uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.handle, proc)
}

func running(name string, n byte) fakeDomain {
	return fakeDomain{name: name, uuid: backend.UUID{n}, id: int32(n), state: 1}
}

// soon is a context that no test should ever see end.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

const fakeXML = `<domain type='kvm'><name>a</name><memory unit='KiB'>1048576</memory><vcpu>2</vcpu><devices><disk type='file' device='disk'><target dev='vda'/></disk></devices></domain>`

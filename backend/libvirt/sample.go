package libvirt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

const (
	// staticEvery is how often versions and sizes are read again.
	staticEvery = time.Minute
	// perCPUMost is the number of CPUs up to which each is read by itself,
	// which is a call each.
	perCPUMost = 16
)

// staticWait is how long a Sample waits for them when they are not known. A
// daemon that has just started may first probe all its emulators for minutes.
const staticWait = 300 * time.Millisecond

// staticFacts are what a host says of itself and hardly ever changes.
type staticFacts struct {
	mu      sync.Mutex
	at      time.Time
	s       backend.HostSample
	reading chan struct{} // closed when the reading under way ends; nil without one
}

// Sample reads the host's load and sizes: on this machine through the sampler
// that New was given, else through libvirt's node calls. Versions and sizes
// that libvirt is slow to tell come with a later Sample.
func (h *Host) Sample(ctx context.Context) (backend.HostSample, error) {
	if h.life.Err() != nil {
		return backend.HostSample{}, h.broken("sample", backend.ErrClosed)
	}
	err := h.ping(ctx)
	static := h.staticSample(ctx, err == nil)
	if h.sampler != nil {
		s, lerr := h.sampler(ctx)
		if lerr != nil {
			return s, h.broken("sample", errors.Join(lerr, err))
		}
		s.Local, s.Connected = true, err == nil
		s.Hypervisor, s.Libvirt = static.Hypervisor, static.Libvirt
		s.Latency = time.Duration(h.latency.Load())
		return s, nil
	}
	if err != nil {
		return static, h.broken("sample", err)
	}
	s, err := h.remoteSample(ctx, static)
	return s, h.broken("sample", err)
}

// ping measures one round trip.
func (h *Host) ping(ctx context.Context) error {
	start := h.now()
	_, err := ask(ctx, h.cheap, (*libvirt.Libvirt).ConnectGetLibVersion)
	if err == nil {
		h.latency.Store(int64(h.now().Sub(start)))
	}
	return err
}

// staticSample is the static facts as far as they are known. When they are
// old it has them read in the background.
func (h *Host) staticSample(ctx context.Context, connected bool) backend.HostSample {
	f := &h.static
	f.mu.Lock()
	if connected && f.reading == nil && (f.at.IsZero() || h.now().Sub(f.at) >= staticEvery) {
		f.reading = make(chan struct{})
		h.spawn(func() { h.readStatic(f) })
	}
	reading, known := f.reading, !f.at.IsZero()
	f.mu.Unlock()
	if reading != nil && !known {
		t := time.NewTimer(staticWait)
		defer t.Stop()
		select {
		case <-reading:
		case <-t.C:
		case <-ctx.Done():
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.s
}

// readStatic reads the static facts once. A failure leaves the old ones, to be
// read again by the next Sample.
func (h *Host) readStatic(f *staticFacts) {
	s, err := ask(h.life, h.single, askStatic)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.s, f.at = s, h.now()
	}
	close(f.reading)
	f.reading = nil
}

// drivers are the names of libvirt's drivers as people write them.
var drivers = map[string]string{"QEMU": "QEMU", "TEST": "libvirt test driver"}

func askStatic(lv *libvirt.Libvirt) (s backend.HostSample, err error) {
	version, err := lv.ConnectGetLibVersion()
	if err != nil {
		return s, err
	}
	s.Libvirt = dotted(version)
	if s.Hostname, err = lv.ConnectGetHostname(); err != nil {
		return s, err
	}
	s.Hostname = backend.Clean(s.Hostname)
	kind, err := lv.ConnectGetType()
	if err != nil {
		return s, err
	}
	if name := drivers[kind]; name != "" {
		kind = name
	}
	s.Hypervisor = backend.Clean(kind)
	if v, err := lv.ConnectGetVersion(); err == nil { // not every driver has one
		s.Hypervisor += " " + dotted(v)
	}
	model, _, cpus, mhz, nodes, sockets, cores, threads, err := lv.NodeGetInfo()
	if err != nil {
		return s, err
	}
	s.Model, s.CPUs, s.MHz = chars(model[:]), int(cpus), int(mhz)
	s.Sockets, s.Cores, s.Threads = int(sockets*max(nodes, 1)), int(cores), int(threads)
	return s, nil
}

// chars reads a C string.
func chars(c []int8) string {
	b := make([]byte, 0, len(c))
	for _, x := range c {
		if x == 0 {
			break
		}
		b = append(b, byte(x))
	}
	return backend.Clean(string(b))
}

// dotted writes libvirt's version numbers, 1,000,000 major + 1,000 minor + release.
func dotted(v uint64) string {
	return fmt.Sprintf("%d.%d.%d", v/1000000, v/1000%1000, v%1000)
}

// remoteSample asks libvirt's node calls, none of which reaches a guest.
func (h *Host) remoteSample(ctx context.Context, s backend.HostSample) (backend.HostSample, error) {
	s.At, s.Connected, s.Latency = h.now(), true, time.Duration(h.latency.Load())
	mem, err := ask(ctx, h.cheap, nodeMemory)
	if err != nil && !unsupported(err) {
		return s, err
	}
	s.MemTotal = mem["total"] << 10
	// Near what Linux calls available: caches can be dropped.
	s.MemFree = (mem["free"] + mem["buffers"] + mem["cached"]) << 10
	total, err := ask(ctx, h.cheap, func(lv *libvirt.Libvirt) (backend.HostCPU, error) { return nodeCPU(lv, allCPUs) })
	if err != nil && !unsupported(err) {
		return s, err
	}
	s.CPU = total
	if err != nil || s.CPUs > perCPUMost {
		return s, nil
	}
	s.PerCPU, err = ask(ctx, h.cheap, func(lv *libvirt.Libvirt) ([]backend.HostCPU, error) {
		per := make([]backend.HostCPU, s.CPUs)
		for i := range per {
			var err error
			if per[i], err = nodeCPU(lv, int32(i)); err != nil {
				return nil, err
			}
		}
		return per, nil
	})
	var refused *daemonError
	if errors.As(coded(err), &refused) { // numbers with gaps: the total must do
		return s, nil
	}
	return s, err
}

const (
	allCPUs  = -1 // VIR_NODE_CPU_STATS_ALL_CPUS
	allCells = -1 // VIR_NODE_MEMORY_STATS_ALL_CELLS
)

// nodeMemory is virNodeGetMemoryStats, in KiB. virNodeGetInfo's figure is
// wrong where memory was plugged in.
func nodeMemory(lv *libvirt.Libvirt) (map[string]uint64, error) {
	_, n, err := lv.NodeGetMemoryStats(0, allCells, 0)
	if err != nil {
		return nil, err
	}
	params, _, err := lv.NodeGetMemoryStats(n, allCells, 0)
	if err != nil {
		return nil, err
	}
	m := make(map[string]uint64, len(params))
	for _, p := range params {
		m[p.Field] = p.Value
	}
	return m, nil
}

// nodeCPU is virNodeGetCPUStats, in nanoseconds since boot.
func nodeCPU(lv *libvirt.Libvirt, number int32) (c backend.HostCPU, err error) {
	_, n, err := lv.NodeGetCPUStats(number, 0, 0)
	if err != nil {
		return c, err
	}
	params, _, err := lv.NodeGetCPUStats(number, n, 0)
	if err != nil {
		return c, err
	}
	for _, p := range params {
		d := time.Duration(p.Value)
		switch p.Field {
		case "user":
			c.User = d
		case "kernel":
			c.System += d
		case "intr":
			c.System += d
		case "idle":
			c.Idle = d
		case "iowait":
			c.IOWait = d
		}
	}
	return c, nil
}

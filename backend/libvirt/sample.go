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

// staticFacts are what a host says of itself and hardly ever changes.
type staticFacts struct {
	mu sync.Mutex
	at time.Time
	s  backend.HostSample
}

// Sample reads the host's load and sizes: on this machine through the sampler
// that New was given, else through libvirt's node calls.
func (h *Host) Sample(ctx context.Context) (backend.HostSample, error) {
	if h.life.Err() != nil {
		return backend.HostSample{}, failed("sample", h.name, backend.ErrClosed)
	}
	static, err := h.staticSample(ctx)
	if h.sampler != nil {
		s, lerr := h.sampler(ctx)
		if lerr != nil {
			return s, failed("sample", h.name, errors.Join(lerr, err))
		}
		s.Local, s.Connected = true, err == nil
		s.Hypervisor, s.Libvirt = static.Hypervisor, static.Libvirt
		s.Latency = time.Duration(h.latency.Load())
		return s, nil
	}
	if err != nil {
		return static, failed("sample", h.name, err)
	}
	s, err := h.remoteSample(ctx, static)
	return s, failed("sample", h.name, err)
}

// staticSample is the static facts, read again now and then; each call makes
// one round trip, whose time is the host's latency.
func (h *Host) staticSample(ctx context.Context) (backend.HostSample, error) {
	start := h.now()
	version, err := ask(ctx, h.cheap, (*libvirt.Libvirt).ConnectGetLibVersion)
	h.static.mu.Lock()
	s, at := h.static.s, h.static.at
	h.static.mu.Unlock()
	if err != nil {
		return s, err
	}
	now := h.now()
	h.latency.Store(int64(now.Sub(start)))
	if now.Sub(at) < staticEvery && !at.IsZero() {
		return s, nil
	}
	s, err = ask(ctx, h.cheap, readStatic)
	if err != nil {
		return s, err
	}
	s.Libvirt = dotted(version)
	h.static.mu.Lock()
	h.static.s, h.static.at = s, now
	h.static.mu.Unlock()
	return s, nil
}

// drivers are the names of libvirt's drivers as people write them.
var drivers = map[string]string{"QEMU": "QEMU", "TEST": "libvirt test driver"}

func readStatic(lv *libvirt.Libvirt) (s backend.HostSample, err error) {
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

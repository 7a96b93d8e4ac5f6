// Package host reads the load and sizes of the machine that berth runs on.
// A remote host's come from libvirt's node calls instead.
package host

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
	gohost "github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/load"
	"github.com/shirou/gopsutil/v3/mem"

	"berth/backend"
)

// Sampler reads this machine's figures. What does not change while the
// machine is up is read once. Its methods may be called concurrently.
type Sampler struct {
	mu     sync.Mutex
	static *backend.HostSample // nil until it was read
	seen   map[string]backend.HostCPU
}

// New makes a Sampler; the first Sample reads what never changes.
func New() *Sampler { return &Sampler{seen: map[string]backend.HostCPU{}} }

// Sample reads the machine's figures now. CPU is the sum over every CPU that
// was ever seen online, so that it never falls when one is taken offline;
// PerCPU holds those online now. Hypervisor, Libvirt, Connected and Latency
// are for the connection to say and stay zero.
func (s *Sampler) Sample(ctx context.Context) (backend.HostSample, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.static == nil {
		static, err := readStatic(ctx)
		if err != nil {
			return backend.HostSample{}, err
		}
		s.static = &static
	}
	h := *s.static
	for _, read := range []func(context.Context, *backend.HostSample) error{readName, s.readCPU, readMemory, readLoad} {
		if err := read(ctx, &h); err != nil {
			return backend.HostSample{}, err
		}
	}
	return h, nil
}

// readStatic reads what stays the same until the next boot.
func readStatic(ctx context.Context) (backend.HostSample, error) {
	h := backend.HostSample{Local: true}
	kernel, err := gohost.KernelVersionWithContext(ctx)
	if err != nil {
		return h, fmt.Errorf("kernel version: %w", err)
	}
	h.Kernel = backend.Clean(kernel)
	boot, err := gohost.BootTimeWithContext(ctx)
	if err != nil {
		return h, fmt.Errorf("boot time: %w", err)
	}
	h.BootTime = time.Unix(int64(boot), 0)
	cpus, err := cpu.InfoWithContext(ctx)
	if err != nil {
		return h, fmt.Errorf("CPU model: %w", err)
	}
	setTopology(&h, cpus)
	return h, nil
}

// setTopology counts sockets, cores and threads from the CPUs' places. CPUs
// that do not tell theirs, as on most ARM machines, count as one socket of
// single-threaded cores.
func setTopology(h *backend.HostSample, cpus []cpu.InfoStat) {
	if len(cpus) == 0 {
		return
	}
	h.Model = backend.Clean(strings.Join(strings.Fields(cpus[0].ModelName), " "))
	h.MHz = int(math.Round(cpus[0].Mhz))
	sockets, cores := map[string]bool{}, map[[2]string]bool{}
	for _, c := range cpus {
		core := c.CoreID
		if core == "" {
			core = fmt.Sprint(c.CPU)
		}
		sockets[c.PhysicalID] = true
		cores[[2]string{c.PhysicalID, core}] = true
	}
	h.Sockets = len(sockets)
	h.Cores = max(1, len(cores)/len(sockets))
	h.Threads = max(1, len(cpus)/len(cores))
}

func readName(_ context.Context, h *backend.HostSample) error {
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	h.Hostname = backend.Clean(name)
	return nil
}

func (s *Sampler) readCPU(ctx context.Context, h *backend.HostSample) error {
	times, err := cpu.TimesWithContext(ctx, true)
	if err != nil {
		return fmt.Errorf("CPU times: %w", err)
	}
	if len(times) == 0 {
		return fmt.Errorf("CPU times: /proc/stat names no CPU")
	}
	h.At = time.Now()
	h.CPUs = len(times)
	h.PerCPU = make([]backend.HostCPU, len(times))
	for i := range times {
		h.PerCPU[i] = hostCPU(&times[i])
		s.seen[times[i].CPU] = h.PerCPU[i]
	}
	for _, c := range s.seen {
		h.CPU.User += c.User
		h.CPU.System += c.System
		h.CPU.Idle += c.Idle
		h.CPU.IOWait += c.IOWait
		h.CPU.Steal += c.Steal
	}
	return nil
}

// hostCPU sums the kernel's kinds of time into ours. User time already holds
// the time of guests (proc(5)), and interrupts are the system's.
func hostCPU(t *cpu.TimesStat) backend.HostCPU {
	return backend.HostCPU{
		User:   seconds(t.User + t.Nice),
		System: seconds(t.System + t.Irq + t.Softirq),
		Idle:   seconds(t.Idle),
		IOWait: seconds(t.Iowait),
		Steal:  seconds(t.Steal),
	}
}

// seconds undoes gopsutil's division of clock ticks, to the millisecond.
func seconds(s float64) time.Duration { return time.Duration(math.Round(s*1000)) * time.Millisecond }

func readMemory(ctx context.Context, h *backend.HostSample) error {
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	h.MemTotal, h.MemFree = m.Total, m.Available
	h.SwapTotal, h.SwapFree = m.SwapTotal, m.SwapFree
	return nil
}

func readLoad(ctx context.Context, h *backend.HostSample) error {
	l, err := load.AvgWithContext(ctx)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	h.Load, h.HasLoad = [3]float64{l.Load1, l.Load5, l.Load15}, true
	return nil
}

var shared = New()

// Sample reads this machine's figures with a Sampler that all callers share.
func Sample(ctx context.Context) (backend.HostSample, error) { return shared.Sample(ctx) }

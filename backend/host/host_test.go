package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v3/common"
	"github.com/shirou/gopsutil/v3/cpu"

	"berth/backend"
)

func TestSampleOfThisMachine(t *testing.T) {
	s := New()
	before := time.Now()
	first, err := s.Sample(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name, _ := os.Hostname()
	switch {
	case first.Hostname != backend.Clean(name):
		t.Errorf("host name %q, want %q", first.Hostname, name)
	case first.At.Before(before):
		t.Errorf("sampled at %v, before it was asked", first.At)
	case !first.Local || !first.HasLoad:
		t.Error("not marked as local with load")
	case first.Kernel == "" || first.Model == "":
		t.Errorf("kernel %q, model %q", first.Kernel, first.Model)
	case first.CPUs != len(first.PerCPU) || first.CPUs < 1:
		t.Errorf("%d CPUs, %d of them with times", first.CPUs, len(first.PerCPU))
	case first.MemTotal == 0 || first.MemFree == 0 || first.MemFree > first.MemTotal:
		t.Errorf("memory %d of %d", first.MemFree, first.MemTotal)
	case first.SwapFree > first.SwapTotal:
		t.Errorf("swap %d of %d", first.SwapFree, first.SwapTotal)
	case first.BootTime.After(before) || first.BootTime.IsZero():
		t.Errorf("booted at %v", first.BootTime)
	case first.Sockets < 1 || first.Cores < 1 || first.Threads < 1:
		t.Errorf("%d sockets, %d cores, %d threads", first.Sockets, first.Cores, first.Threads)
	}
	for end := time.Now().Add(20 * time.Millisecond); time.Now().Before(end); {
		runtime.Gosched() // some CPU time must pass
	}
	second, err := s.Sample(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if second.CPU.Total() <= first.CPU.Total() {
		t.Errorf("total CPU time went from %v to %v", first.CPU.Total(), second.CPU.Total())
	}
}

// fixture is a machine of two sockets whose second one has gone offline in
// the second sample.
func fixture(t *testing.T, stat string) context.Context {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"stat":    stat,
		"meminfo": "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 600 kB\nSwapTotal: 50 kB\nSwapFree: 40 kB\n",
		"uptime":  fmt.Sprintf("%.2f 1.00\n", time.Since(booted).Seconds()), // gopsutil prefers it in containers
		"loadavg": "1.50 0.75 0.25 2/300 4242\n",
		"cpuinfo": "processor : 0\nmodel name : Fine  CPU\x1b[31m @ 2GHz\nphysical id : 0\ncore id : 0\n\nprocessor : 1\nphysical id : 0\ncore id : 0\n\n" +
			"processor : 2\nphysical id : 1\ncore id : 0\n\nprocessor : 3\nphysical id : 1\ncore id : 0\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return context.WithValue(t.Context(), common.EnvKey, common.EnvMap{common.HostProcEnvKey: dir, common.HostSysEnvKey: dir})
}

// booted is the btime of the fixtures.
var booted = time.Unix(1700000000, 0)

const (
	statBoth = "cpu  0 0 0 0\ncpu0 100 10 20 300 5 1 2 7 0 0\ncpu1 200 0 40 100 0 0 0 0 150 0\nintr 1\nbtime 1700000000\n"
	statOne  = "cpu  0 0 0 0\ncpu0 150 10 20 300 5 1 2 7 0 0\nintr 1\nbtime 1700000000\n"
)

func TestSampleOfFixture(t *testing.T) {
	s := New()
	h, err := s.Sample(fixture(t, statBoth))
	if err != nil {
		t.Fatal(err)
	}
	tick := 10 * time.Millisecond
	if want := (backend.HostCPU{User: 110 * tick, System: 23 * tick, Idle: 300 * tick, IOWait: 5 * tick, Steal: 7 * tick}); h.PerCPU[0] != want {
		t.Errorf("first CPU %+v, want %+v", h.PerCPU[0], want)
	}
	if want := 310 * tick; h.CPU.User != want {
		t.Errorf("user time %v, want %v: guest time is part of user time and must not count twice", h.CPU.User, want)
	}
	if h.MemTotal != 1000<<10 || h.MemFree != 600<<10 || h.SwapTotal != 50<<10 || h.SwapFree != 40<<10 {
		t.Errorf("memory %d %d, swap %d %d", h.MemTotal, h.MemFree, h.SwapTotal, h.SwapFree)
	}
	if h.Load != [3]float64{1.5, 0.75, 0.25} {
		t.Errorf("load %v", h.Load)
	}
	if h.Sockets != 2 || h.Cores != 1 || h.Threads != 2 {
		t.Errorf("%d sockets of %d cores of %d threads", h.Sockets, h.Cores, h.Threads)
	}
	if h.Model != "Fine CPU�[31m @ 2GHz" {
		t.Errorf("model %q", h.Model)
	}
	if off := h.BootTime.Sub(booted).Abs(); off > 2*time.Second {
		t.Errorf("booted %v", h.BootTime)
	}
}

func TestTotalNeverFallsWhenACPUGoesOffline(t *testing.T) {
	s := New()
	before, err := s.Sample(fixture(t, statBoth))
	if err != nil {
		t.Fatal(err)
	}
	after, err := s.Sample(fixture(t, statOne))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := after.CPU.Total()-before.CPU.Total(), 500*time.Millisecond; got != want {
		t.Errorf("CPU time grew by %v, want %v", got, want)
	}
	if after.CPUs != 1 || len(after.PerCPU) != 1 {
		t.Errorf("%d CPUs online, %d with times, want 1", after.CPUs, len(after.PerCPU))
	}
}

func TestNoCPUIsAnError(t *testing.T) {
	if h, err := New().Sample(fixture(t, "intr 1\nbtime 1700000000\n")); err == nil {
		t.Errorf("a machine without CPUs gave %+v", h)
	}
}

func TestTopologyWithoutPlaces(t *testing.T) {
	var h backend.HostSample
	setTopology(&h, []cpu.InfoStat{{CPU: 0}, {CPU: 1}, {CPU: 2}, {CPU: 3}})
	if h.Sockets != 1 || h.Cores != 4 || h.Threads != 1 {
		t.Errorf("%d sockets of %d cores of %d threads, want 1 of 4 of 1", h.Sockets, h.Cores, h.Threads)
	}
}

func BenchmarkSample(b *testing.B) {
	s := New()
	if _, err := s.Sample(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Sample(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

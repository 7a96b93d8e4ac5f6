package backendtest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

// pollIsWellFormed: identity, order and times.
func pollIsWellFormed(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	if b.h.Name() == "" || b.h.URI() == "" {
		t.Errorf("Name %q, URI %q: neither may be empty", b.h.Name(), b.h.URI())
	}
	id := b.domain()
	b.await(id, "to be listed", func(*backend.VM) bool { return true })
	before := time.Now().Add(-time.Hour)
	p := b.poll()
	if p.At.Before(before) {
		t.Errorf("Poll.At is %v: not set, or long ago", p.At)
	}
	if !slices.IsSortedFunc(p.VMs, func(a, b backend.VM) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the VMs are not in the order of their names")
	}
	seen := map[backend.UUID]string{}
	for i := range p.VMs {
		v := &p.VMs[i]
		if other, twice := seen[v.UUID]; twice {
			t.Errorf("%s and %s have one UUID", other, v.Name)
		}
		seen[v.UUID] = v.Name
		checkVM(t, b.h, v)
	}
}

func checkVM(t *testing.T, h backend.Host, v *backend.VM) {
	t.Helper()
	if v.Host != h.Name() || v.Key().Host != h.Name() {
		t.Errorf("%s is on host %q, want %q", v.Name, v.Host, h.Name())
	}
	if v.Name == "" || v.UUID.IsZero() {
		t.Errorf("a VM without name or UUID: %q %s", v.Name, v.UUID)
	}
	if active := v.State.Active(); active != (v.ID >= 0) {
		t.Errorf("%s is %s and has ID %d", v.Name, v.State, v.ID)
	}
	if !v.State.Active() && !v.StartedAt.IsZero() {
		t.Errorf("%s is %s and started at %v", v.Name, v.State, v.StartedAt)
	}
}

// pollFillsInFacts: a few polls after it was defined, all is known of a domain.
func pollFillsInFacts(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	id := b.running()
	v := b.await(id, "to have its facts", func(v *backend.VM) bool { return !v.FactsAt.IsZero() })
	if v.VCPUs < 1 || v.MemoryMax < 1<<20 {
		t.Errorf("%d vCPUs, %d bytes: both must be known", v.VCPUs, v.MemoryMax)
	}
	if !v.Persistent {
		t.Error("a defined domain is not persistent")
	}
}

func sampleIsWellFormed(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	s, err := b.h.Sample(b.ctx)
	if err != nil {
		t.Fatalf("Sample: %v", err)
	}
	if s.At.IsZero() || !s.Connected {
		t.Errorf("At %v, Connected %v", s.At, s.Connected)
	}
	if s.CPUs < 1 || s.MemTotal == 0 || s.MemFree > s.MemTotal {
		t.Errorf("%d CPUs, %d of %d bytes free", s.CPUs, s.MemFree, s.MemTotal)
	}
	if len(s.PerCPU) > 0 && len(s.PerCPU) != s.CPUs {
		t.Errorf("%d CPUs, figures of %d", s.CPUs, len(s.PerCPU))
	}
}

// countersNeverGoBack while a domain runs, and they do go on.
func countersNeverGoBack(t *testing.T, f *Fixture) {
	if f.NoCounters != "" {
		t.Skip(f.NoCounters)
	}
	b := newBench(t, f)
	id := b.running()
	last := b.await(id, "to have a CPU counter", func(v *backend.VM) bool { return !v.CPU.At.IsZero() })
	for range 5 {
		next := b.await(id, "to have its CPU counter read again", func(v *backend.VM) bool { return v.CPU.At.After(last.CPU.At) })
		if next.ID != last.ID {
			t.Fatalf("its ID went from %d to %d by itself", last.ID, next.ID)
		}
		checkForward(t, last, next)
		last = next
	}
	if last.CPU.Used == 0 {
		t.Error("it used no CPU at all")
	}
	if last.StartedAt.After(last.CPU.At) {
		t.Errorf("started at %v, after its figures of %v", last.StartedAt, last.CPU.At)
	}
}

func checkForward(t *testing.T, a, b *backend.VM) {
	t.Helper()
	for _, c := range []struct {
		what string
		a, b uint64
	}{
		{"CPU", uint64(a.CPU.Used), uint64(b.CPU.Used)},
		{"disk read bytes", a.Disk.ReadBytes, b.Disk.ReadBytes},
		{"disk write bytes", a.Disk.WriteBytes, b.Disk.WriteBytes},
		{"disk read requests", a.Disk.ReadOps, b.Disk.ReadOps},
		{"disk write requests", a.Disk.WriteOps, b.Disk.WriteOps},
		{"received bytes", a.Net.RxBytes, b.Net.RxBytes},
		{"sent bytes", a.Net.TxBytes, b.Net.TxBytes},
	} {
		if c.b < c.a {
			t.Errorf("%s went back from %d to %d", c.what, c.a, c.b)
		}
	}
}

// figuresNameTheirDomains: what comes back was asked for, and unknown domains
// do no harm.
func figuresNameTheirDomains(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	id := b.running()
	asked := []backend.UUID{{1, 2, 3}, id}
	err := b.settle(func() bool {
		list, err := b.h.Figures(b.ctx, asked)
		if err != nil {
			t.Fatalf("Figures: %v", err)
		}
		for _, x := range list {
			if x.UUID != id {
				t.Fatalf("Figures of %s, which does not exist", x.UUID)
			}
		}
		return len(list) == 1
	})
	if err != nil {
		t.Errorf("no figures of a running domain: %v", err)
	}
	if list, err := b.h.Figures(b.ctx, nil); err != nil || len(list) != 0 {
		t.Errorf("Figures of nothing: %v, %v", list, err)
	}
}

// detailAgreesWithPoll on what both tell.
func detailAgreesWithPoll(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	id := b.running()
	v := b.await(id, "to have its facts", func(v *backend.VM) bool { return !v.FactsAt.IsZero() })
	d, err := b.h.Detail(b.ctx, id)
	if err != nil {
		t.Fatalf("Detail: %v", err)
	}
	if d.At.IsZero() {
		t.Error("Detail.At is not set")
	}
	if d.VM.Key() != v.Key() || d.VM.Name != v.Name || d.VM.State != v.State || d.VM.ID != v.ID {
		t.Errorf("Detail has %+v %s %s %d, Poll %+v %s %s %d", d.VM.Key(), d.VM.Name, d.VM.State, d.VM.ID, v.Key(), v.Name, v.State, v.ID)
	}
	if d.VM.VCPUs != v.VCPUs || d.VM.MemoryMax != v.MemoryMax {
		t.Errorf("Detail has %d vCPUs and %d bytes, Poll %d and %d", d.VM.VCPUs, d.VM.MemoryMax, v.VCPUs, v.MemoryMax)
	}
	if len(d.NICs) != v.NICs {
		t.Errorf("Detail has %d network cards, Poll %d", len(d.NICs), v.NICs)
	}
	if d.Differs {
		t.Error("its definition differs from the stored one, which nobody changed")
	}
}

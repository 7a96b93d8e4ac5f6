package backendtest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"berth/backend"
)

// queueAbilities are the methods that the queue's engine asks for.
func queueAbilities(h backend.Host, xml string) []call {
	var list []call
	if s, ok := h.(backend.Tuner); ok {
		list = append(list,
			call{"Shares", func(ctx context.Context, _ backend.Host, id backend.UUID) error {
				_, err := s.Shares(ctx, id)
				return err
			}, false},
			call{"SetShares", func(ctx context.Context, _ backend.Host, id backend.UUID) error {
				return s.SetShares(ctx, id, backend.Shares{CPU: 900})
			}, false})
	}
	if c, ok := h.(backend.Capacitor); ok {
		list = append(list, call{"Capacity", func(ctx context.Context, _ backend.Host, _ backend.UUID) error {
			_, err := c.Capacity(ctx)
			return err
		}, true})
	}
	if r, ok := h.(backend.Reacher); ok {
		list = append(list, call{"Reach", func(ctx context.Context, _ backend.Host, _ backend.UUID) error { return r.Reach(ctx, xml) }, true})
	}
	return append(list, storageAbilities(h)...)
}

// capacityIsWellFormed, and the same for whoever asks in one boot.
func capacityIsWellFormed(t *testing.T, f *Fixture) {
	one, two := newBench(t, f), newBench(t, f)
	c, other := one.capacity(), two.capacity()
	switch {
	case c.At.IsZero() || c.Total.VCPU <= 0 || c.Total.Memory == 0:
		t.Errorf("it has no size: %+v", c)
	case c.Disk > c.Total.Disk:
		t.Errorf("more of the storage is free than there is: %+v", c)
	case c.Boot == "" && f.NoBoot == "":
		t.Errorf("it does not know which boot this is: %+v", c)
	}
	s, err := one.h.Sample(one.ctx)
	if err != nil {
		t.Fatalf("Sample: %v", err)
	}
	if f.NoBoot == "" && s.CPUs != 0 && s.CPUs != c.Total.VCPU {
		t.Errorf("Sample counts %d CPUs, Capacity %d", s.CPUs, c.Total.VCPU)
	}
	if f.Settle == nil && c.Boot != other.Boot {
		t.Errorf("one is told the boot is %q, another %q", c.Boot, other.Boot)
	}
	if again := one.capacity(); again.Boot != c.Boot || again.Total.VCPU != c.Total.VCPU || again.Total.Memory != c.Total.Memory {
		t.Errorf("it was %+v and is %+v", c, again)
	}
}

func (b *bench) capacity() backend.HostCapacity {
	b.Helper()
	a, ok := b.h.(backend.Capacitor)
	if !ok {
		b.Skip("the host does not tell its capacity")
	}
	c, err := a.Capacity(b.ctx)
	if err != nil {
		b.Fatalf("Capacity: %v", err)
	}
	return c
}

// sharesAreOfTheRunningDomain: they can be set from the moment it stands
// paused, its stored definition stays as it is, and the next run has its own.
func sharesAreOfTheRunningDomain(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	tuner, ok := b.h.(backend.Tuner)
	if !ok || f.NoShares != "" {
		b.unshared(tuner)
		return
	}
	b.needs(backend.VerbStartPaused)
	id := b.domain()
	if _, err := tuner.Shares(b.ctx, id); !f.refused(err) {
		t.Errorf("Shares of a domain that is off: %v, want ErrState", err)
	}
	if err := tuner.SetShares(b.ctx, id, backend.Shares{CPU: 512}); !f.refused(err) {
		t.Errorf("SetShares of a domain that is off: %v, want ErrState", err)
	}
	b.do(backend.VerbStartPaused, id)
	before := b.xml(id, true) // libvirt writes it anew when it starts
	usual := b.shares(tuner, id)
	if usual.CPU == 0 {
		t.Fatalf("a fresh domain has shares %+v", usual)
	}
	want := backend.Shares{CPU: usual.CPU * 2, IO: usual.IO * 2}
	if err := tuner.SetShares(b.ctx, id, want); err != nil {
		t.Fatalf("SetShares: %v", err)
	}
	if got := b.shares(tuner, id); got != want {
		t.Errorf("after SetShares %+v they are %+v", want, got)
	}
	if err := tuner.SetShares(b.ctx, id, backend.Shares{CPU: usual.CPU}); err != nil {
		t.Fatalf("SetShares: %v", err)
	}
	if got := b.shares(tuner, id); got.CPU != usual.CPU || got.IO != want.IO {
		t.Errorf("after the CPU's alone were set back they are %+v", got)
	}
	if after := b.xml(id, true); after != before {
		t.Errorf("the stored XML changed:\n%s\nwas\n%s", after, before)
	}
	b.do(backend.VerbDestroy, id)
	b.do(backend.VerbStartPaused, id)
	if got := b.shares(tuner, id); got != usual {
		t.Errorf("the next run has shares %+v, the first had %+v", got, usual)
	}
}

// unshared checks that a host without shares says so.
func (b *bench) unshared(tuner backend.Tuner) {
	b.Helper()
	if tuner == nil {
		b.Skip("the host has no shares")
	}
	id := b.running()
	if s, err := tuner.Shares(b.ctx, id); !errors.Is(err, backend.ErrUnsupported) {
		b.Errorf("Shares: %+v, %v, want ErrUnsupported", s, err)
	}
	if err := tuner.SetShares(b.ctx, id, backend.Shares{CPU: 512}); !errors.Is(err, backend.ErrUnsupported) {
		b.Errorf("SetShares: %v, want ErrUnsupported", err)
	}
}

func (b *bench) shares(tuner backend.Tuner, id backend.UUID) backend.Shares {
	b.Helper()
	s, err := tuner.Shares(b.ctx, id)
	if err != nil {
		b.Fatalf("Shares: %v", err)
	}
	return s
}

// reachTellsWhatIsMissing of what a definition needs, and nothing else.
func reachTellsWhatIsMissing(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	reacher, ok := b.h.(backend.Reacher)
	if !ok {
		t.Skip("the host does not know what it reaches")
	}
	xml := b.xml(b.domain(), true)
	if err := reacher.Reach(b.ctx, xml); err != nil {
		t.Errorf("Reach of a domain that is defined here: %v", err)
	}
	for _, bad := range []string{"", "no XML", "<bad/>"} {
		if err := reacher.Reach(b.ctx, bad); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("Reach of %q: %v, want ErrInvalid", bad, err)
		}
	}
	foreign := typeAttribute.ReplaceAllString(xml, "${1}type='nosuch'")
	if err := reacher.Reach(b.ctx, foreign); !errors.Is(err, backend.ErrUnsupported) {
		t.Errorf("Reach of a domain of an unknown type: %v, want ErrUnsupported", err)
	}
	if f.NoImages != "" {
		return
	}
	elsewhere := withDisk(xml, "/nowhere/"+freshName()+".qcow2")
	if err := reacher.Reach(b.ctx, elsewhere); !errors.Is(err, backend.ErrNoStorage) {
		t.Errorf("Reach of a disk that is nowhere: %v, want ErrNoStorage", err)
	}
	network := strings.Replace(elsewhere, "type='file' device='disk'><source file='", "type='network' device='disk'><source protocol='nbd' name='", 1)
	if err := reacher.Reach(b.ctx, network); err != nil {
		t.Errorf("Reach of a disk on the network: %v", err)
	}
}

// withDisk adds a disk to a definition.
func withDisk(xml, file string) string {
	disk := "<disk type='file' device='disk'><source file='" + file + "'/><target dev='vdz' bus='virtio'/></disk></devices>"
	return strings.Replace(xml, "</devices>", disk, 1)
}

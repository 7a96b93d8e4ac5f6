package demo

import (
	"context"
	"errors"
	"testing"
	"time"

	"berth/backend"
)

// Twice the shares are twice the part of what is asked for, what one does not
// need the others get, and nothing is given out that is not there.
func TestSharesDecideWhoWaits(t *testing.T) {
	f, clock := newFleet(t, Options{Seed: 5, Calm: true, Hosts: 1})
	h := f.hosts[0]
	h.cpus, h.cores = 2, make([]core, 2)
	clock.Advance(3 * time.Second)
	polls(t, f)
	if h.cpuShare >= 1 {
		t.Fatalf("the host meets all demand: %v", h.cpuShare)
	}
	var favoured, poor *vm
	for _, v := range h.vms {
		if v.row.State == backend.Running && v.draw.cpu > 0.2 {
			favoured, poor = poor, v
		}
	}
	set := func(v *vm, cpu uint64) {
		t.Helper()
		if err := h.SetShares(context.Background(), v.row.UUID, backend.Shares{CPU: cpu}); err != nil {
			t.Fatal(err)
		}
	}
	set(favoured, 120)
	set(poor, 60)
	clock.Advance(time.Second)
	polls(t, f)
	if got := favoured.cpuPart / poor.cpuPart; favoured.cpuPart < 1 && (got < 1.99 || got > 2.01) {
		t.Errorf("with twice the shares one gets %v times as much of what it wants (%v and %v)", got, favoured.cpuPart, poor.cpuPart)
	}
	if favoured.cpuPart < poor.cpuPart {
		t.Errorf("more shares bring less: %v against %v", favoured.cpuPart, poor.cpuPart)
	}
	set(favoured, mostShares)
	clock.Advance(time.Second)
	polls(t, f)
	given := 0.0
	for _, v := range h.vms {
		if v.row.State.Active() {
			given += v.draw.cpu * v.cpuPart
		}
	}
	have := 0.98*float64(h.cpus) - h.own
	if favoured.cpuPart != 1 || given > have*1.0001 || given < have*0.999 {
		t.Errorf("the favoured one gets %v of what it wants, all together %v of %v CPUs", favoured.cpuPart, given, have)
	}
	if err := h.SetShares(context.Background(), poor.row.UUID, backend.Shares{CPU: mostShares + 1}); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("more than cgroups take: %v", err)
	}
}

// Images on the shelf are seen by every host, what is on one host's own
// volumes only there, and the shelf never holds more than it has room for.
func TestReachAndShelf(t *testing.T) {
	f, _ := newFleet(t, Options{Seed: 7, Calm: true})
	own := machine(t, f, "db") // its data is on a logical volume
	shared := machine(t, f, "web")
	for _, h := range f.hosts {
		if err := h.Reach(context.Background(), shared.stored.xml(nil)); err != nil {
			t.Errorf("%s does not see the shelf: %v", h.name, err)
		}
		err := h.Reach(context.Background(), own.stored.xml(nil))
		if seen := err == nil; seen != (h == own.host) || err != nil && !errors.Is(err, backend.ErrNoStorage) {
			t.Errorf("%s, which is not %s's host: %v", h.name, own.row.Name, err)
		}
		c, err := h.Capacity(context.Background())
		if err != nil || c.Total.Disk == 0 || c.Disk == 0 || c.Disk > c.Total.Disk || c.Total.VCPU != h.cpus {
			t.Errorf("%s has %+v, %v", h.name, c, err)
		}
	}
	if f.hosts[0].boot() == f.hosts[1].boot() {
		t.Error("two hosts share one boot")
	}
}

package demo

import (
	"fmt"
	"testing"
	"time"

	"berth/backend"
)

// Fleets of any size have unique names, addresses and hosts that fit.
func TestSizes(t *testing.T) {
	for _, o := range []Options{{}, {Hosts: 64, VMs: 1}, {Hosts: 1, VMs: 1}, {VMs: 3}, {Hosts: 5, VMs: 700}, {VMs: 10_000}, {Hosts: 1000, VMs: 1 << 20}} {
		t.Run(fmt.Sprintf("%d hosts, %d VMs", o.Hosts, o.VMs), func(t *testing.T) {
			f, clock := newFleet(t, o)
			clock.Advance(7 * time.Second)
			want := o.withDefaults()
			list := polls(t, f)
			if len(list) != want.Hosts {
				t.Errorf("%d hosts, want %d", len(list), want.Hosts)
			}
			names, uuids, addresses, count := map[string]bool{}, map[backend.UUID]bool{}, map[string]bool{}, 0
			for _, p := range list {
				for i := range p.VMs {
					v := &p.VMs[i]
					count++
					if names[v.Name] || uuids[v.UUID] {
						t.Errorf("%s %s is there twice", v.Name, v.UUID)
					}
					names[v.Name], uuids[v.UUID] = true, true
					for _, a := range v.Addresses {
						if addresses[a] {
							t.Errorf("%s is an address of two", a)
						}
						addresses[a] = true
					}
				}
			}
			if count != want.VMs {
				t.Errorf("%d VMs, want %d", count, want.VMs)
			}
			for _, s := range samples(t, f) {
				if s.CPUs != s.Sockets*s.Cores*s.Threads || s.MemFree > s.MemTotal || s.Latency <= 0 {
					t.Errorf("%s has %d×%d×%d = %d CPUs, %d of %d bytes free, latency %v", s.Hostname, s.Sockets, s.Cores, s.Threads, s.CPUs, s.MemFree, s.MemTotal, s.Latency)
				}
			}
		})
	}
}

// A stranger to the fleet's start finds machines of all states.
func TestFirstPollShowsManyStates(t *testing.T) {
	f, _ := newFleet(t, Options{})
	seen := map[backend.State]int{}
	saved := false
	for _, p := range polls(t, f) {
		for i := range p.VMs {
			seen[p.VMs[i].State]++
			saved = saved || p.VMs[i].ManagedSave
		}
	}
	for _, s := range []backend.State{backend.Running, backend.Paused, backend.Shutoff, backend.PMSuspended} {
		if seen[s] == 0 {
			t.Errorf("none is %s", s)
		}
	}
	if !saved {
		t.Error("none is saved")
	}
	if seen[backend.Running] < 15 {
		t.Errorf("only %d of %d run", seen[backend.Running], DefaultVMs)
	}
}

package demo

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

// Within ten minutes of any story a person sees each kind of trouble.
func TestTheStoryHasIncidents(t *testing.T) {
	for _, seed := range []uint64{0, 1, 42} {
		f, clock := newFleet(t, Options{Seed: seed})
		seen := map[string]bool{}
		boots := map[string]int32{}
		for range 600 {
			clock.Advance(time.Second)
			for _, h := range f.Hosts() {
				p, err := h.Poll(context.Background())
				if errors.Is(err, backend.ErrUnreachable) {
					seen["lost host"] = true
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				for i := range p.VMs {
					note(seen, boots, &p.VMs[i])
				}
			}
		}
		for _, what := range []string{"crash", "full disk", "hung monitor", "shut down by others", "started by others", "transient", "lost host"} {
			if !seen[what] {
				t.Errorf("seed %d: no %s in ten minutes", seed, what)
			}
		}
	}
}

func note(seen map[string]bool, boots map[string]int32, v *backend.VM) {
	switch {
	case v.State == backend.Shutoff && v.Reason == "crashed":
		seen["crash"] = true
	case v.State == backend.Paused && v.Reason == "I/O error":
		seen["full disk"] = true
	case !v.StuckSince.IsZero():
		seen["hung monitor"] = true
	case v.State == backend.Shutoff && v.Reason == "shutdown":
		seen["shut down by others"] = true
	case v.State == backend.Running && boots[v.Name] != 0 && boots[v.Name] != v.ID:
		seen["started by others"] = true
	}
	if !v.Persistent {
		seen["transient"] = true
	}
	if v.State.Active() {
		boots[v.Name] = v.ID
	}
}

// A lost host answers nothing, and its guests go on.
func TestLostHostComesBack(t *testing.T) {
	f, clock := newFleet(t, Options{Seed: 1, Calm: true})
	h := f.hosts[2]
	v := machine(t, f, "dns")
	if v.host != h {
		h = v.host
	}
	before := shows(t, v)
	watching, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	events, err := h.Watch(watching)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	h.plotCut(1)
	f.mu.Unlock()
	lost := false
	for range 500 {
		clock.Advance(time.Second)
		_, err := h.Poll(context.Background())
		if err != nil && !errors.Is(err, backend.ErrUnreachable) {
			t.Fatalf("Poll: %v", err)
		}
		if lost = lost || err != nil; lost && err == nil {
			break
		}
	}
	if !lost {
		t.Fatal("it was not lost")
	}
	var last backend.Event
	for e := range events { // ends with the loss
		last = e
	}
	if last.Kind != backend.EventConnection {
		t.Errorf("the last event was %+v", last)
	}
	if after := shows(t, v); after == nil || after.CPU.Used <= before.CPU.Used || after.ID != before.ID {
		t.Errorf("its guest did not go on: %+v", after)
	}
}

// The fleet has one machine whose texts attack the terminal; nothing of that
// comes through.
func TestHostileMachineIsClean(t *testing.T) {
	f, _ := newFleet(t, calm)
	v := machine(t, f, "test")
	if !strings.Contains(v.stored.title, "\x1b") || !strings.Contains(v.hostname, "\x1b") {
		t.Fatalf("%s is not hostile: %q, %q", v.row.Name, v.stored.title, v.hostname)
	}
	g, err := v.host.Guest(context.Background(), v.row.UUID)
	if errors.Is(err, backend.ErrNoAgent) {
		f.mu.Lock()
		v.live.agent, v.row.HasAgent, v.agentUp = true, true, true
		f.mu.Unlock()
		g, err = v.host.Guest(context.Background(), v.row.UUID)
	}
	if err != nil {
		t.Fatalf("Guest: %v", err)
	}
	row := shows(t, v)
	for _, s := range append([]string{g.Hostname, row.Title, row.Description}, row.Tags...) {
		if backend.Clean(s) != s || s == "" {
			t.Errorf("%q came through", s)
		}
	}
	text, err := v.host.XML(context.Background(), v.row.UUID, true)
	if err != nil || backend.CleanLines(text) != text {
		t.Errorf("the XML is not clean: %q, %v", text, err)
	}
}

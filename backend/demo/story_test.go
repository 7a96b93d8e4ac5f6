package demo

import (
	"context"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"berth/backend"
)

// whole is a fleet with everything that can happen to it.
var whole = Options{Seed: 11}

func TestSameSeedSameStory(t *testing.T) {
	a, clockA := newFleet(t, whole)
	b, clockB := newFleet(t, whole)
	for range 20 {
		clockA.Advance(13 * time.Second)
		clockB.Advance(13 * time.Second)
		if x, y := polls(t, a), polls(t, b); !reflect.DeepEqual(x, y) {
			t.Fatalf("after %v two fleets of one seed differ", clockA.Now().Sub(aWednesday))
		}
		if x, y := samples(t, a), samples(t, b); !reflect.DeepEqual(x, y) {
			t.Fatalf("after %v two hosts of one seed differ", clockA.Now().Sub(aWednesday))
		}
	}
}

func TestOtherSeedOtherStory(t *testing.T) {
	a, _ := newFleet(t, Options{Seed: 1})
	b, _ := newFleet(t, Options{Seed: 2})
	if reflect.DeepEqual(polls(t, a), polls(t, b)) {
		t.Error("two seeds gave one fleet")
	}
}

// What is found at a moment does not depend on who asked before.
func TestPollingDoesNotChangeTheStory(t *testing.T) {
	seldom, slow := newFleet(t, whole)
	often, quick := newFleet(t, whole)
	const end = 200 * time.Second
	for passed := time.Duration(0); passed < end; {
		step := 317*time.Millisecond + passed/90
		step = min(step, end-passed)
		quick.Advance(step)
		passed += step
		polls(t, often)
		if passed.Milliseconds()%3 == 0 {
			samples(t, often)
		}
	}
	slow.Advance(end)
	if x, y := polls(t, seldom), polls(t, often); !reflect.DeepEqual(x, y) {
		reportDifference(t, x, y)
	}
	if x, y := samples(t, seldom), samples(t, often); !reflect.DeepEqual(x, y) {
		t.Errorf("the hosts differ:\n%+v\n%+v", x, y)
	}
}

func reportDifference(t *testing.T, x, y []backend.Poll) {
	t.Helper()
	for i := range x {
		for j := range x[i].VMs {
			if len(y[i].VMs) <= j || !reflect.DeepEqual(x[i].VMs[j], y[i].VMs[j]) {
				t.Fatalf("polled once:\n%+v\npolled often:\n%+v", x[i].VMs[j], y[i].VMs[j])
			}
		}
	}
	t.Fatal("the polls differ")
}

// Whatever the clock's steps, events come at their own moments of the story.
func TestEventsComeAtTheirTimes(t *testing.T) {
	coarse := tell(t, []time.Duration{600 * time.Second})
	fine := tell(t, slices.Repeat([]time.Duration{500 * time.Millisecond}, 1200))
	if len(coarse) < 5 {
		t.Fatalf("only %d events in ten minutes: %+v", len(coarse), coarse)
	}
	if !reflect.DeepEqual(coarse, fine) {
		t.Errorf("in one step:\n%+v\nin many:\n%+v", coarse, fine)
	}
}

// tell lets a fleet go through steps and returns the events of the hosts that
// are not lost meanwhile.
func tell(t *testing.T, steps []time.Duration) []backend.Event {
	t.Helper()
	f, clock := newFleet(t, whole)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	hosts := f.Hosts()[:2]
	channels := make([]<-chan backend.Event, len(hosts))
	for i, h := range hosts {
		var err error
		if channels[i], err = h.Watch(ctx); err != nil {
			t.Fatalf("Watch: %v", err)
		}
	}
	for _, d := range steps {
		clock.Advance(d)
		if _, err := hosts[0].Poll(ctx); err != nil {
			t.Fatalf("Poll: %v", err)
		}
	}
	cancel()
	var list []backend.Event
	for _, c := range channels {
		for e := range c {
			list = append(list, e)
		}
	}
	slices.SortStableFunc(list, func(a, b backend.Event) int { return a.At.Compare(b.At) })
	return list
}

// The pump alone lets the story go on for whoever watches.
func TestWatchersHearWithoutPolling(t *testing.T) {
	f, clock := newFleet(t, whole)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	h := f.Hosts()[0]
	events, err := h.Watch(ctx)
	if err != nil {
		t.Fatalf("Watch: %v", err)
	}
	polls(t, f)
	for {
		clock.Advance(2 * time.Second)
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatal("no event before the deadline")
			}
			if e.Host != h.Name() || e.At.Before(aWednesday) {
				t.Errorf("event %+v", e)
			}
			return
		case <-time.After(time.Millisecond): // let the pump run
		}
	}
}

// At a higher speed more happens, and rates are the same for who polls.
func TestSpeedKeepsRates(t *testing.T) {
	slow, slowClock := newFleet(t, Options{Seed: 3, Calm: true})
	fast, fastClock := newFleet(t, Options{Seed: 3, Calm: true, Speed: 30})
	rate := func(f *Fleet, c *ManualClock, span time.Duration) float64 {
		a := samples(t, f)
		c.Advance(span)
		b := samples(t, f)
		var used, all time.Duration
		for i := range a {
			used += b[i].CPU.User - a[i].CPU.User
			all += b[i].CPU.Total() - a[i].CPU.Total()
		}
		return used.Seconds() / all.Seconds()
	}
	x := rate(slow, slowClock, 300*time.Second)
	y := rate(fast, fastClock, 10*time.Second) // the same five minutes of the story
	if math.Abs(x-y) > 1e-6 {
		t.Errorf("CPU use %v at speed 1, %v at speed 30", x, y)
	}
	if got := fast.Hosts()[0].(*host).fleet.now; got != 300*time.Second {
		t.Errorf("the fast story is at %v, want 300 s", got)
	}
}

func TestCloseStopsAWatchedFleet(t *testing.T) {
	f := New(Options{Seed: 1})
	events, err := f.Hosts()[0].Watch(context.Background())
	if err != nil {
		t.Fatalf("Watch: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	for range events { // ends because the channel is closed; TestMain looks for the goroutine
	}
}

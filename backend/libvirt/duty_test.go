package libvirt

import (
	"testing"
	"time"

	"berth/backend"
)

func TestRationSharesTimeFairly(t *testing.T) {
	r := newRation()
	now := time.Unix(1000, 0)
	var all []candidate
	for i := range 40 {
		all = append(all, candidate{uuid: backend.UUID{byte(i + 1)}})
	}
	times := map[backend.UUID]int{}
	var spent time.Duration
	for range 200 { // seconds
		for _, u := range r.choose(now, all) {
			times[u]++
			spent += 5 * time.Millisecond
			r.spent(now, 5*time.Millisecond, 1)
			busy := candidate{uuid: u, cpu: backend.CPUCounter{At: now}}
			r.asked(now, busy, false)
		}
		now = now.Add(time.Second)
	}
	if limit := time.Duration(dutyShare*float64(200*time.Second)) + 2*dutyBurst; spent > limit || spent < limit/2 {
		t.Errorf("%s of lane time were spent, the ration is %s", spent, limit)
	}
	least, most := 1000, 0
	for _, c := range all {
		least, most = min(least, times[c.uuid]), max(most, times[c.uuid])
	}
	if least == 0 || most-least > 2 {
		t.Errorf("one was asked %d times, another %d times", least, most)
	}
}

func TestRationLeavesIdleGuestsAlone(t *testing.T) {
	r := newRation()
	now := time.Unix(1000, 0)
	c := candidate{uuid: backend.UUID{1}, cpu: backend.CPUCounter{At: now}}
	if len(r.choose(now, []candidate{c})) != 1 {
		t.Fatal("a new guest is not asked")
	}
	r.asked(now, c, true)
	later := now.Add(3 * time.Second)
	idle := candidate{uuid: c.uuid, cpu: backend.CPUCounter{At: later, Used: 10 * time.Millisecond}}
	if len(r.choose(later, []candidate{idle})) != 0 {
		t.Error("an idle guest is asked again after 3 s")
	}
	busy := candidate{uuid: c.uuid, cpu: backend.CPUCounter{At: later, Used: time.Second}}
	if len(r.choose(later, []candidate{busy})) != 1 {
		t.Error("a guest that woke up is not asked")
	}
	if len(r.choose(now.Add(quietEvery), []candidate{idle})) != 1 {
		t.Error("an idle guest is never asked again")
	}
}

func TestQuarantine(t *testing.T) {
	q := newQuarantine()
	u, now := backend.UUID{1}, time.Unix(1000, 0)
	// A guest without figures whose call did not block is only doubted at first.
	q.silent(u, 7, now, now, false)
	if !q.since(u).IsZero() {
		t.Error("one empty answer makes a guest stuck")
	}
	if held, due := q.holds(u, 7, now.Add(500*time.Millisecond)); !held || due {
		t.Error("it is asked again at once")
	}
	q.silent(u, 7, now.Add(4*time.Second), now.Add(4*time.Second), false)
	if got := q.since(u); !got.Equal(now) {
		t.Errorf("stuck since %v, want since the first silence", got)
	}
	// Waits grow, up to a bound.
	at, last := now.Add(5*time.Second), time.Duration(0)
	for range 8 {
		q.silent(u, 7, at, at, true)
		wait := q.in[u].next.Sub(at)
		if wait < last || wait > stuckMost {
			t.Errorf("a wait of %s after one of %s", wait, last)
		}
		last = wait
	}
	if last != stuckMost {
		t.Errorf("the longest wait is %s", last)
	}
	if held, _ := q.holds(u, 8, at); held {
		t.Error("another run of the domain is held, too")
	}
	q.silent(u, 8, at, at, true)
	q.release(u)
	if held, _ := q.holds(u, 8, at); held || !q.since(u).IsZero() {
		t.Error("a guest that answered is held")
	}
	q.silent(u, 8, at, at, true)
	q.forget(func(backend.UUID) bool { return false })
	if len(q.in) != 0 {
		t.Error("a guest that is off is held")
	}
}

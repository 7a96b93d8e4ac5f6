package engine

import (
	"testing"
	"time"

	"berth/backend"
)

// TestAgeStandsStillWhileHeld: who is kept back by a person is not in line.
func TestAgeStandsStillWhileHeld(t *testing.T) {
	r := newRig(t, "hv1")
	h := r.hosts["hv1"]
	h.add("runs", 8, 1, 0)
	h.add("waits", 8, 1, 0)
	r.submit("hv1", "runs")
	r.must()
	id := r.submit("hv1", "waits")
	r.must()
	r.pass(10 * time.Minute)
	r.change(id, backend.JobChange{Hold: true})
	r.must()
	r.pass(5 * time.Hour)
	r.change(id, backend.JobChange{Release: true})
	r.must()
	r.pass(20 * time.Minute)
	j := r.job(id)
	age := j.Aged
	if !j.AgedAt.IsZero() {
		age += r.clock.Now().Sub(j.AgedAt)
	}
	if age < 29*time.Minute || age > 31*time.Minute {
		t.Errorf("after 10 minutes in line, 5 hours held and 20 more in line its age is %v", age)
	}
}

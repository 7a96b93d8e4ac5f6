package libvirt

import (
	"testing"
	"time"

	"berth/backend"
)

func TestUnrationedEverybodyIsAskedAtOnceAndAgain(t *testing.T) {
	h := &Host{plan: newRation()}
	h.Unration()
	now := time.Now()
	many := make([]candidate, 500)
	for i := range many {
		many[i].uuid = backend.UUID{byte(i), byte(i >> 8)}
	}
	for range 2 {
		if got := len(h.plan.choose(now, many)); got != len(many) {
			t.Fatalf("%d of %d asked", got, len(many))
		}
		for _, c := range many {
			h.plan.asked(now, c, true)
		}
		h.plan.spent(now, 2*time.Second, len(many))
	}
}

package engine

import (
	"testing"

	"berth/backend"
)

// The reserve is a size, a part, or the greater of both.
func TestLimitsKeepTheGreaterReserve(t *testing.T) {
	const gib = uint64(1) << 30
	both := Limits{CPUOvercommit: 4, MemoryReserve: gib / 2, MemoryPercent: 5}
	for _, tt := range []struct {
		limits       Limits
		total, given uint64
	}{
		{both, 4 * gib, 4*gib - gib/2},
		{both, 100 * gib, 95 * gib},
		{Limits{MemoryReserve: 2 * gib}, 100 * gib, 98 * gib},
		{Limits{MemoryPercent: 10}, 100 * gib, 90 * gib},
		{both, gib / 4, 0},
		{Limits{}, gib, gib},
	} {
		got := tt.limits.capacity(backend.HostCapacity{Total: backend.Resources{VCPU: 2, Memory: tt.total}})
		if got.Memory != tt.given {
			t.Errorf("%+v of %d bytes gives %d, want %d", tt.limits, tt.total, got.Memory, tt.given)
		}
	}
}

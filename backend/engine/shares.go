package engine

import (
	"math"

	"berth/backend"
)

// The bounds of libvirt's cpu_shares (cgroup v1; v2 is narrower still, up to
// 10000) and of the blkio weight.
const (
	leastCPUShares, mostCPUShares = 2, 10000
	leastIOWeight, mostIOWeight   = 10, 1000
)

// scaled is what a domain's shares become by a job's priority: what they were
// times 2^((priority-50)/25) for the CPU and 2^((priority-50)/50) for I/O. What
// was not there stays away.
func scaled(was backend.Shares, priority int) backend.Shares {
	p := float64(priority - backend.DefaultPriority)
	return backend.Shares{
		CPU: bounded(was.CPU, math.Exp2(p/25), leastCPUShares, mostCPUShares),
		IO:  bounded(was.IO, math.Exp2(p/50), leastIOWeight, mostIOWeight),
	}
}

func bounded(was uint64, factor float64, least, most uint64) uint64 {
	if was == 0 {
		return 0
	}
	n := uint64(math.Round(float64(was) * factor))
	return min(max(n, min(least, was)), max(most, was))
}

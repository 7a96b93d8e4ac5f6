package demoqueue

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"berth/backend"
)

// kind is what VMs of one tag are for, and how their owners think of them.
type kind struct {
	tag     string
	typical time.Duration // of a run
	owners  []string
	prio    []int // that their owners choose from
}

// kinds of batch VMs. The first tag that a VM has tells which it is.
var kinds = []kind{
	{"runner", 150 * time.Second, []string{"ci"}, []int{40, 50, 50, 60}},
	{"suite", 90 * time.Second, []string{"grace", "linus"}, []int{30, 50, 50}},
	{"etl", 8 * time.Minute, []string{"barbara"}, []int{50, 65}},
	{"render", 12 * time.Minute, []string{"ken", "ada"}, []int{35, 45, 55}},
	{"train", 28 * time.Minute, []string{"ada", "margaret"}, []int{20, 40, 60}},
	{Tag, 5 * time.Minute, []string{"dennis"}, []int{50}},
}

// member is one batch VM.
type member struct {
	vm   backend.VM
	host backend.Host
	kind *kind
	size backend.Resources
}

// atWork reports whether the VM runs.
func (m *member) atWork() bool { return m.vm.State.Active() }

// draft is a job of the VM with what all its jobs have in common.
func (m *member) draft(owner string, submitted time.Time) *draft {
	return &draft{Job: backend.Job{
		VM: m.vm.UUID, Name: m.vm.Name, Home: m.host.Name(), Owner: owner, Size: m.size, Priority: backend.DefaultPriority,
		Tags: []string{m.kind.tag}, State: backend.JobQueued, Submitted: submitted, Since: submitted, AgedAt: submitted,
	}}
}

// readCast finds the batch VMs, by host and name.
func readCast(ctx context.Context, hosts []backend.Host) ([]*member, error) {
	var cast []*member
	for _, h := range hosts {
		p, err := h.Poll(ctx)
		if err != nil {
			return nil, err
		}
		for _, vm := range p.VMs {
			if !slices.Contains(vm.Tags, Tag) || !vm.Persistent {
				continue
			}
			m := &member{vm: vm, host: h, kind: kindOf(vm.Tags), size: backend.Resources{VCPU: vm.VCPUs, Memory: vm.MemoryMax}}
			if m.size.Disk, err = growth(ctx, h, vm.UUID); err != nil {
				return nil, err
			}
			cast = append(cast, m)
		}
	}
	return cast, nil
}

func kindOf(tags []string) *kind {
	for i := range kinds {
		if slices.Contains(tags, kinds[i].tag) {
			return &kinds[i]
		}
	}
	return &kinds[len(kinds)-1]
}

// growth is what the VM's disk images may still take, as the engine counts it.
func growth(ctx context.Context, h backend.Host, vm backend.UUID) (sum uint64, err error) {
	d, err := h.Detail(ctx, vm)
	for i := range d.Disks {
		k := &d.Disks[i]
		if has := max(k.Allocation, k.Physical); !k.ReadOnly && k.Device != "cdrom" && k.Capacity > has {
			sum += k.Capacity - has
		}
	}
	return sum, err
}

// dice are the demo's chance: the same for the same fleet.
type dice struct{ *rand.Rand }

// newDice seeds a stream from the fleet itself.
func newDice(cast []*member, stream uint64) dice {
	if len(cast) == 0 {
		return dice{rand.New(rand.NewPCG(stream, 0))}
	}
	u := cast[0].vm.UUID
	return dice{rand.New(rand.NewPCG(binary.BigEndian.Uint64(u[:8]), binary.BigEndian.Uint64(u[8:])^stream))}
}

// between is uniform, in whole seconds.
func (d dice) between(a, b time.Duration) time.Duration {
	return (a + time.Duration(d.Float64()*float64(b-a))).Round(time.Second)
}

// run draws how long a run of that kind takes, log-normally.
func (d dice) run(k *kind) time.Duration {
	x := math.Exp(0.45 * max(-1.5, min(d.NormFloat64(), 1.5)))
	return time.Duration(float64(k.typical) * x).Round(time.Second)
}

// guess is what an owner says a run will take: more than it does, in round
// minutes, as owners do (Mu'alem and Feitelson, 2001).
func (d dice) guess(k *kind) time.Duration {
	g := time.Duration(float64(k.typical) * (1.2 + 1.6*d.Float64()))
	if g > 10*time.Minute {
		return g.Round(5 * time.Minute)
	}
	return max(g.Round(time.Minute), time.Minute)
}

func pick[T any](d dice, list []T) T { return list[d.IntN(len(list))] }

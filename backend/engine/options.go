package engine

import (
	"context"
	"errors"
	"math"
	"time"

	"berth/backend"
	"berth/backend/audit"
	"berth/backend/engine/clock"
	"berth/backend/store"
)

// Options make an Engine. Store and Connect are needed; the zero values of
// the rest are those of the constants below.
type Options struct {
	Store *store.Store
	// Connect makes the backend.Host of a host of the queue. The engine closes
	// it, unless KeepOpen.
	Connect  func(name, uri string) (backend.Host, error)
	KeepOpen bool
	// Hosts belong to the queue besides those that the store knows.
	Hosts []HostSpec
	// Limits say how much of a host the queue may give away; nil: everything.
	Limits func(host string) Limits
	// Policy is in force until a person chooses one.
	Policy backend.QueuePolicy
	// Lock is the path of the lock file that keeps a second engine out; empty:
	// nobody else can open the store.
	Lock string
	// Trail is told of all that the engine does to VMs; nil: nobody is.
	Trail *audit.Trail
	Clock Clock // nil: the machine's

	Idle      time.Duration // without active jobs, after which Run returns; 0: never
	StopGrace time.Duration // for a guest to shut down
	SaveGrace time.Duration // for a guest's memory to be written
	LostGrace time.Duration // for a host that does not answer
	Keep      time.Duration // how long ended jobs are remembered; 0: for ever

	// Beside is other work that lives in this process under the same lock and
	// lease; nil: there is none.
	Beside Companion

	// Fault is for tests: it is called by name before and after every step that
	// lasts, and an error stops the engine there and then.
	Fault func(step string) error
}

// Companion is work beside the queue, in the engine's process.
type Companion interface {
	// Run works until ctx ends and then lets go of what it holds. It may write to
	// the store while epoch is good (store.Tx.CheckLease). An error ends the engine.
	Run(ctx context.Context, epoch int64) error
	// Busy reports whether it has, or will have, something to do: then the engine
	// does not end for want of work.
	Busy() bool
}

// The defaults of Options.
const (
	DefaultStopGrace = 2 * time.Minute
	DefaultSaveGrace = 15 * time.Minute
	DefaultLostGrace = 2 * time.Minute
)

// HostSpec names a host of the queue.
type HostSpec struct{ Name, URI string }

// Limits say how much of a host the queue may give to VMs, those outside it
// included. The zero values are one vCPU for each logical CPU, all memory and
// all free disk space.
type Limits struct {
	CPUOvercommit    float64 // vCPUs for each logical CPU
	MemoryOvercommit float64 // of what the reserve leaves
	MemoryReserve    uint64  // bytes kept for the host itself
	MemoryPercent    float64 // or, where that is more, this part of its memory
	DiskReserve      float64 // percent of the storage that is kept free
	// Fence is a command and its arguments that ends with status 0 when the
	// host named in its environment (BERTH_HOST, BERTH_URI) is off for sure;
	// nil: a person has to say so.
	Fence []string
}

// capacity is what the queue may give away of a host, VMs outside it included.
func (l Limits) capacity(c backend.HostCapacity) backend.Resources {
	cpu, mem := orOne(l.CPUOvercommit), orOne(l.MemoryOvercommit)
	keep := backend.Resources{
		Memory: max(l.MemoryReserve, share(c.Total.Memory, l.MemoryPercent/100)),
		Disk:   share(c.Total.Disk, l.DiskReserve/100),
	}
	left := backend.Resources{Memory: c.Total.Memory, Disk: c.Disk}.Minus(keep)
	return backend.Resources{
		VCPU: int(math.Floor(float64(c.Total.VCPU)*cpu + 1e-9)), Memory: share(left.Memory, mem), Disk: left.Disk,
	}
}

func orOne(f float64) float64 {
	if f <= 0 {
		return 1
	}
	return f
}

func share(of uint64, part float64) uint64 {
	if part <= 0 {
		return 0
	}
	return uint64(float64(of) * part)
}

// complete fills in defaults.
func (o *Options) complete() error {
	if o.Store == nil || o.Connect == nil {
		return errors.New("engine: Store and Connect are needed")
	}
	if o.Limits == nil {
		o.Limits = func(string) Limits { return Limits{} }
	}
	if o.Clock == nil {
		o.Clock = clock.Wall{}
	}
	for _, d := range []struct {
		d *time.Duration
		v time.Duration
	}{{&o.StopGrace, DefaultStopGrace}, {&o.SaveGrace, DefaultSaveGrace}, {&o.LostGrace, DefaultLostGrace}} {
		if *d.d <= 0 {
			*d.d = d.v
		}
	}
	return nil
}

package backend

import (
	"context"
	"io"
	"time"
)

// Host is one hypervisor host that berth works with, reachable or not.
//
// Making a Host does no I/O; the first call that needs a connection dials it,
// and a call after a lost connection dials again. All methods may be called
// from several goroutines, return soon after their context ends, and never
// let one slow domain hold back another's figures. Errors wrap the sentinels
// of this package and read well to a person as they stand.
type Host interface {
	// Name is the host's label in lists: short, unique in the fleet, fixed
	// for the life of the Host.
	Name() string
	// URI is the connection URI, without secrets.
	URI() string
	// ReadOnly reports whether this Host refuses every verb.
	ReadOnly() bool

	// Poll returns every domain of the host with what is cheap to know. The
	// first Poll answers with identity and state as fast as it can and leaves
	// FactsAt zero; later ones fill in the rest.
	Poll(ctx context.Context) (Poll, error)
	// Figures reads what only the domains' own QEMUs can tell (block devices,
	// balloon) for the given domains, which are those on screen. Domains that
	// do not answer in time come back with StuckSince set, or are left out.
	// It bounds its own cost: it may answer for fewer domains than it was asked for,
	// the next call goes on with the others.
	Figures(ctx context.Context, uuids []UUID) ([]Figures, error)
	// Sample reads the host's own load and sizes.
	Sample(ctx context.Context) (HostSample, error)
	// Watch subscribes to the host's events. The channel is closed when the
	// connection is lost or ctx ends.
	Watch(ctx context.Context) (<-chan Event, error)
	// Do carries out one verb on one domain and returns when the hypervisor
	// has accepted or refused it, which may be before the guest has followed.
	Do(ctx context.Context, a Action) error
	// Detail reads one domain in depth.
	Detail(ctx context.Context, uuid UUID) (Detail, error)
	// Guest asks the domain's guest agent. Errors wrap ErrNoAgent when none is
	// configured or none answers.
	Guest(ctx context.Context, uuid UUID) (Guest, error)
	// XML is the domain's definition: the live one, or the stored one that
	// the next start will use.
	XML(ctx context.Context, uuid UUID, stored bool) (string, error)

	// Close ends all connections; calls under way return with an error.
	Close() error
}

// Poll is the answer of Host.Poll.
type Poll struct {
	At  time.Time
	VMs []VM // ordered by name
}

// Figures are the dear figures of one domain.
type Figures struct {
	UUID        UUID
	Disk        DiskCounter
	Mem         MemoryFigure
	Addresses   []string // nil when not asked this time
	AddressesAt time.Time
	StuckSince  time.Time
}

// HostSample is a host's own state at one moment.
type HostSample struct {
	At         time.Time
	Hostname   string // what the host calls itself
	Hypervisor string // "QEMU 7.2.17", or empty
	Libvirt    string // "9.0.0", or empty
	Kernel     string // local hosts only
	Model      string // CPU model
	CPUs       int    // logical CPUs online
	Sockets    int
	Cores      int // per socket
	Threads    int // per core
	MHz        int

	CPU       HostCPU // since boot
	PerCPU    []HostCPU
	MemTotal  uint64
	MemFree   uint64 // what can be had without swapping: MemAvailable where known
	SwapTotal uint64
	SwapFree  uint64
	Load      [3]float64
	HasLoad   bool // libvirt does not tell a remote host's load
	BootTime  time.Time
	Local     bool // read by gopsutil on this machine rather than asked of libvirt
	Connected bool
	Latency   time.Duration // of the last cheap round trip
}

// HostCPU is CPU time by kind, summed since boot.
type HostCPU struct {
	User, System, Idle, IOWait, Steal time.Duration
}

// Total is all CPU time that passed.
func (c HostCPU) Total() time.Duration { return c.User + c.System + c.Idle + c.IOWait + c.Steal }

// What follows are abilities that only some hosts have; find them by
// assertion, and treat their absence as ErrUnsupported.

// Definer stores domain definitions.
type Definer interface {
	// Define validates xml against libvirt's schema and stores it. Nothing is
	// changed when it is refused.
	Define(ctx context.Context, xml string) (UUID, error)
}

// Consoler opens serial consoles.
type Consoler interface {
	// Console connects to the domain's first serial console. Closing it, or
	// the end of ctx, ends the session. With force another session on the same
	// console is ended first; without it ErrBusy tells of one.
	Console(ctx context.Context, uuid UUID, force bool) (io.ReadWriteCloser, error)
}

// Screenshotter takes pictures of displays.
type Screenshotter interface {
	// Screenshot writes a PNG of the domain's first display to w.
	Screenshot(ctx context.Context, uuid UUID, w io.Writer) error
}

// LogTailer reads a domain's QEMU log, which can only be had on the machine
// where it is written.
type LogTailer interface {
	// LogTail returns at most n of the log's last lines, oldest first.
	LogTail(ctx context.Context, uuid UUID, n int) ([]string, error)
}

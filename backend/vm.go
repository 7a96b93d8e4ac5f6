package backend

import (
	"encoding/hex"
	"errors"
	"time"
)

// UUID identifies a domain for as long as it is defined; it survives renames.
type UUID [16]byte

// String is the canonical lower-case form, as virsh domuuid prints it.
func (u UUID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], u[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], u[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], u[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], u[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], u[10:16])
	return string(b[:])
}

// MarshalText is String, so that JSON has what people know.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText is ParseUUID.
func (u *UUID) UnmarshalText(text []byte) (err error) {
	*u, err = ParseUUID(string(text))
	return err
}

// IsZero reports whether u is the nil UUID, which no domain has.
func (u UUID) IsZero() bool { return u == UUID{} }

// ParseUUID reads the canonical form, with or without its hyphens.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	digits := make([]byte, 0, 32)
	for i := 0; i < len(s); i++ {
		if s[i] != '-' {
			digits = append(digits, s[i])
		}
	}
	if len(digits) != 32 {
		return u, errors.New("a UUID has 32 hexadecimal digits")
	}
	_, err := hex.Decode(u[:], digits)
	return u, err
}

// Key names one domain in a fleet. The host is part of it because the same
// UUID may be defined on two hosts, as during and after a migration.
type Key struct {
	Host string
	UUID UUID
}

// State is virDomainState, with the same numbers.
type State uint8

// The states, as libvirt counts them (include/libvirt/libvirt-domain.h).
const (
	NoState State = iota
	Running
	Blocked
	Paused
	ShuttingDown
	Shutoff
	Crashed
	PMSuspended
)

var stateNames = [...]string{"no state", "running", "idle", "paused", "in shutdown", "shut off", "crashed", "pmsuspended"}

// String is the word virsh uses.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// Word is String without blanks ("shutoff", "shutdown"), for filters and JSON.
func (s State) Word() string {
	switch s {
	case NoState:
		return "nostate"
	case ShuttingDown:
		return "shutdown"
	case Shutoff:
		return "shutoff"
	}
	return s.String()
}

// Active reports whether the domain has a process: anything but shut off and
// (as libvirt sees it) crashed domains that were not preserved.
func (s State) Active() bool {
	return s == Running || s == Blocked || s == Paused || s == ShuttingDown || s == PMSuspended
}

// VM is one domain as one poll of its host saw it: what it is, what it does,
// and raw counters with the time each was read. Rates are derived by the
// model from two VMs of the same Key.
//
// Every string in it may have been chosen by a guest or by whoever defined
// the domain; backends pass them through Clean before they put them here.
type VM struct {
	Host   string // Host.Name of the host it is on
	UUID   UUID
	Name   string
	ID     int32 // libvirt's number for a running domain, -1 when it is off
	State  State
	Reason string    // why it is in that state, in virsh's words; may be empty
	Since  time.Time // when berth saw State change; zero if it never did

	Persistent  bool // defined on disk; a transient domain vanishes when it stops
	Autostart   bool
	ManagedSave bool // a saved state waits: the next start resumes from it

	// Facts from the definition; zero until FactsAt is set.
	FactsAt     time.Time
	VCPUs       int
	MemoryMax   uint64 // bytes
	Title       string
	Description string
	Tags        []string // from berth's metadata element, else empty
	OS          string   // libosinfo's short id or the agent's pretty name
	HasAgent    bool     // a guest agent channel is configured
	Snapshots   int      // -1 when not known
	Disks       int
	NICs        int

	StartedAt time.Time // when its process started; zero if not known

	CPU  CPUCounter
	Mem  MemoryFigure
	Disk DiskCounter
	Net  NetCounter

	Addresses   []string // without loopback and link-local, IPv4 first
	AddressesAt time.Time

	// StuckSince is set while the domain's monitor does not answer: figures
	// that only its QEMU can tell stand still since then.
	StuckSince time.Time
	// Note is a short sentence on what is odd about this row, or empty.
	Note string
}

// Key returns the VM's place in the fleet.
func (v *VM) Key() Key { return Key{Host: v.Host, UUID: v.UUID} }

// CPUCounter is the CPU time a domain has used since it started.
type CPUCounter struct {
	At   time.Time
	Used time.Duration // summed over all its vCPUs and its emulator threads
}

// MemorySource says who told a memory figure.
type MemorySource uint8

// Where a MemoryFigure.Used came from.
const (
	MemoryUnknown  MemorySource = iota
	MemoryResident              // the host: resident size of the QEMU process
	MemoryGuest                 // the guest: its balloon driver's available less usable
)

// MemoryFigure is what a domain holds of the memory it may have, in bytes.
type MemoryFigure struct {
	At      time.Time
	Used    uint64
	Current uint64 // the balloon's size now; Used may exceed it by QEMU's own needs
	Source  MemorySource
}

// DiskCounter sums a domain's block devices since it started.
type DiskCounter struct {
	At                    time.Time
	ReadBytes, WriteBytes uint64
	ReadOps, WriteOps     uint64
	FlushOps              uint64
	ReadTime, WriteTime   time.Duration // summed over requests
}

// NetCounter sums a domain's network cards since it started, as the guest
// sees them: Rx is what it received.
type NetCounter struct {
	At               time.Time
	RxBytes, TxBytes uint64
	RxPkts, TxPkts   uint64
	RxDrop, TxDrop   uint64
	RxErrs, TxErrs   uint64
}

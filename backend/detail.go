package backend

import "time"

// Detail is one domain in depth, with raw counters by device.
type Detail struct {
	At time.Time
	VM VM

	Machine    string // "pc-q35-7.2"
	Arch       string
	CPUModel   string
	Firmware   string // "BIOS" or "UEFI", with the loader's path
	Emulator   string
	ConsolePTY string // on the host; empty when there is none
	Graphics   string // "vnc 127.0.0.1:5900"; empty when there is none

	VCPU  []VCPUCounter
	Disks []DiskDetail
	NICs  []NICDetail

	BalloonAvailable, BalloonUnused, BalloonUsable uint64 // zero when the guest does not tell
	SwapIn, SwapOut                                uint64
	MajorFaults, MinorFaults                       uint64

	Snapshots   []Snapshot
	Checkpoints []Checkpoint
	// Differs is true when the running domain's definition is not the stored
	// one, so that a restart would change it.
	Differs bool
	// Missing lists groups that could not be read, each with the reason.
	Missing []string
}

// VCPUCounter is one virtual CPU since the domain started.
type VCPUCounter struct {
	Number int
	Used   time.Duration
	Wait   time.Duration // ready to run but not running; zero when not known
	State  string
}

// DiskDetail is one block device.
type DiskDetail struct {
	Target                         string // "vda"
	Device                         string // "disk", "cdrom"
	Bus                            string
	Source                         string // path, or pool/volume, or URL
	Format                         string
	ReadOnly                       bool
	Capacity, Allocation, Physical uint64
	Backing                        []string // the chain below Source, nearest first
	DiskCounter
}

// NICDetail is one network card.
type NICDetail struct {
	Target    string // host device, "vnet3"; empty when off
	MAC       string
	Model     string
	Type      string // "network", "bridge", "direct", "user"
	Source    string // network or bridge name
	LinkDown  bool
	Addresses []string
	NetCounter
}

// Snapshot is one entry of a domain's snapshot tree.
type Snapshot struct {
	Name, Parent string
	Created      time.Time
	State        string
	Current      bool
	External     bool
	Description  string
}

// Checkpoint is one dirty-bitmap checkpoint.
type Checkpoint struct {
	Name, Parent string
	Created      time.Time
	Disks        []string
}

// Guest is what a guest agent tells.
type Guest struct {
	At          time.Time
	Hostname    string
	OSName      string // "Debian GNU/Linux 12 (bookworm)"
	Kernel      string
	Timezone    string
	Users       []string
	Interfaces  []GuestInterface
	Filesystems []GuestFilesystem
	// Missing lists questions the agent did not answer, each with the reason.
	Missing []string
}

// GuestInterface is a network interface as the guest sees it.
type GuestInterface struct {
	Name, MAC string
	Addresses []string // with prefix length
}

// GuestFilesystem is a mounted file system as the guest sees it.
type GuestFilesystem struct {
	Mount, Device, Type string
	Total, Used         uint64 // zero when not told
}

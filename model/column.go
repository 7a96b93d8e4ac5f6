package model

import (
	"math"
	"strconv"
	"strings"
	"time"

	"berth/backend"
)

// Column is one column of the VM list: on the screen, in `berth vm list`, and
// as an order to sort by.
type Column struct {
	ID    string // as in --columns, --sort, config and :sort
	Title string // at most 12 cells
	Help  string // one sentence for the column chooser
	// Min and Max are the narrowest and widest useful width, in cells; the
	// title fits Min. Max is 0 for a column that takes what is left.
	Min, Max int
	// Priority 0 is never dropped; of the others the highest goes first when
	// the terminal is too narrow.
	Priority int
	Right    bool // numbers align right
	Flex     bool // takes a share of what width is left
	Default  bool // shown unless the config or the person chose otherwise
	// Descending is true when the first sort by this column should show the
	// largest first, as for all that measures load.
	Descending bool
	// Text is the cell for a row as of now. It holds no escape sequence and no
	// line break; what is not known reads Unknown or is empty.
	Text func(r *Row, now time.Time) string

	// Exactly one of these gives the value to sort by; NaN and "" are unknown.
	number func(*Row) float64
	text   func(*Row) string
	raw    bool // text compares byte by byte, not in natural order
}

// Compare orders two rows by this column alone: negative when a comes first.
// An unknown value comes last in both directions.
func (c Column) Compare(a, b *Row, desc bool) int {
	ka, kb := c.key(a, nil), c.key(b, nil)
	return ka.compare(&kb, desc)
}

// Columns returns every column in the order in which the list shows them.
func Columns() []Column { return append([]Column(nil), columns...) }

// ColumnByID finds a column by its ID.
func ColumnByID(id string) (Column, bool) {
	for i := range columns {
		if columns[i].ID == id {
			return columns[i], true
		}
	}
	return Column{}, false
}

// ColumnIDs returns the ID of every column, in Columns' order.
func ColumnIDs() []string {
	ids := make([]string, len(columns))
	for i := range columns {
		ids[i] = columns[i].ID
	}
	return ids
}

// DefaultColumnIDs returns the IDs of the columns shown at first.
func DefaultColumnIDs() []string {
	var ids []string
	for i := range columns {
		if columns[i].Default {
			ids = append(ids, columns[i].ID)
		}
	}
	return ids
}

var columns = []Column{
	{ID: "name", Title: "NAME", Help: "The domain's name", Min: 14, Max: 40, Flex: true, Default: true,
		Text: func(r *Row, _ time.Time) string { return backend.Clean(r.Name) }, text: func(r *Row) string { return r.Name }},
	{ID: "state", Title: "STATE", Help: "What it does now, and the reason libvirt gives", Min: 12, Max: 24, Default: true,
		Text: stateText, number: stateOrder},
	{ID: "host", Title: "HOST", Help: "The hypervisor host it is on", Min: 8, Max: 16, Priority: 5, Default: true,
		Text: func(r *Row, _ time.Time) string { return backend.Clean(r.Host) }, text: func(r *Row) string { return r.Host }},
	{ID: "vcpu", Title: "VCPU", Help: "Virtual CPUs", Min: 4, Max: 4, Priority: 6, Right: true, Default: true, Descending: true,
		Text: func(r *Row, _ time.Time) string { return Count(vcpus(r)) }, number: vcpus},
	{ID: "cpu", Title: "CPU%", Help: "CPU use in percent of one core, as top counts: 400 is four cores busy", Min: 5, Max: 5, Priority: 1, Right: true, Default: true, Descending: true,
		Text: func(r *Row, _ time.Time) string { return Percent(r.Rates.CPU) }, number: func(r *Row) float64 { return r.Rates.CPU }},
	{ID: "cpu_own", Title: "CPU/V%", Help: "CPU use in percent of its own vCPUs: 100 is all of them busy", Min: 6, Max: 6, Priority: 8, Right: true, Default: true, Descending: true,
		Text: func(r *Row, _ time.Time) string { return Percent(r.CPUOfOwn()) }, number: (*Row).CPUOfOwn},
	{ID: "mem", Title: "MEM", Help: "Memory used/maximum; ~ is all its QEMU holds", Min: 11, Max: 12, Priority: 2, Right: true, Default: true, Descending: true,
		Text: memText, number: memUsed},
	{ID: "mem_percent", Title: "MEM%", Help: "Memory used in percent of the most it may have", Min: 5, Max: 5, Priority: 13, Right: true, Descending: true,
		Text: func(r *Row, _ time.Time) string { return Percent(r.MemoryPercent()) }, number: (*Row).MemoryPercent},
	{ID: "disk_read", Title: "READ/s", Help: "Bytes read from its disks each second", Min: 6, Max: 6, Priority: 10, Right: true, Default: true, Descending: true,
		Text: func(r *Row, _ time.Time) string { return Rate(r.Rates.DiskRead) }, number: func(r *Row) float64 { return r.Rates.DiskRead }},
	{ID: "disk_write", Title: "WRITE/s", Help: "Bytes written to its disks each second", Min: 7, Max: 7, Priority: 10, Right: true, Default: true, Descending: true,
		Text: func(r *Row, _ time.Time) string { return Rate(r.Rates.DiskWrite) }, number: func(r *Row) float64 { return r.Rates.DiskWrite }},
	{ID: "disk_ops", Title: "IOPS", Help: "Disk requests each second, reads and writes", Min: 5, Max: 5, Priority: 14, Right: true, Descending: true,
		Text: func(r *Row, _ time.Time) string { return Count(diskOps(r)) }, number: diskOps},
	{ID: "net_rx", Title: "RX/s", Help: "Bytes its network cards received each second", Min: 5, Max: 5, Priority: 9, Right: true, Default: true, Descending: true,
		Text: func(r *Row, _ time.Time) string { return Rate(r.Rates.NetRx) }, number: func(r *Row) float64 { return r.Rates.NetRx }},
	{ID: "net_tx", Title: "TX/s", Help: "Bytes its network cards sent each second", Min: 5, Max: 5, Priority: 9, Right: true, Default: true, Descending: true,
		Text: func(r *Row, _ time.Time) string { return Rate(r.Rates.NetTx) }, number: func(r *Row) float64 { return r.Rates.NetTx }},
	{ID: "ip", Title: "IP", Help: "Its first address, and how many more there are", Min: 13, Max: 18, Priority: 4, Default: true,
		Text: ipText, text: ipKey, raw: true},
	{ID: "uptime", Title: "UP", Help: "Time since its process started", Min: 5, Max: 5, Priority: 7, Right: true, Default: true, Descending: true,
		Text: uptimeText, number: func(r *Row) float64 { return -unixSeconds(startedAt(r)) }},
	{ID: "autostart", Title: "AUTO", Help: "Whether it starts with the host", Min: 4, Max: 4, Priority: 11, Default: true, Descending: true,
		Text: func(r *Row, _ time.Time) string { return yesNo(r.Autostart) }, number: func(r *Row) float64 { return boolNumber(r.Autostart) }},
	{ID: "persistent", Title: "PERS", Help: "Whether it is defined on disk; a transient domain vanishes when it stops", Min: 4, Max: 4, Priority: 12, Default: true, Descending: true,
		Text: func(r *Row, _ time.Time) string { return yesNo(r.Persistent) }, number: func(r *Row) float64 { return boolNumber(r.Persistent) }},
	{ID: "queue", Title: "QUEUE", Help: "Its job in the queue: its place and when it should start, or end", Min: 6, Max: 30, Priority: 15,
		Text: func(r *Row, _ time.Time) string { return r.Queued }, text: func(r *Row) string { return r.Queued }},
	{ID: "backup", Title: "BACKUP", Help: "Age of its last good backup; ! when that is too old or there is none; shown unasked where backups are made", Min: 9, Max: 10, Priority: 6, Descending: true,
		Text: func(r *Row, now time.Time) string { return r.Backup.Text(now) }, number: backupAge},
	{ID: "title", Title: "TITLE", Help: "The title from its definition", Min: 8, Max: 40, Priority: 15, Flex: true,
		Text: func(r *Row, _ time.Time) string { return backend.Clean(r.Title) }, text: func(r *Row) string { return r.Title }},
	{ID: "os", Title: "OS", Help: "Its operating system, as its definition or its guest agent tells", Min: 6, Max: 30, Priority: 15,
		Text: func(r *Row, _ time.Time) string { return backend.Clean(r.OS) }, text: func(r *Row) string { return r.OS }},
	{ID: "tags", Title: "TAGS", Help: "Tags from berth's metadata in its definition", Min: 6, Max: 30, Priority: 15,
		Text: func(r *Row, _ time.Time) string { return tags(r) }, text: tags},
	{ID: "snapshots", Title: "SNAPS", Help: "Number of snapshots", Min: 5, Max: 5, Priority: 15, Right: true, Descending: true,
		Text: func(r *Row, _ time.Time) string { return Count(snapshots(r)) }, number: snapshots},
	{ID: "reason", Title: "REASON", Help: "Why it is in its state, in libvirt's words", Min: 8, Max: 20, Priority: 15,
		Text: func(r *Row, _ time.Time) string { return backend.Clean(r.Reason) }, text: func(r *Row) string { return r.Reason }},
	{ID: "stale", Title: "AGE", Help: "How old its oldest figure is", Min: 5, Max: 5, Priority: 15, Right: true, Descending: true,
		Text: staleText, number: func(r *Row) float64 { return -unixSeconds(OldestFigure(r)) }},
	{ID: "note", Title: "NOTE", Help: "What is odd about it", Min: 8, Max: 40, Priority: 15, Flex: true,
		Text: func(r *Row, _ time.Time) string { return backend.Clean(r.Note) }, text: func(r *Row) string { return r.Note }},
	{ID: "id", Title: "ID", Help: "libvirt's number for a running domain", Min: 4, Max: 6, Priority: 15, Right: true,
		Text: idText, number: domainID},
	{ID: "uuid", Title: "UUID", Help: "The domain's UUID", Min: 36, Max: 36, Priority: 16,
		Text: func(r *Row, _ time.Time) string { return r.UUID.String() }, text: func(r *Row) string { return r.UUID.String() }, raw: true},
}

// StateText is the state in virsh's word, with libvirt's reason where it says
// more: "paused (I/O error)"; that what runs was booted says nothing. While berth carries out a verb it says so.
func StateText(r *Row) string {
	if r.Pending != "" {
		return r.Pending.Info().Doing
	}
	s := r.State.String()
	if r.Queued != "" && !r.State.Active() {
		return r.Queued
	}
	if r.ManagedSave && !r.State.Active() {
		return s + " (saved)"
	}
	if r.Reason != "" && r.Reason != "unknown" && !(r.State == backend.Running && r.Reason == "booted") {
		s += " (" + backend.Clean(r.Reason) + ")"
	}
	return s
}

func stateText(r *Row, _ time.Time) string { return StateText(r) }

// stateOrder puts what needs looking at between what runs and what is off.
func stateOrder(r *Row) float64 {
	switch r.State {
	case backend.Running:
		return 0
	case backend.Blocked:
		return 1
	case backend.ShuttingDown:
		return 2
	case backend.Paused:
		return 3
	case backend.PMSuspended:
		return 4
	case backend.Crashed:
		return 5
	case backend.Shutoff:
		return 6
	}
	return 7
}

func vcpus(r *Row) float64 {
	if r.VCPUs <= 0 {
		return math.NaN()
	}
	return float64(r.VCPUs)
}

func memUsed(r *Row) float64 {
	if r.Mem.At.IsZero() || !r.State.Active() {
		return math.NaN()
	}
	return float64(r.Mem.Used)
}

func memMax(r *Row) float64 {
	if r.MemoryMax == 0 {
		return math.NaN()
	}
	return float64(r.MemoryMax)
}

// memText marks with ~ what only the host tells: the resident size of QEMU,
// which counts what the guest has freed, and QEMU's own needs, so that it may
// exceed the most the guest may have.
func memText(r *Row, _ time.Time) string {
	used, most := Bytes(memUsed(r)), Bytes(memMax(r))
	switch {
	case used == Unknown && most == Unknown:
		return Unknown
	case used != Unknown && r.Mem.Source == backend.MemoryResident:
		used = "~" + used
	}
	return used + "/" + most
}

func diskOps(r *Row) float64 { return r.Rates.DiskReadOps + r.Rates.DiskWriteOps }

func ipText(r *Row, _ time.Time) string {
	if len(r.Addresses) == 0 {
		return ""
	}
	s := backend.Clean(r.Addresses[0])
	if more := len(r.Addresses) - 1; more > 0 {
		s += " +" + strconv.Itoa(more)
	}
	return s
}

func uptimeText(r *Row, now time.Time) string {
	at := startedAt(r)
	if at.IsZero() {
		return Unknown
	}
	return Duration(max(0, now.Sub(at)))
}

// startedAt is when the domain's process started; zero when it has none.
func startedAt(r *Row) time.Time {
	if !r.State.Active() {
		return time.Time{}
	}
	return r.StartedAt
}

func staleText(r *Row, now time.Time) string {
	at := OldestFigure(r)
	if at.IsZero() {
		return Unknown
	}
	return Duration(max(0, now.Sub(at)))
}

// OldestFigure is when the oldest of the row's figures was read: that of its
// state, and while its monitor does not answer, since when.
func OldestFigure(r *Row) time.Time {
	at := r.PolledAt
	if !r.StuckSince.IsZero() && (at.IsZero() || r.StuckSince.Before(at)) {
		at = r.StuckSince
	}
	return at
}

func tags(r *Row) string { return backend.Clean(strings.Join(r.Tags, ",")) }

func snapshots(r *Row) float64 {
	if r.Snapshots < 0 || r.FactsAt.IsZero() {
		return math.NaN()
	}
	return float64(r.Snapshots)
}

func domainID(r *Row) float64 {
	if r.ID < 0 {
		return math.NaN()
	}
	return float64(r.ID)
}

func idText(r *Row, _ time.Time) string {
	if r.ID < 0 {
		return Unknown
	}
	return strconv.Itoa(int(r.ID))
}

func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return math.NaN()
	}
	return float64(t.UnixNano()) / 1e9
}

func boolNumber(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// backupAge orders by how old the last good backup is; a VM without one is
// older than all.
func backupAge(r *Row) float64 {
	switch {
	case r.Backup.Fresh == FreshUnused:
		return math.NaN()
	case r.Backup.Good.IsZero():
		return math.MaxFloat64
	}
	return -unixSeconds(r.Backup.Good)
}

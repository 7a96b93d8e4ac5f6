package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"berth/backend"
	"berth/model"
)

// printDetail writes one VM for people.
func printDetail(w io.Writer, r *model.Row, d *backend.Detail, now time.Time) error {
	p := &labelled{}
	p.overview(r, now)
	p.hardware(d)
	for _, disk := range d.Disks {
		p.line("Disk "+disk.Target, diskText(disk))
	}
	for _, nic := range d.NICs {
		p.line("NIC "+nic.Target, nicText(nic))
	}
	for _, s := range d.Snapshots {
		p.line("Snapshot", s.Name, s.Created.Format(time.DateTime), s.State)
	}
	for _, c := range d.Checkpoints {
		p.line("Checkpoint", c.Name, c.Created.Format(time.DateTime))
	}
	for _, m := range d.Missing {
		p.line("Not known", m)
	}
	_, err := io.WriteString(w, p.b.String())
	return err
}

// labelled collects lines of a label and a value, without those that have none.
type labelled struct{ b strings.Builder }

func (p *labelled) line(label string, values ...string) {
	var kept []string
	for _, v := range values {
		if v != "" {
			kept = append(kept, backend.Clean(v))
		}
	}
	if len(kept) > 0 {
		fmt.Fprintf(&p.b, "%-13s %s\n", backend.Clean(label), strings.Join(kept, "  "))
	}
}

func (p *labelled) overview(r *model.Row, now time.Time) {
	cell := func(id string) string {
		col, ok := model.ColumnByID(id)
		if !ok {
			return ""
		}
		return col.Text(r, now)
	}
	p.line("Name", r.Name)
	p.line("Title", r.Title)
	p.line("Description", r.Description)
	p.line("Host", r.Host)
	p.line("UUID", r.UUID.String())
	p.line("State", model.StateText(r))
	p.line("Up", cell("uptime"))
	p.line("OS", r.OS)
	p.line("CPU", fmt.Sprintf("%s%% of one core, %s%% of its %s vCPU", cell("cpu"), cell("cpu_own"), cell("vcpu")))
	p.line("Memory", cell("mem"), memoryRemark(r))
	p.line("Disk", fmt.Sprintf("%s/s read, %s/s written", cell("disk_read"), cell("disk_write")))
	p.line("Network", fmt.Sprintf("%s/s received, %s/s sent", cell("net_rx"), cell("net_tx")))
	p.line("Addresses", strings.Join(r.Addresses, " "))
	p.line("Tags", strings.Join(r.Tags, " "))
	p.line("Autostart", cell("autostart"))
	p.line("Last backup", cell("backup"))
	p.line("Persistent", cell("persistent"))
	p.line("Note", r.Note)
}

// memoryRemark explains a figure that is not the guest's own.
func memoryRemark(r *model.Row) string {
	if r.State.Active() && !r.Mem.At.IsZero() && r.Mem.Source == backend.MemoryResident {
		return "(what its QEMU holds on the host; the guest does not tell)"
	}
	return ""
}

func (p *labelled) hardware(d *backend.Detail) {
	p.line("Machine", d.Machine, d.Arch, d.CPUModel)
	p.line("Firmware", d.Firmware)
	p.line("Emulator", d.Emulator)
	p.line("Console", d.ConsolePTY)
	p.line("Display", d.Graphics)
	if d.Differs {
		p.line("Definition", "differs from what runs: a restart would change it")
	}
}

func diskText(d backend.DiskDetail) string {
	text := fmt.Sprintf("%s %s %s %s", d.Device, d.Bus, d.Format, d.Source)
	if d.Capacity > 0 {
		text += fmt.Sprintf("  %s of %s allocated", model.Bytes(float64(d.Allocation)), model.Bytes(float64(d.Capacity)))
	}
	if d.ReadOnly {
		text += "  read-only"
	}
	return text
}

func nicText(n backend.NICDetail) string {
	text := fmt.Sprintf("%s %s %s %s", n.MAC, n.Model, n.Type, n.Source)
	if len(n.Addresses) > 0 {
		text += "  " + strings.Join(n.Addresses, " ")
	}
	if n.LinkDown {
		text += "  link down"
	}
	return text
}

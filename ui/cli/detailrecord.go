package cli

import (
	"time"

	"berth/backend"
	"berth/model"
)

// detailRecord is one VM in depth, in JSON and YAML. Its keys are stable.
type detailRecord struct {
	record
	Description string             `json:"description"`
	Machine     string             `json:"machine"`
	Arch        string             `json:"arch"`
	CPUModel    string             `json:"cpu_model"`
	Firmware    string             `json:"firmware"`
	Emulator    string             `json:"emulator"`
	ConsolePTY  string             `json:"console_pty"`
	Graphics    string             `json:"graphics"`
	Differs     bool               `json:"differs"` // a restart would change it
	Disks       []diskRecord       `json:"disks"`
	NICs        []nicRecord        `json:"nics"`
	Snaps       []snapshotRecord   `json:"snapshots_list"`
	Checkpoints []checkpointRecord `json:"checkpoints"`
	Missing     []string           `json:"missing"` // what could not be read, and why
}

type diskRecord struct {
	Target     string   `json:"target"`
	Device     string   `json:"device"`
	Bus        string   `json:"bus"`
	Source     string   `json:"source"`
	Format     string   `json:"format"`
	ReadOnly   bool     `json:"readonly"`
	Capacity   uint64   `json:"capacity_bytes"`
	Allocation uint64   `json:"allocation_bytes"`
	Backing    []string `json:"backing"`
	ReadBytes  uint64   `json:"read_bytes"`
	WriteBytes uint64   `json:"write_bytes"`
}

type nicRecord struct {
	Target    string   `json:"target"`
	MAC       string   `json:"mac"`
	Model     string   `json:"model"`
	Type      string   `json:"type"`
	Source    string   `json:"source"`
	LinkUp    bool     `json:"link_up"`
	Addresses []string `json:"addresses"`
	RxBytes   uint64   `json:"rx_bytes"`
	TxBytes   uint64   `json:"tx_bytes"`
}

type snapshotRecord struct {
	Name    string `json:"name"`
	Parent  string `json:"parent"`
	Created string `json:"created"`
	State   string `json:"state"`
	Current bool   `json:"current"`
}

type checkpointRecord struct {
	Name    string   `json:"name"`
	Parent  string   `json:"parent"`
	Created string   `json:"created"`
	Disks   []string `json:"disks"`
}

func newDetailRecord(r *model.Row, d *backend.Detail, now time.Time) detailRecord {
	c := backend.Clean
	out := detailRecord{
		record: newRecord(r, now), Description: backend.CleanLines(r.Description),
		Machine: c(d.Machine), Arch: c(d.Arch), CPUModel: c(d.CPUModel), Firmware: c(d.Firmware), Emulator: c(d.Emulator),
		ConsolePTY: c(d.ConsolePTY), Graphics: c(d.Graphics), Differs: d.Differs, Missing: cleanAll(d.Missing),
		Disks: []diskRecord{}, NICs: []nicRecord{}, Snaps: []snapshotRecord{}, Checkpoints: []checkpointRecord{},
	}
	for _, k := range d.Disks {
		out.Disks = append(out.Disks, diskRecord{Target: c(k.Target), Device: c(k.Device), Bus: c(k.Bus), Source: c(k.Source),
			Format: c(k.Format), ReadOnly: k.ReadOnly, Capacity: k.Capacity, Allocation: k.Allocation, Backing: cleanAll(k.Backing),
			ReadBytes: k.ReadBytes, WriteBytes: k.WriteBytes})
	}
	for _, n := range d.NICs {
		out.NICs = append(out.NICs, nicRecord{Target: c(n.Target), MAC: c(n.MAC), Model: c(n.Model), Type: c(n.Type),
			Source: c(n.Source), LinkUp: !n.LinkDown, Addresses: cleanAll(n.Addresses), RxBytes: n.RxBytes, TxBytes: n.TxBytes})
	}
	for _, s := range d.Snapshots {
		out.Snaps = append(out.Snaps, snapshotRecord{Name: c(s.Name), Parent: c(s.Parent), Created: s.Created.Format(time.RFC3339), State: c(s.State), Current: s.Current})
	}
	for _, p := range d.Checkpoints {
		out.Checkpoints = append(out.Checkpoints, checkpointRecord{Name: c(p.Name), Parent: c(p.Parent), Created: p.Created.Format(time.RFC3339), Disks: cleanAll(p.Disks)})
	}
	return out
}

package libvirt

import (
	"context"
	"slices"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// memoryTags are virDomainMemoryStatTags by the names that virDomainStats
// gives the same figures.
var memoryTags = [...]string{"swap_in", "swap_out", "major_fault", "minor_fault", "unused", "available", "current",
	"rss", "usable", "last-update", "disk_caches"}

// askPlain asks in the older way, one domain and one device at a time. Drivers
// other than QEMU's answer it from memory, so no ration is needed.
func (h *Host) askPlain(ctx context.Context, batch []asked) (out []backend.Figures, err error) {
	for _, a := range batch {
		f := a.last
		f.UUID, f.Addresses = a.uuid, slices.Clone(f.Addresses)
		err := h.plainMemory(ctx, a, &f)
		if err == nil {
			err = h.plainDisks(ctx, a, &f)
		}
		switch {
		case gone(err):
			h.table.touch(a.uuid, touchState)
			continue
		case err != nil:
			return out, err
		}
		h.plan.asked(h.now(), a.candidate, false)
		h.table.setFigures(a.dom, f)
		out = append(out, f)
	}
	return out, nil
}

// tolerate drops the errors of a driver that lacks a call or of a domain whose
// state forbids it.
func tolerate(err error) error {
	if _, ours := coded(err).(*daemonError); ours && !gone(err) {
		return nil
	}
	return err
}

func (h *Host) plainMemory(ctx context.Context, a asked, f *backend.Figures) error {
	stats, err := ask(ctx, h.dear, func(lv *libvirt.Libvirt) ([]libvirt.DomainMemoryStat, error) {
		return lv.DomainMemoryStats(a.dom, uint32(len(memoryTags)), 0)
	})
	if err != nil {
		return tolerate(err)
	}
	b := map[string]uint64{}
	for _, s := range stats {
		if s.Tag >= 0 && int(s.Tag) < len(memoryTags) {
			b[memoryTags[s.Tag]] = s.Val
		}
	}
	f.Mem = memoryOf(b, h.now())
	return nil
}

func (h *Host) plainDisks(ctx context.Context, a asked, f *backend.Figures) error {
	if a.facts == nil {
		return nil
	}
	var sum backend.DiskCounter
	for _, dev := range a.facts.targets {
		one, err := ask(ctx, h.dear, func(lv *libvirt.Libvirt) (c backend.DiskCounter, err error) {
			reads, readBytes, writes, writeBytes, _, err := lv.DomainBlockStats(a.dom, dev)
			return backend.DiskCounter{
				ReadOps: counter(reads), ReadBytes: counter(readBytes), WriteOps: counter(writes), WriteBytes: counter(writeBytes),
			}, err
		})
		if err != nil {
			return tolerate(err)
		}
		sum.ReadOps += one.ReadOps
		sum.ReadBytes += one.ReadBytes
		sum.WriteOps += one.WriteOps
		sum.WriteBytes += one.WriteBytes
	}
	if len(a.facts.targets) > 0 {
		sum.At = h.now()
		f.Disk = sum
	}
	return nil
}

// counter is a counter that libvirt sends as -1 when it is not known.
func counter(v int64) uint64 { return uint64(max(v, 0)) }

package guestfs

import "encoding/binary"

// A DOS partition table has four entries. One of them may be an extended
// partition, which holds logical ones: a chain of tables of two entries each, a
// logical partition and where the next table is.
const (
	tableEntries  = 446 // where they begin
	tableMark     = 510 // where 0x55 0xaa is
	firstLogical  = 5   // by Linux's numbers
	noPartition   = 0x00
	protectiveGPT = 0xee
)

// slot is one of a partition table.
type slot struct {
	kind        byte
	start, size int64 // in sectors
}

func (e slot) extended() bool { return e.kind == 0x05 || e.kind == 0x0f || e.kind == 0x85 }

// slots reads the partition table in one sector; nil when it is none.
func slots(src *source, at int64) ([]slot, error) {
	if at < 0 || at > src.disk.Size()/sector-1 {
		return nil, nil
	}
	var b [sector]byte
	if _, err := src.ReadAt(b[:], at*sector); err != nil {
		return nil, err
	}
	if b[tableMark] != 0x55 || b[tableMark+1] != 0xaa {
		return nil, nil
	}
	list := make([]slot, 0, 4)
	for e := b[tableEntries:tableMark]; len(e) > 0; e = e[16:] {
		list = append(list, slot{e[4], int64(binary.LittleEndian.Uint32(e[8:])), int64(binary.LittleEndian.Uint32(e[12:]))})
	}
	return list, nil
}

// logicals finds the logical partitions, and where the extended ones begin
// that hold them.
func logicals(src *source) (out []Volume, extended []int64, err error) {
	primary, err := slots(src, 0)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range primary {
		if p.kind == protectiveGPT {
			return nil, nil, nil
		}
		if !p.extended() {
			continue
		}
		extended = append(extended, p.start*sector)
		next := p.start
		for n := 0; next > 0 && n < maxPartitions; n++ { // whatever the chain says of itself
			table, err := slots(src, next)
			if err != nil {
				return nil, nil, err
			}
			at := next
			next = 0
			if len(table) == 0 {
				break
			}
			if l := table[0]; l.kind != noPartition && !l.extended() {
				out = append(out, Volume{Partition: firstLogical + len(out), Offset: (at + l.start) * sector, Size: l.size * sector, source: src})
			}
			if e := table[1]; e.extended() {
				next = p.start + e.start
			}
		}
	}
	return out, extended, nil
}

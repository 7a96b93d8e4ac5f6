package libvirt

import (
	"bytes"
	"context"
	"encoding/binary"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

const (
	qcow2Head = 4 << 10  // of an image, for its header and the backing file's name
	tableMost = 64 << 10 // of its table of snapshots
)

// qcow2 is what the header of such an image tells (docs/interop/qcow2.txt in QEMU).
type qcow2 struct {
	version   uint32 // 2 or 3
	size      uint64
	backing   string
	encrypted bool
	snapshots []string

	count uint32 // of snapshots
	table uint64 // where their table is
}

// readQcow2 reads an image's header and names its snapshots; nil when it is
// no qcow2.
func readQcow2(ctx context.Context, m dial.Machine, path string) (*qcow2, error) {
	head, err := m.ReadAt(ctx, path, 0, qcow2Head)
	if err != nil {
		return nil, err
	}
	q := parseQcow2(head)
	if q == nil || q.count == 0 || q.table > 1<<62 {
		return q, nil
	}
	table, err := m.ReadAt(ctx, path, int64(q.table), tableMost)
	if err != nil {
		return nil, err
	}
	q.snapshots = parseSnapshotTable(table, q.count)
	return q, nil
}

// parseQcow2 reads the header; nil when b is none.
func parseQcow2(b []byte) *qcow2 {
	be := binary.BigEndian
	if len(b) < 72 || !bytes.HasPrefix(b, []byte("QFI\xfb")) {
		return nil
	}
	version := be.Uint32(b[4:])
	if version != 2 && version != 3 {
		return nil
	}
	q := &qcow2{version: version, size: be.Uint64(b[24:]), encrypted: be.Uint32(b[32:]) != 0, count: be.Uint32(b[60:]), table: be.Uint64(b[64:])}
	at, n := be.Uint64(b[8:]), uint64(be.Uint32(b[16:]))
	if at > 0 && n <= 1023 && at < uint64(len(b)) && at+n <= uint64(len(b)) {
		q.backing = string(b[at : at+n])
	}
	return q
}

// parseSnapshotTable names at most so many snapshots as there are whole in b.
func parseSnapshotTable(b []byte, count uint32) (names []string) {
	be := binary.BigEndian
	for range min(count, snapshotsMost) {
		if len(b) < 40 {
			return names
		}
		id, name, extra := int(be.Uint16(b[12:])), int(be.Uint16(b[14:])), int(be.Uint32(b[36:]))
		if extra > len(b) || 40+extra+id+name > len(b) {
			return names
		}
		at := 40 + extra + id
		names = append(names, backend.Clean(string(b[at:at+name])))
		b = b[min(len(b), (at+name+7)&^7):]
	}
	return names
}

package guestfs

import (
	"bytes"
	"encoding/binary"

	"berth/backend"
)

// signature is a mark that tells a file system, or what else lies on a disk.
type signature struct {
	kind   string
	offset int
	mark   string
}

// signatures are as in util-linux' libblkid. The order matters where two may be
// there: an encrypted volume may hold the remains of what was there before.
var signatures = []signature{
	{"luks", 0, "LUKS\xba\xbe"},
	{"bitlocker", 3, "-FVE-FS-"},
	{"lvm", 512, "LABELONE"}, {"lvm", 0, "LABELONE"}, {"lvm", 1024, "LABELONE"}, {"lvm", 1536, "LABELONE"},
	{"raid", 4096, "\xfc\x4e\x2b\xa9"}, {"raid", 0, "\xfc\x4e\x2b\xa9"},
	{"xfs", 0, "XFSB"},
	{"ntfs", 3, "NTFS    "},
	{"exfat", 3, "EXFAT   "},
	{"squashfs", 0, "hsqs"},
	{"vfat", 82, "FAT32"}, {"vfat", 54, "FAT12"}, {"vfat", 54, "FAT16"}, {"vfat", 54, "FAT "},
	{"iso9660", 32769, "CD001"},
	{"swap", 4086, "SWAPSPACE2"},
	{"ext", 1080, "\x53\xef"},
	{"btrfs", 65600, "_BHRfS_M"},
}

// probed is how much of a volume's start is looked at.
const probed = 68 << 10

// probe finds what is on the volume.
func (v *Volume) probe() error {
	head := make([]byte, min(probed, v.Size))
	if err := v.read(head, 0); err != nil {
		return err
	}
	for _, s := range signatures {
		if len(head) >= s.offset+len(s.mark) && string(head[s.offset:s.offset+len(s.mark)]) == s.mark {
			v.Kind = s.kind
			break
		}
	}
	switch v.Kind {
	case "ext":
		v.Label = label(head[1024+0x78 : 1024+0x88])
		v.Dirty = binary.LittleEndian.Uint32(head[1024+0x60:])&incompatRecover != 0
	case "iso9660":
		v.Label = label(head[32808:32840])
	case "xfs":
		v.Label = label(head[108:120])
	}
	return nil
}

func label(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return backend.Clean(string(bytes.TrimSpace(b)))
}

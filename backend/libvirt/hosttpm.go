package libvirt

import (
	"context"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

var _ backend.FolderMaker = (*Host)(nil)

const (
	// tpmBase is where the system's libvirt keeps the state of emulated TPMs: a
	// folder each, named by the domain's UUID, and in it what is swtpm's own
	// (qemuTPMEmulatorCreateStorage in libvirt's src/qemu/qemu_tpm.c).
	tpmBase = "/var/lib/libvirt/swtpm"
	// tpmUser runs swtpm unless qemu.conf names somebody else, or there is no such
	// user: then it is root.
	tpmUser  = "tss"
	qemuConf = "/etc/libvirt/qemu.conf"
)

// MakeFolder implements backend.FolderMaker.
func (h *Host) MakeFolder(ctx context.Context, at string) error {
	const op = "make the folder"
	if err := h.writable(op, at); err != nil {
		return err
	}
	return h.onMachine(ctx, op, at, func(m dial.Machine) error {
		up, err := m.Stat(ctx, path.Dir(at))
		if err != nil {
			return err
		}
		mode, uid, gid := fs.FileMode(0o700), up.UID, up.GID
		rest, below := strings.CutPrefix(at, tpmBase+"/")
		switch {
		case at == tpmBase, below && !strings.Contains(rest, "/"):
			mode, uid, gid = 0o711, 0, 0
		case below && path.Dir(path.Dir(at)) == tpmBase:
			uid, gid = tpmOwner(ctx, m)
		}
		if err := m.Mkdir(ctx, at, mode); err != nil {
			return err
		}
		return m.Own(ctx, at, uid, gid, mode)
	})
}

// tpmOwner is who swtpm runs as: who owns the state of another domain's TPM, or
// whom qemu.conf names.
func tpmOwner(ctx context.Context, m dial.Machine) (uid, gid int) {
	doms, _ := m.List(ctx, tpmBase) // what cannot be read tells nothing
	for _, d := range doms {
		states, _ := m.List(ctx, path.Join(tpmBase, d.Name))
		for _, s := range states {
			if s.Mode.IsDir() && strings.HasPrefix(s.Name, "tpm") {
				return s.UID, s.GID
			}
		}
	}
	conf, _ := dial.ReadWhole(ctx, m, qemuConf, 1<<20) // likewise
	uid = idOf(ctx, m, "-u", confName(conf, "swtpm_user"))
	return uid, idOf(ctx, m, "-g", confName(conf, "swtpm_group"))
}

// confName is what qemu.conf sets a name to.
func confName(conf []byte, key string) string {
	found := regexp.MustCompile(`(?m)^[ \t]*` + key + `[ \t]*=[ \t]*"([^"\n]+)"`).FindSubmatch(conf)
	if found == nil || strings.HasPrefix(string(found[1]), "-") {
		return tpmUser
	}
	return string(found[1])
}

// idOf is a user's number, or, with -g, that of his group; root's when there is
// no such user, as libvirt has it.
func idOf(ctx context.Context, m dial.Machine, flag, name string) int {
	text := strings.TrimPrefix(name, "+") // "+107" is a number for sure
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	out, err := m.Run(ctx, "id", flag, text)
	n, nerr := strconv.Atoi(strings.TrimSpace(out))
	if err != nil || nerr != nil {
		return 0
	}
	return n
}

package libvirt

import (
	"context"
	"io/fs"
	"strings"
	"testing"

	"berth/backend/libvirt/dial"
)

// household is a machine with users and folders.
type household struct {
	dial.Machine
	ids     map[string]string          // "-u tss" → number
	folders map[string][]dial.FileStat // what they have
	conf    string
}

func (m household) List(_ context.Context, dir string) ([]dial.FileStat, error) {
	if list, ok := m.folders[dir]; ok {
		return list, nil
	}
	return nil, fs.ErrNotExist
}

func (m household) ReadAt(_ context.Context, path string, offset int64, n int) ([]byte, error) {
	if path != qemuConf || m.conf == "" {
		return nil, fs.ErrNotExist
	}
	return []byte(m.conf[min(int(offset), len(m.conf)):min(int(offset)+n, len(m.conf))]), nil
}

func (m household) Run(_ context.Context, argv ...string) (string, error) {
	if id, ok := m.ids[strings.Join(argv[1:], " ")]; ok {
		return id + "\n", nil
	}
	return "", fs.ErrNotExist
}

// Who swtpm runs as: as another TPM tells, or qemu.conf, or as there is a user of
// that name; else root.
func TestOwnerOfATPM(t *testing.T) {
	ids := map[string]string{"-u tss": "59", "-g tss": "59", "-u vtpm": "70", "-g vtpm": "71"}
	other := map[string][]dial.FileStat{
		tpmBase:           {{Name: "u1", Mode: fs.ModeDir}},
		tpmBase + "/u1":   {{Name: "lock", UID: 1, GID: 1}, {Name: "tpm2", Mode: fs.ModeDir, UID: 107, GID: 108}},
		tpmBase + "/none": nil,
	}
	for name, c := range map[string]struct {
		m        household
		uid, gid int
	}{
		"nothing is known": {household{}, 0, 0},
		"the usual user":   {household{ids: ids}, 59, 59},
		"another TPM":      {household{ids: ids, folders: other}, 107, 108},
		"commented out":    {household{ids: ids, conf: "#swtpm_user = \"vtpm\"\n"}, 59, 59},
		"named":            {household{ids: ids, conf: "x = 1\n  swtpm_user = \"vtpm\"\nswtpm_group=\"vtpm\"\n"}, 70, 71},
		"a number":         {household{conf: "swtpm_user = \"+12\"\nswtpm_group = \"13\"\n"}, 12, 13},
		"an option":        {household{ids: ids, conf: "swtpm_user = \"--help\"\n"}, 59, 59},
	} {
		if uid, gid := tpmOwner(t.Context(), c.m); uid != c.uid || gid != c.gid {
			t.Errorf("%s: %d:%d, want %d:%d", name, uid, gid, c.uid, c.gid)
		}
	}
}

package libvirt

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

// paper is a machine that has nothing but files, in a map.
type paper struct {
	dial.Machine
	files map[string]string
	room  map[string]uint64
}

func (p paper) Stat(_ context.Context, at string) (dial.FileStat, error) {
	if text, ok := p.files[at]; ok {
		return dial.FileStat{Name: path.Base(at), Size: int64(len(text)), Mode: 0o600}, nil
	}
	return dial.FileStat{}, &fs.PathError{Op: "stat", Path: at, Err: fs.ErrNotExist}
}

func (p paper) ReadAt(_ context.Context, at string, offset int64, n int) ([]byte, error) {
	text, ok := p.files[at]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: at, Err: fs.ErrNotExist}
	}
	text = text[min(int64(len(text)), offset):]
	return []byte(text[:min(len(text), n)]), nil
}

func (p paper) List(_ context.Context, dir string) ([]dial.FileStat, error) {
	var out []dial.FileStat
	for at := range p.files {
		rest, ok := strings.CutPrefix(at, dir+"/")
		if !ok {
			continue
		}
		first, _, deeper := strings.Cut(rest, "/")
		mode := fs.FileMode(0o600)
		if deeper {
			mode |= fs.ModeDir
		}
		if !slices.ContainsFunc(out, func(f dial.FileStat) bool { return f.Name == first }) {
			out = append(out, dial.FileStat{Name: first, Mode: mode})
		}
	}
	if out == nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: fs.ErrNotExist}
	}
	return out, nil
}

func (p paper) Room(_ context.Context, dir string) (free, size uint64, err error) {
	return p.room[dir], 1 << 40, nil
}

// TestTPMState: all of it is kept but its lock, by paths relative to its folder.
func TestTPMState(t *testing.T) {
	x, err := parseDomain(`<domain><devices><tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm></devices></domain>`)
	if err != nil {
		t.Fatal(err)
	}
	s := &subject{h: newFake(t).host(Options{}), xml: x}
	dir := "/var/lib/libvirt/swtpm/" + s.uuid().String()
	m := paper{files: map[string]string{dir + "/tpm2/tpm2-00.permall": "secrets", dir + "/tpm2/.lock": "", dir + "/log": "x"}}
	files, err := s.tpm(soon(t), m)
	got := map[string]string{}
	for _, f := range files {
		got[f.Kind+" "+f.Path] = string(f.Content)
	}
	if err != nil || len(got) != 2 || got["tpm tpm2/tpm2-00.permall"] != "secrets" || got["tpm log"] != "x" {
		t.Errorf("files %q, %v", got, err)
	}
	if files, err := s.tpm(soon(t), paper{}); err != nil || files != nil {
		t.Errorf("a state that was never made: %q, %v", files, err)
	}
}

// TestRoomForScratch: beside the image where there is room, else elsewhere.
func TestRoomForScratch(t *testing.T) {
	m := paper{room: map[string]uint64{"/full": 1 << 20, "/wide": 1 << 40}}
	for _, c := range []struct {
		dirs []string
		size int64
		want string
	}{
		{[]string{"/wide", "/full"}, 1 << 30, "/wide"},
		{[]string{"/full", "/wide"}, 1 << 30, "/wide"},
		{[]string{"/full"}, 1 << 30, ""},
		{nil, 1, ""},
	} {
		dir, err := roomFor(t.Context(), m, c.dirs, c.size)
		if dir != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, backend.ErrNoRoom) {
			t.Errorf("roomFor(%v, %d) = %q, %v", c.dirs, c.size, dir, err)
		}
	}
}

// TestTokens come back as they went, and nothing else is one.
func TestTokens(t *testing.T) {
	at := time.Date(2026, 11, 23, 22, 0, 0, 123456789, time.UTC)
	want := &token{VM: backend.UUID{1, 2}, Running: true, Socket: "/run/x", Scratch: []string{"", "/a"}, Checkpoint: "berth-1", Since: "berth-0",
		Drop: []string{"berth-0"}, Disks: []tokenDisk{{Target: "vda", Path: "/ü", Size: 5, Incremental: true}}, At: at, Frozen: time.Second}
	text := want.String()
	for _, c := range text {
		if c <= ' ' || c > '~' {
			t.Fatalf("%q has %q in it", text, c)
		}
	}
	got, err := parseToken(text)
	if err != nil || got.VM != want.VM || !got.At.Equal(at) || got.String() != text || got.Disks[0] != want.Disks[0] {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "libvirt1:", "libvirt1:e30", "libvirt1:!", "demo-1", strings.TrimPrefix(text, tokenPrefix), text[:len(text)-3]} {
		if _, err := parseToken(bad); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("parseToken(%q): %v", bad, err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add((&token{VM: backend.UUID{1}}).String())
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := parseToken(s); err == nil {
			if again, err := parseToken(k.String()); err != nil || again.String() != k.String() {
				t.Errorf("%q: %v", s, err)
			}
		}
	})
}

// qcow2With builds a header with a backing file and a table of snapshots.
func qcow2With(backing string, names ...string) []byte {
	b := make([]byte, 512)
	copy(b, "QFI\xfb")
	be := binary.BigEndian
	be.PutUint32(b[4:], 3)
	if backing != "" {
		be.PutUint64(b[8:], 200)
		be.PutUint32(b[16:], uint32(len(backing)))
		copy(b[200:], backing)
	}
	be.PutUint64(b[24:], 5<<30)
	be.PutUint32(b[60:], uint32(len(names)))
	be.PutUint64(b[64:], 512)
	for i, n := range names {
		e := make([]byte, 40+16)
		id := string(rune('1' + i))
		be.PutUint16(e[12:], uint16(len(id)))
		be.PutUint16(e[14:], uint16(len(n)))
		be.PutUint32(e[36:], 16)
		e = append(append(e, id...), n...)
		b = append(b, append(e, make([]byte, (8-len(e)%8)%8)...)...)
	}
	return b
}

func TestQcow2Header(t *testing.T) {
	m := paper{files: map[string]string{"/i": string(qcow2With("base.qcow2", "one", "the \x1b[31msecond")), "/r": strings.Repeat("x", 4096), "/e": ""}}
	q, err := readQcow2(t.Context(), m, "/i")
	if err != nil || q == nil || q.size != 5<<30 || q.backing != "base.qcow2" || len(q.snapshots) != 2 || q.snapshots[0] != "one" || strings.ContainsRune(q.snapshots[1], '\x1b') {
		t.Errorf("%+v, %v", q, err)
	}
	for _, other := range []string{"/r", "/e"} {
		if q, err := readQcow2(t.Context(), m, other); q != nil || err != nil {
			t.Errorf("%s: %+v, %v", other, q, err)
		}
	}
}

// FuzzQcow2: an image that a guest has written must not do harm.
func FuzzQcow2(f *testing.F) {
	f.Add(qcow2With("b", "one", "two"))
	f.Add(qcow2With(""))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := readQcow2(t.Context(), paper{files: map[string]string{"/i": string(b)}}, "/i")
		if err != nil {
			t.Fatal(err)
		}
		if q != nil && (len(q.backing) > 1023 || len(q.snapshots) > snapshotsMost) {
			t.Errorf("%+v", q)
		}
	})
}

// TestBitmapsThatCanBeUsed are there, closed, and recording.
func TestBitmapsThatCanBeUsed(t *testing.T) {
	i := &imageInfo{}
	i.Specific.Data.Bitmaps = []bitmapInfo{{"good", []string{"auto"}}, {"killed", []string{"in-use", "auto"}}, {"idle", nil}}
	for name, good := range map[string]bool{"good": true, "killed": false, "idle": false, "none": false} {
		if why := i.usable(name); (why == "") != good {
			t.Errorf("%s: %q", name, why)
		}
	}
}

// TestJobXML is what libvirt's documentation and its 9.0 want.
func TestJobXML(t *testing.T) {
	x, err := parseDomain(`<domain><devices><disk device='disk'><target dev='vda'/></disk><disk device='disk'><target dev='vdb'/></disk><disk device='cdrom'><target dev='hda'/></disk></devices></domain>`)
	if err != nil {
		t.Fatal(err)
	}
	b := &begin{s: &subject{xml: x}, records: map[string]bool{"vda": true}, since: &checkpoint{Name: "berth-1"}, t: &token{Socket: "/s", Checkpoint: "berth-2", Scratch: []string{"/a", "/b", ""},
		Disks: []tokenDisk{{Target: "vda", Format: "qcow2", Incremental: true}, {Target: "vdb", Format: "raw"}, {Target: "hda", Skip: "cdrom"}}}}
	job, point := b.describe()
	wantJob := `<domainbackup mode="pull"><incremental>berth-1</incremental><server transport="unix" socket="/s"></server><disks>` +
		`<disk name="vda" backup="yes" type="file" exportname="vda" exportbitmap="dirty-vda"><scratch file="/a"></scratch></disk>` +
		`<disk name="vdb" backup="yes" type="file" backupmode="full" exportname="vdb"><scratch file="/b"></scratch></disk>` +
		`<disk name="hda" backup="no"></disk></disks></domainbackup>`
	wantPoint := `<domaincheckpoint><name>berth-2</name><description>` + begunWords + ` (s)</description><disks><disk name="vda" checkpoint="bitmap"></disk>` +
		`<disk name="vdb" checkpoint="no"></disk><disk name="hda" checkpoint="no"></disk></disks></domaincheckpoint>`
	if job != wantJob || len(point) != 1 || point[0] != wantPoint {
		t.Errorf("job\n%s\nwant\n%s\ncheckpoint\n%s\nwant\n%s", job, wantJob, point, wantPoint)
	}
}

// TestRefusedFreezes: only of what surely froze nothing nothing is thawed.
func TestRefusedFreezes(t *testing.T) {
	for _, c := range []struct {
		code  libvirt.ErrorNumber
		words string
		want  bool
	}{
		{libvirt.ErrInternalError, "unable to execute QEMU agent command 'guest-fsfreeze-freeze': failed to freeze /mnt", true},
		{libvirt.ErrAgentUnresponsive, "Guest agent is not responding: QEMU guest agent is not connected", true},
		{libvirt.ErrAgentUnresponsive, "Guest agent is not responding: Guest agent disappeared while executing command", false},
		{libvirt.ErrInternalError, "Missing agent reply object", false},
		{libvirt.ErrAgentCommandTimeout, "guest agent didn't respond to command within '10' seconds", false},
	} {
		if got := refused(&daemonError{code: c.code, words: c.words}); got != c.want {
			t.Errorf("%s: %v", c.words, got)
		}
	}
	if refused(context.DeadlineExceeded) {
		t.Error("of what was not answered nobody can tell")
	}
}

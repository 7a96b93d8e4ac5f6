package nbd

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/backend"
)

// What QEMU's own server offers is read as it was written, in each format.
func TestQEMUsExports(t *testing.T) {
	content := mixed(40 << 20)
	raw := filepath.Join(t.TempDir(), "d.raw")
	if err := os.WriteFile(raw, content, 0o600); err != nil {
		t.Fatal(err)
	}
	qcow2 := filepath.Join(t.TempDir(), "d.qcow2")
	tool(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2)
	for format, path := range map[string]string{"raw": raw, "qcow2": qcow2} {
		for connections := range 3 {
			c := dialed(t, qemuNBD(t, "-r", "-f", format, path), Options{Contexts: []string{ContextAllocation}, Connections: connections})
			want(t, c, content)
			got := make([]byte, len(content)) // in one call, which takes two requests
			if err := c.ReadAt(t.Context(), got, 0); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s: all in one: %v", format, err)
			}
		}
	}
}

// A stored bitmap tells what was written after it was made, and no more.
func TestQEMUsDirtyBitmap(t *testing.T) {
	img := filepath.Join(t.TempDir(), "d.qcow2")
	tool(t, "qemu-img", "create", "-f", "qcow2", img, "64M")
	tool(t, "qemu-io", "-f", "qcow2", "-c", "write -P 1 0 32M", img)
	tool(t, "qemu-img", "bitmap", "--add", img, "cp1")
	tool(t, "qemu-io", "-f", "qcow2", "-c", "write -P 2 1M 64k", "-c", "write -z 2M 64k", "-c", "write -P 3 50M 128k", img)
	dirty := ContextDirtyPrefix + "cp1"
	c := dialed(t, qemuNBD(t, "-r", "-f", "qcow2", "-B", "cp1", img), Options{Contexts: []string{dirty, ContextAllocation}})
	status, err := c.BlockStatus(t.Context(), 0, c.Size())
	if err != nil {
		t.Fatal(err)
	}
	var found []backend.Extent
	at := int64(0)
	for _, s := range status[dirty] {
		if s.Flags&StateDirty != 0 {
			found = append(found, backend.Extent{Offset: at, Length: s.Length})
		}
		at += s.Length
	}
	expect := []backend.Extent{{Offset: 1 << 20, Length: 64 << 10}, {Offset: 2 << 20, Length: 64 << 10}, {Offset: 50 << 20, Length: 128 << 10}}
	if len(found) != 3 || found[0] != expect[0] || found[1] != expect[1] || found[2] != expect[2] || at != c.Size() {
		t.Errorf("dirty: %v up to %d, want %v", found, at, expect)
	}
}

func TestQEMUTakesWhatIsWritten(t *testing.T) {
	img := filepath.Join(t.TempDir(), "d.qcow2")
	tool(t, "qemu-img", "create", "-f", "qcow2", img, "24M")
	content := mixed(24 << 20)
	c := dialed(t, qemuNBD(t, "-f", "qcow2", img), Options{Connections: 2})
	for at := 0; at < len(content); at += 2 << 20 {
		if err := c.WriteAt(t.Context(), content[at:at+2<<20], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range []ZeroOptions{{}, {Allocate: true}} {
		if err := c.WriteZeroes(t.Context(), 4<<20, 1<<20, o); err != nil {
			t.Fatal(err)
		}
	}
	clear(content[4<<20 : 5<<20])
	if err := c.Trim(t.Context(), 0, page); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteAt(t.Context(), content[:page], 0); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, c, content)
}

// sharedServer is a writable disk of ours on a socket, as QEMU's tools name it.
func sharedServer(t *testing.T, m *memory) (uri string) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Exports: []Export{{Name: "vda", Source: m, Sink: m, Bitmap: "b0"}}, Complain: func(err error) { t.Log(err) }}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "nbd+unix:///vda?socket=" + path
}

// Others' clients read and write what our server offers.
func TestOthersUseOurServer(t *testing.T) {
	m := &memory{b: mixed(16 << 20)}
	content := bytes.Clone(m.b)
	uri := sharedServer(t, m)
	copied := filepath.Join(t.TempDir(), "copy.raw")
	same := func(who string) {
		t.Helper()
		if b, err := os.ReadFile(copied); err != nil || !bytes.Equal(b, content) {
			t.Errorf("%s read something else (%v)", who, err)
		}
	}
	tool(t, "qemu-img", "convert", "-f", "raw", "-O", "raw", uri, copied)
	same("qemu-img")
	tool(t, "nbdcopy", uri, copied)
	same("nbdcopy")
	tool(t, "qemu-io", "-f", "raw", "-c", "write -P 7 1M 1M", "-c", "write -z 3M 1M", "-c", "discard 5M 64k", "-c", "flush", "-c", "read -P 7 1M 1M", "-c", "read -P 0 3M 1M", uri)
	for i := range 1 << 20 {
		content[1<<20+i] = 7
	}
	clear(content[3<<20 : 4<<20])
	clear(content[5<<20 : 5<<20+64<<10])
	tool(t, "nbdcopy", uri, copied)
	same("nbdcopy after the writes")
	tool(t, "nbdcopy", copied, uri)

	var info struct {
		Exports []struct {
			Name     string   `json:"export-name"`
			Size     int64    `json:"export-size"`
			Contexts []string `json:"contexts"`
			ReadOnly bool     `json:"is_read_only"`
		} `json:"exports"`
	}
	if err := json.Unmarshal([]byte(tool(t, "nbdinfo", "--json", "--list", uri)), &info); err != nil {
		t.Fatal(err)
	}
	if e := info.Exports; len(e) != 1 || e[0].Name != "vda" || e[0].Size != 16<<20 || e[0].ReadOnly || strings.Join(e[0].Contexts, " ") != "base:allocation qemu:dirty-bitmap:b0" {
		t.Errorf("nbdinfo sees %+v", info)
	}
	if got := tool(t, "nbdinfo", "--map", uri); !strings.Contains(got, "hole,zero") {
		t.Errorf("the map has no holes:\n%s", got)
	}
}

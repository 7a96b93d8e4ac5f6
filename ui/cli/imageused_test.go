package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/backend"
)

// keeper is a host that has one image, which a VM runs with.
type keeper struct {
	*fakeHost
	backend.Storage
	image string
}

func (k keeper) Images(context.Context) ([]backend.Image, error) {
	user := backend.ImageUser{Name: "web1", Target: "vda", Active: true}
	return []backend.Image{{Path: k.image, Users: []backend.ImageUser{user}}}, nil
}

// TestAnImageThatAVMWritesToIsNotCopied: libvirt is asked, for no lock of
// QEMU's shows here; a name with links is the same file.
func TestAnImageThatAVMWritesToIsNotCopied(t *testing.T) {
	dir := t.TempDir()
	image, link := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "link.raw")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(image, link); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		env := map[string]string{"HOME": dir, "XDG_STATE_HOME": dir}
		p := testProgram(append([]string{"-c", "fake://hv1", "image"}, args...), func(k string) string { return env[k] })
		p.Stdin, p.Stdout, p.Stderr = strings.NewReader(""), &out, &errs
		p.Local = func(string) bool { return true }
		p.Connect = func(s HostSpec) (backend.Host, error) {
			h, err := newFake(s)
			if err != nil {
				return nil, err
			}
			return keeper{fakeHost: h.(*fakeHost), image: image}, nil
		}
		return p.Run(t.Context()), errs.String()
	}
	for _, args := range [][]string{
		{"copy", image, dir + "/new"}, {"copy", link, dir + "/new"}, {"convert", image, dir + "/new.qcow2"},
		{"compress", image}, {"compress", image, dir + "/new.qcow2"}, {"split", image, "--size", "1M"},
	} {
		if code, errs := run(args...); code != ExitFailed || !strings.Contains(errs, "web1 runs with it as vda") || !strings.Contains(errs, "berth backup create") {
			t.Errorf("%q: code %d, %s", args, code, errs)
		}
	}
	if code, errs := run("copy", image, dir+"/forced", "--force"); code != 0 {
		t.Errorf("with --force: code %d, %s", code, errs)
	}
	if found, _ := filepath.Glob(dir + "/new*"); len(found) > 0 {
		t.Errorf("made all the same: %q", found)
	}
}

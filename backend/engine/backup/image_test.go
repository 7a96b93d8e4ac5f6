package backup

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/backend"
)

// An image is copied to several places; one that fails is named, and the others
// are whole.
func TestCopyOfAnImage(t *testing.T) {
	r := newRig(t)
	r.vm("web1", false)
	r.start()
	dir := filepath.Join(r.host.dir, "images")
	order := func(targets ...string) backend.TransferID {
		return r.order(backend.TransferSpec{Kind: backend.TransferCopy, Name: "web1", Image: backend.CopySpec{Source: filepath.Join(dir, "web1-vda.raw"), Targets: targets}})
	}
	one, two := filepath.Join(dir, "one.raw"), filepath.Join(dir, "two.raw")
	x := r.ends(order(one, two), backend.TransferDone)
	want := r.image("web1", "vda")
	for _, p := range []string{one, two} {
		if got, err := os.ReadFile(p); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what it should be: %v", p, err)
		}
	}
	if x.Progress.Done != x.Progress.Total || x.Progress.Done == 0 || x.Words != "2 copies, each read back" {
		t.Errorf("%+v", x)
	}
	three := filepath.Join(dir, "three.raw")
	x = r.ends(order(one, three), backend.TransferFailed)
	if got, err := os.ReadFile(three); err != nil || !bytes.Equal(got, want) || !strings.Contains(x.Words, "one.raw: ") || strings.Contains(x.Words, "three.raw") {
		t.Errorf("beside one that failed: %v, %q", err, x.Words)
	}
	r.clean()
}

package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/backend"
	"berth/backend/image/disk"
)

// copyOrder orders copies of a VM's first disk in its folder, and returns their
// paths.
func (r *rig) copyOrder(source string, names ...string) (id backend.TransferID, paths []string) {
	r.Helper()
	dir := filepath.Join(r.host.dir, "images")
	for _, n := range names {
		paths = append(paths, filepath.Join(dir, n))
	}
	return r.order(backend.TransferSpec{Kind: backend.TransferCopy, Name: "web1", Image: backend.CopySpec{Source: filepath.Join(dir, source), Targets: paths}}), paths
}

// An image is copied to several places; one that fails is named, and the others
// are whole.
func TestCopyOfAnImage(t *testing.T) {
	r := newRig(t)
	r.vm("web1", false)
	r.start()
	id, made := r.copyOrder("web1-vda.raw", "one.raw", "two.raw")
	x := r.ends(id, backend.TransferDone)
	want := r.image("web1", "vda")
	for _, p := range made {
		r.holds(p, want)
	}
	if x.Progress.Done != x.Progress.Total || x.Progress.Done == 0 || x.Words != "2 copies, each read back" {
		t.Errorf("%+v", x)
	}
	id, made = r.copyOrder("web1-vda.raw", "one.raw", "three.raw")
	x = r.ends(id, backend.TransferFailed)
	r.holds(made[1], want)
	if !strings.Contains(x.Words, "one.raw: ") || strings.Contains(x.Words, "three.raw") {
		t.Errorf("it says %q", x.Words)
	}
	r.clean()
}

func (r *rig) holds(path string, want []byte) {
	r.Helper()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		r.Errorf("%s is not what it should be: %v", path, err)
	}
}

// absent checks that nothing has a name.
func (r *rig) absent(paths ...string) {
	r.Helper()
	for _, p := range paths {
		if _, err := os.Lstat(p); !errors.Is(err, os.ErrNotExist) {
			r.Errorf("%s: %v", p, err)
		}
	}
}

// Not enough room is told before the first byte, of all copies together.
func TestCopyWithoutRoom(t *testing.T) {
	r := newRig(t)
	r.vm("web1", false)
	made := 0
	r.host.hook = func(op string) error {
		switch op {
		case "make":
			made++
		case "room":
			return backend.ErrNoRoom
		}
		return nil
	}
	r.start()
	id, paths := r.copyOrder("web1-vda.raw", "one.raw", "two.raw")
	x := r.ends(id, backend.TransferFailed)
	if made > 0 || !strings.Contains(x.Words, "one.raw: not enough free space: 8 MiB are needed in ") || !strings.Contains(x.Words, "two.raw: not enough free space: 16 MiB are needed in ") {
		t.Errorf("%d were begun; it says %q", made, x.Words)
	}
	r.absent(paths...)
}

// A source that QEMU writes to is refused, whatever it is called.
func TestCopyOfWhatIsWritten(t *testing.T) {
	for name, link := range map[string]func(from, to string) error{"symbolic": os.Symlink, "hard": os.Link} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.vm("web1", false)
			dir := filepath.Join(r.host.dir, "images")
			if err := link(filepath.Join(dir, "web1-vda.raw"), filepath.Join(dir, "other.raw")); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(filepath.Join(dir, "web1-vda.raw"), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			const writes = 101 // the byte that QEMU locks (block/file-posix.c)
			if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: writes, Len: 1}); err != nil {
				t.Fatal(err)
			}
			r.start()
			id, paths := r.copyOrder("other.raw", "one.raw")
			x := r.ends(id, backend.TransferFailed)
			if !strings.Contains(x.Words, "in use: QEMU has it open; shut it down, or back it up") {
				t.Errorf("it says %q", x.Words)
			}
			r.absent(paths...)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			id, paths = r.copyOrder("other.raw", "two.raw")
			r.ends(id, backend.TransferDone)
			r.holds(paths[0], r.image("web1", "vda"))
			id, _ = r.copyOrder("web1-vda.raw", "other.raw") // onto itself
			if x := r.ends(id, backend.TransferFailed); !strings.Contains(x.Words, "file already exists") {
				t.Errorf("it says %q", x.Words)
			}
			r.clean()
		})
	}
}

// crooked writes the first piece otherwise than it was told.
type crooked struct {
	disk.Writer
	off bool
}

func (c *crooked) WriteAt(ctx context.Context, p []byte, at int64) error {
	if at == 0 && !c.off {
		p = append(bytes.Clone(p[:len(p)-1]), p[len(p)-1]+1)
	}
	return c.Writer.WriteAt(ctx, p, at)
}

// A copy that reads back otherwise than it was written never gets its name.
func TestCopyThatIsWrong(t *testing.T) {
	r := newRig(t)
	r.vm("web1", false)
	r.opt.openWriter = func(ctx context.Context, a backend.DiskAccess) (disk.Writer, error) {
		w, err := disk.OpenWriter(ctx, a)
		return &crooked{Writer: w, off: !strings.Contains(a.File, "one.raw")}, err
	}
	r.start()
	id, paths := r.copyOrder("web1-vda.raw", "one.raw", "two.raw")
	x := r.ends(id, backend.TransferFailed)
	if !strings.Contains(x.Words, "one.raw: damaged: what was read back at 0") || strings.Contains(x.Words, "two.raw") {
		t.Errorf("it says %q", x.Words)
	}
	r.absent(paths[0])
	r.holds(paths[1], r.image("web1", "vda"))
	r.clean()
}

// A further attempt makes the copies that are missing, and does not stumble
// over those that are there.
func TestCopyTriedAgain(t *testing.T) {
	r := newRig(t)
	r.vm("web1", false)
	makes := 0
	r.host.hook = func(op string) error {
		if op == "make" {
			if makes++; makes == 2 {
				return fmt.Errorf("%w: as the test wants it", backend.ErrUnreachable)
			}
		}
		return nil
	}
	r.start()
	id, paths := r.copyOrder("web1-vda.raw", "one.raw", "two.raw")
	if x := r.ends(id, backend.TransferDone); x.Attempts != 2 || makes != 4 {
		t.Errorf("%d attempts, %d images: %s", x.Attempts, makes, x.Words)
	}
	for _, p := range paths {
		r.holds(p, r.image("web1", "vda"))
	}
	r.clean()
}

// What can be seen to be wrong with a copy is refused when it is ordered.
func TestCopyIsChecked(t *testing.T) {
	r := newRig(t)
	for _, s := range []backend.CopySpec{
		{Source: "/a.raw"}, {Source: "a.raw", Targets: []string{"/b.raw"}}, {Source: "/a.raw", Targets: []string{"b.raw"}},
		{Source: "/a.raw", Targets: []string{"/b.raw", "/./b.raw"}}, {Source: "/d/a.raw", Targets: []string{"/d/../d/a.raw"}},
	} {
		if _, err := r.c.Start(t.Context(), []backend.TransferSpec{{Kind: backend.TransferCopy, VM: backend.Key{Host: "hv1"}, Image: s}}); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

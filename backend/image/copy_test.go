package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"berth/backend"
	"berth/backend/image/disk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sample is an image file with data, holes, zeroes that are no holes, and an
// odd length.
func sample(t *testing.T) (path string, content []byte) {
	t.Helper()
	content = make([]byte, 24<<20+777)
	r := rand.NewChaCha8([32]byte{9})
	for _, s := range [][]byte{content[:3<<20], content[9<<20+100 : 12<<20], content[24<<20:]} {
		if _, err := r.Read(s); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(t.TempDir(), "src.raw")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(content[:14<<20], 0) // with two megabytes of zeroes at its end
	_, err2 := f.WriteAt(content[24<<20:], 24<<20)
	if err := errors.Join(err, err2, f.Close()); err != nil {
		t.Fatal(err)
	}
	return path, content
}

func same(t *testing.T, path string, content []byte) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s is not what it should be (%v)", filepath.Base(path), err)
	}
}

// onlyThese checks that nothing else is left in a folder.
func onlyThese(t *testing.T, dir string, names ...string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("the folder holds %v, want %v", got, names)
	}
}

func TestCopyToSeveralPlaces(t *testing.T) {
	src, content := sample(t)
	dir := t.TempDir()
	p := served(t, filepath.Join(dir, "place"))
	a, b := filepath.Join(dir, "a.raw"), filepath.Join(dir, "b.raw")
	var told atomic.Int64
	res, err := Copy(t.Context(), src, []Target{File(a, 0o640), File(b, 0o600), InPlace(p, "c.raw", 0o640)}, CopyOptions{
		Sums: []string{"sha256", "blake3"}, Progress: func(_ backend.Phase, done, _ int64) { told.Store(done) }})
	if err != nil || res.Err() != nil {
		t.Fatal(err, res.Err())
	}
	for _, path := range []string{a, b, filepath.Join(dir, "place", "c.raw")} {
		same(t, path, content)
	}
	for _, r := range res.Targets {
		if !r.Verified {
			t.Errorf("%s was not verified", r.Name)
		}
	}
	for name, want := range map[string]string{"sha256": sumOf(t, "sha256", content), "blake3": sumOf(t, "blake3", content)} {
		if res.Sums[name] != want {
			t.Errorf("%s is %s, want %s", name, res.Sums[name], want)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(a, &st); err != nil || st.Blocks*512 > 7<<20 || st.Mode&0o777 != 0o640 {
		t.Errorf("6 MiB of data take %d bytes, mode %o (%v)", st.Blocks*512, st.Mode&0o777, err)
	}
	if told.Load() == 0 {
		t.Error("nothing was told of the progress")
	}
	onlyThese(t, dir, "a.raw", "b.raw", "place")
}

func sumOf(t *testing.T, name string, content []byte) string {
	t.Helper()
	h, err := newHash(name)
	if err != nil {
		t.Fatal(err)
	}
	h.Write(content)
	return fmt.Sprintf("%x", h.Sum(nil))
}

// brokenSink fails, or lies, at one of its steps.
type brokenSink struct {
	step string
	buf  []byte
	gone *atomic.Bool
}

var errBroken = errors.New("the disk is on fire")

func (s *brokenSink) fail(step string) error {
	if s.step == step {
		return errBroken
	}
	return nil
}

func (s *brokenSink) Write(_ context.Context, p []byte, offset int64) error {
	copy(s.buf[offset:], p)
	if s.step == "flip" && offset == 1<<20 {
		s.buf[offset+5] ^= 1
	}
	if s.step == "lose" && offset == 9<<20 {
		clear(s.buf[offset : offset+int64(len(p))])
	}
	return s.fail("write")
}
func (s *brokenSink) Sync(context.Context) error   { return s.fail("sync") }
func (s *brokenSink) Commit(context.Context) error { return s.fail("commit") }
func (s *brokenSink) Reread(context.Context) (disk.Reader, error) {
	if s.step == "more" {
		s.buf[20<<20] = 1
	}
	return &streamReader{r: bytes.NewReader(s.buf), size: int64(len(s.buf)), close: func() error { return nil }}, s.fail("reread")
}
func (s *brokenSink) Discard(context.Context) error { s.gone.Store(true); return nil }

// A target that fails at any step is named and leaves nothing; the others are
// whole.
func TestATargetThatFailsHoldsBackNoOther(t *testing.T) {
	for step, want := range map[string]error{"open": errBroken, "write": errBroken, "sync": errBroken, "reread": errBroken, "commit": errBroken,
		"flip": backend.ErrDamaged, "lose": backend.ErrDamaged, "more": backend.ErrDamaged} {
		t.Run(step, func(t *testing.T) {
			src, content := sample(t)
			good := filepath.Join(t.TempDir(), "good.raw")
			var gone atomic.Bool
			bad := Target{Name: "bad", Open: func(_ context.Context, size, _ int64) (Sink, error) {
				s := &brokenSink{step: step, buf: make([]byte, size), gone: &gone}
				return s, s.fail("open")
			}}
			if step == "open" {
				bad.Open = func(context.Context, int64, int64) (Sink, error) { return nil, errBroken }
				gone.Store(true)
			}
			res, err := Copy(t.Context(), src, []Target{bad, File(good, 0o600)}, CopyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !errors.Is(res.Targets[0].Err, want) || res.Targets[0].Verified || !gone.Load() {
				t.Errorf("the bad one: %+v, discarded: %v", res.Targets[0], gone.Load())
			}
			if res.Targets[1].Err != nil || !res.Targets[1].Verified {
				t.Errorf("the good one: %+v", res.Targets[1])
			}
			same(t, good, content)
		})
	}
}

func TestCopyRefuses(t *testing.T) {
	src, content := sample(t)
	if _, err := Copy(t.Context(), src, []Target{File(src, 0o600)}, CopyOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("onto itself: %v", err)
	}
	same(t, src, content)
	if _, err := Copy(t.Context(), filepath.Dir(src), []Target{File(src+".2", 0o600)}, CopyOptions{}); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Copy(t.Context(), src+"x", nil, CopyOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	huge := filepath.Join(t.TempDir(), "huge")
	res, err := copyFrom(t.Context(), &streamReader{size: 1 << 60}, 1<<60, []Target{File(huge, 0o600)}, CopyOptions{})
	if !errors.Is(err, backend.ErrNoRoom) || res.Data != 0 {
		t.Errorf("more than there is room for: %v", err)
	}
	onlyThese(t, filepath.Dir(huge))
}

func TestACopyThatIsEndedLeavesNothing(t *testing.T) {
	src, _ := sample(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Copy(ctx, src, []Target{File(filepath.Join(dir, "a"), 0o600), File(filepath.Join(dir, "b"), 0o600)}, CopyOptions{
		Progress: func(_ backend.Phase, done, _ int64) {
			if done > 2<<20 {
				cancel()
			}
		}})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	onlyThese(t, dir)
}

// A source that is damaged under way fails every target.
func TestASourceThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	r := &streamReader{r: bytes.NewReader(make([]byte, 3<<20)), size: 5 << 20, close: func() error { return nil }}
	res, err := copyFrom(t.Context(), r, 5<<20, []Target{File(filepath.Join(dir, "a"), 0o600)}, CopyOptions{})
	if err != nil || !errors.Is(res.Err(), backend.ErrDamaged) {
		t.Error(err, res.Err())
	}
	onlyThese(t, dir)
}

func needQEMU(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"qemu-img", "qemu-io"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (package qemu-utils)", tool)
		}
	}
}

// qemuHolds keeps an image open for writing, as a VM does, until the returned
// function is called.
func qemuHolds(t *testing.T, path, format string, readOnly bool) (release func()) {
	t.Helper()
	needQEMU(t)
	args := []string{"-f", format, path}
	if readOnly {
		args = append([]string{"-r"}, args...)
	}
	cmd := exec.Command("qemu-io", args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(in, "read 0 512"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for got := ""; !strings.Contains(got, "read 512"); {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got += string(buf[:n])
	}
	return func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	}
}

func TestAnImageInUseIsNotCopied(t *testing.T) {
	src, content := sample(t)
	release := qemuHolds(t, src, "raw", false)
	target := filepath.Join(t.TempDir(), "a")
	if _, err := Copy(t.Context(), src, []Target{File(target, 0o600)}, CopyOptions{}); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("a VM writes to it: %v", err)
	}
	if err := Busy(src); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("a VM writes to it: %v", err)
	}
	if res, err := Copy(t.Context(), src, []Target{File(target, 0o600)}, CopyOptions{Force: true}); err != nil || res.Err() != nil {
		t.Errorf("by force: %v", err)
	}
	same(t, target, content)
	release()
	if err := Busy(src); err != nil {
		t.Errorf("nobody uses it: %v", err)
	}
	release = qemuHolds(t, src, "raw", true)
	defer release()
	if err := Busy(src); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("somebody reads it: %v", err)
	}
	if res, err := Copy(t.Context(), src, []Target{File(target+"2", 0o600)}, CopyOptions{}); err != nil || res.Err() != nil {
		t.Errorf("who reads only is in nobody's way: %v", err)
	}
}

// While it is copied no VM can write to the image.
func TestTheSourceIsLocked(t *testing.T) {
	needQEMU(t)
	src, _ := sample(t)
	f, err := hold(src, false)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("qemu-io", "-f", "raw", "-c", "write 0 512", src).CombinedOutput(); err == nil || !strings.Contains(string(out), "lock") {
		t.Errorf("QEMU could write: %s", out)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("qemu-io", "-f", "raw", "-c", "write 0 512", src).CombinedOutput(); err != nil {
		t.Errorf("QEMU cannot write though nobody holds it: %s", out)
	}
}

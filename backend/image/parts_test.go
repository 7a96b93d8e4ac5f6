package image

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/backend"
)

// splitSample splits the sample into a folder of its own.
func splitSample(t *testing.T) (manifest, dir string, content []byte) {
	t.Helper()
	src, content := sample(t)
	dir = t.TempDir()
	manifest, err := Split(t.Context(), src, SplitOptions{Size: 5 << 20, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return manifest, dir, content
}

func TestSplitAndJoin(t *testing.T) {
	manifest, dir, content := splitSample(t)
	onlyThese(t, dir, "src.raw.001", "src.raw.002", "src.raw.003", "src.raw.004", "src.raw.005", "src.raw.parts.json", "src.raw.sha256")
	var all []byte
	for _, n := range []string{"1", "2", "3", "4", "5"} {
		b, err := os.ReadFile(filepath.Join(dir, "src.raw.00"+n))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	if !bytes.Equal(all, content) {
		t.Error("cat of the parts is not the image")
	}
	if sum, err := exec.LookPath("sha256sum"); err == nil {
		cmd := exec.Command(sum, "-c", "src.raw.sha256")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("sha256sum -c: %s", out)
		}
	}
	if got := ManifestOf(filepath.Join(dir, "src.raw.003")); got != manifest {
		t.Errorf("the manifest of a part is %s", got)
	}
	back := filepath.Join(t.TempDir(), "back.raw")
	if err := Join(t.Context(), manifest, back, JoinOptions{}); err != nil {
		t.Fatal(err)
	}
	same(t, back, content)
	if _, err := Split(t.Context(), back, SplitOptions{Size: 1}); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("parts of one byte: %v", err)
	}
}

// Every part that is missing, foreign or damaged is named, and nothing is
// written.
func TestJoinNamesWhatIsWrong(t *testing.T) {
	for name, tt := range map[string]struct {
		harm  func(dir string) error
		kind  error
		named []string
	}{
		"missing": {func(d string) error {
			return errors.Join(os.Remove(filepath.Join(d, "src.raw.002")), os.Remove(filepath.Join(d, "src.raw.004")))
		}, fs.ErrNotExist, []string{"src.raw.002", "src.raw.004"}},
		"foreign": {func(d string) error { return os.WriteFile(filepath.Join(d, "src.raw.006"), []byte("x"), 0o600) }, backend.ErrInvalid, []string{"src.raw.006"}},
		"short":   {func(d string) error { return os.Truncate(filepath.Join(d, "src.raw.003"), 5<<20-1) }, backend.ErrDamaged, []string{"src.raw.003"}},
		"swapped": {func(d string) error {
			return errors.Join(os.Rename(filepath.Join(d, "src.raw.001"), filepath.Join(d, "x")), os.Rename(filepath.Join(d, "src.raw.002"), filepath.Join(d, "src.raw.001")),
				os.Rename(filepath.Join(d, "x"), filepath.Join(d, "src.raw.002")))
		}, backend.ErrDamaged, []string{"src.raw.001: damaged: it is not this part, but src.raw.002", "src.raw.002: damaged: it is not this part, but src.raw.001"}},
		"flipped": {func(d string) error {
			b, err := os.ReadFile(filepath.Join(d, "src.raw.003"))
			b[123] ^= 4
			return errors.Join(err, os.WriteFile(filepath.Join(d, "src.raw.003"), b, 0o600))
		}, backend.ErrDamaged, []string{"src.raw.003"}},
	} {
		t.Run(name, func(t *testing.T) {
			manifest, dir, _ := splitSample(t)
			if err := tt.harm(dir); err != nil {
				t.Fatal(err)
			}
			out := t.TempDir()
			err := Join(t.Context(), manifest, filepath.Join(out, "back"), JoinOptions{})
			if !errors.Is(err, tt.kind) {
				t.Errorf("%v", err)
			}
			for _, n := range tt.named {
				if err == nil || !strings.Contains(err.Error(), n) {
					t.Errorf("%v does not name %s", err, n)
				}
			}
			if err != nil && strings.Contains(err.Error(), "src.raw.005:") {
				t.Errorf("a good part is named: %v", err)
			}
			onlyThese(t, out)
		})
	}
}

func TestManifestsThatDoHarm(t *testing.T) {
	sum := strings.Repeat("0", 64)
	for name, text := range map[string]string{
		"a path":          `{"version":1,"name":"x","size":1,"sha256":"` + sum + `","parts":[{"name":"../x","size":1,"sha256":"` + sum + `"}]}`,
		"a negative size": `{"version":1,"name":"x","size":0,"sha256":"` + sum + `","parts":[{"name":"a","size":-1,"sha256":"` + sum + `"},{"name":"b","size":1,"sha256":"` + sum + `"}]}`,
		"no parts":        `{"version":1,"name":"x","size":0,"sha256":"` + sum + `"}`,
		"the same twice":  `{"version":1,"name":"x","size":2,"sha256":"` + sum + `","parts":[{"name":"a","size":1,"sha256":"` + sum + `"},{"name":"a","size":1,"sha256":"` + sum + `"}]}`,
		"a later version": `{"version":2}`,
		"no JSON":         `hello`,
	} {
		path := filepath.Join(t.TempDir(), "x.parts.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := ReadManifest(path); err == nil {
			t.Errorf("%s: taken as %+v", name, m)
		}
	}
}

func TestASplitThatFailsLeavesNothing(t *testing.T) {
	src, _ := sample(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Split(ctx, src, SplitOptions{Size: 2 << 20, Dir: dir, Progress: func(_ backend.Phase, done, _ int64) {
		if done > 3<<20 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	onlyThese(t, dir)
}

func TestChecksums(t *testing.T) {
	src, content := sample(t)
	got, err := Checksum(t.Context(), src, []string{"sha256", "blake3"}, false, nil)
	if err != nil || got["sha256"] != sumOf(t, "sha256", content) || got["blake3"] != sumOf(t, "blake3", content) {
		t.Error(got, err)
	}
	if _, err := Checksum(t.Context(), src, []string{"md5"}, false, nil); !errors.Is(err, backend.ErrInvalid) {
		t.Error(err)
	}
	if got := SumLine("ab", "a\nb\\"); got != `\ab  a\nb\\` {
		t.Errorf("escaped as %q", got)
	}
}

func TestCompressAndDecompress(t *testing.T) {
	src, content := sample(t)
	dir := t.TempDir()
	packed, back := filepath.Join(dir, "a.zst"), filepath.Join(dir, "back.raw")
	if err := Compress(t.Context(), src, packed, CompressOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := Decompress(t.Context(), packed, back, CompressOptions{}); err != nil {
		t.Fatal(err)
	}
	same(t, back, content)
	if st, err := os.Stat(back); err != nil || allocated(st) > 7<<20 {
		t.Errorf("it takes %d bytes (%v)", allocated(st), err)
	}
	zstd, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("zstd is not installed")
	}
	if out, err := exec.Command(zstd, "-q", "-d", packed, "-o", filepath.Join(dir, "theirs.raw")).CombinedOutput(); err != nil {
		t.Fatalf("zstd -d: %s", out)
	}
	same(t, filepath.Join(dir, "theirs.raw"), content)
	if out, err := exec.Command(zstd, "-q", "-3", src, "-o", filepath.Join(dir, "foreign.zst")).CombinedOutput(); err != nil {
		t.Fatalf("zstd: %s", out)
	}
	if err := Decompress(t.Context(), filepath.Join(dir, "foreign.zst"), filepath.Join(dir, "foreign.raw"), CompressOptions{}); err != nil {
		t.Fatal(err)
	}
	same(t, filepath.Join(dir, "foreign.raw"), content)
}

// Whatever byte is wrong, and wherever the file is cut, nothing appears.
func TestADamagedZst(t *testing.T) {
	src, _ := sample(t)
	dir := t.TempDir()
	packed := filepath.Join(dir, "a.zst")
	if err := Compress(t.Context(), src, packed, CompressOptions{}); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(packed)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{5, 1000, len(good) / 3, len(good) / 2} {
		bad := bytes.Clone(good)
		bad[at] ^= 0x10
		cut := good[:len(good)-at]
		for _, b := range [][]byte{bad, cut} {
			if err := os.WriteFile(packed, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := Decompress(t.Context(), packed, filepath.Join(dir, "out"), CompressOptions{}); err == nil {
				// The table at the end may be cut off: then nothing is lost.
				if out, rerr := os.ReadFile(filepath.Join(dir, "out")); rerr != nil || len(out) != 24<<20+777 {
					t.Errorf("byte %d of %d: taken without a word", at, len(good))
				}
				if err := os.Remove(filepath.Join(dir, "out")); err != nil {
					t.Fatal(err)
				}
			} else if !errors.Is(err, backend.ErrDamaged) {
				t.Errorf("byte %d: %v", at, err)
			}
		}
	}
	onlyThese(t, dir, "a.zst")
}

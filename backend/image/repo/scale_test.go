package repo

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/backend/image/place"
)

// raceDetector is set in tests under the race detector.
var raceDetector bool

// scaleDir is set for processes whose memory is measured.
const scaleDir = "BERTH_TEST_SCALE_DIR"

// Memory of check, verify and prune is bounded: 64 MiB for an index of 10 TiB,
// which BERTH_SCALE_TIB=10 measures, in processes of their own. Without it there is
// one TiB, for which 32 bytes a chunk in memory would be too much.
func TestMemoryIsBounded(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector's own memory is several times the program's")
	}
	gib, most := 1024, 48<<10 // KiB
	if s := os.Getenv("BERTH_SCALE_TIB"); s != "" {
		tib, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		gib, most = tib<<10, 64<<10
	}
	if testing.Short() {
		gib = 16
	}
	dir := quickDir(t)
	p, err := place.OpenLocal(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	r := initRepo(t, p, InitOptions{})
	synthetic(t, r, dir, gib<<10)
	for _, what := range []string{"check", "verify", "prune"} {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), scaleDir+"="+dir, scaleDir+"_DO="+what)
		began := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", what, err, out)
		}
		peak := highWater(t, string(out))
		t.Logf("%s of %d GiB: %d MiB at most, %s", what, gib, peak>>10, time.Since(began).Round(time.Millisecond))
		if peak > most {
			t.Errorf("%s took %d MiB", what, peak>>10)
		}
	}
}

// scaleWork is what such a process does; it ends by telling its memory.
func scaleWork(dir, what string) error {
	ctx := context.Background()
	p, err := place.OpenLocal(dir, false)
	if err != nil {
		return err
	}
	r, err := Open(ctx, p, Secret{}, Options{})
	if err != nil {
		return err
	}
	switch what {
	case "check":
		var rep Report
		if rep, err = r.Check(ctx, CheckOptions{}); err == nil && (!rep.OK() || rep.Chunks == 0) {
			err = fmt.Errorf("%d chunks, %v", rep.Chunks, rep.Damages)
		}
	case "verify": // the packs are empty: a few chunks are enough to be read in vain
		var rep Report
		if rep, err = r.Verify(ctx, VerifyOptions{Sample: 0.0005}); err == nil && rep.OK() {
			err = errors.New("nothing was read")
		}
	case "prune":
		var rep PruneReport
		if rep, err = r.Prune(ctx, PruneOptions{DryRun: true}); err == nil && rep.Chunks == 0 {
			err = fmt.Errorf("%+v", rep)
		}
	}
	if err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	fmt.Printf("%s", status)
	return errors.Join(err, r.Close())
}

// highWater is VmHWM of /proc/PID/status, in KiB.
func highWater(t *testing.T, status string) int {
	t.Helper()
	for lines := bufio.NewScanner(strings.NewReader(status)); lines.Scan(); {
		if rest, is := strings.CutPrefix(lines.Text(), "VmHWM:"); is {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no VmHWM in %q", status)
	return 0
}

// synthetic makes an index of so many chunks in packs of 64, with sparse files in
// the packs' stead, and a point that needs them all.
func synthetic(t *testing.T, r *Repo, dir string, chunks int) {
	t.Helper()
	const perPack = 64
	rng := rand.New(rand.NewPCG(1, 2))
	w, err := r.Begin(t.Context(), WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, w)
	c, buf := newCodec(r.crypt), r.buffers.get()
	defer c.close()
	defer r.buffers.put(buf)
	size := int64(chunks) * ChunkSize
	b := newMapBuilder(size, func(node []byte) (ChunkID, error) {
		return w.store(c, buf, copy(buf[frameLen:], node), kindMap)
	})
	for left := chunks; left > 0; {
		var some []packed
		for n := 0; n < 4*indexFrames/perPack && left > 0; n++ {
			pack := packed{packInfo: packInfo{id: newFileID(), size: packHeadLen + perPack*ChunkSize, frames: perPack}, frames: make([]frame, perPack)}
			for i := range pack.frames {
				f := &pack.frames[i]
				f.offset, f.stored, f.raw = packHeadLen+int64(i)*ChunkSize, ChunkSize-frameLen, ChunkSize
				for at := 0; at < len(f.id); at += 8 {
					binary.BigEndian.PutUint64(f.id[at:], rng.Uint64())
				}
				if err := b.add(f.id); err != nil {
					t.Fatal(err)
				}
			}
			name := filepath.Join(dir, packName(pack.id))
			if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, nil, 0o600), os.Truncate(name, pack.size)); err != nil {
				t.Fatal(err)
			}
			some, left = append(some, pack), left-perPack
		}
		if err := errors.Join(r.index.add(t.Context(), some), r.index.tidy(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	m, err := b.finish()
	if err != nil {
		t.Fatal(err)
	}
	w.disks = []Disk{{Target: "vda", Size: size, Data: size, Map: m}}
	if _, err := w.Commit(t.Context(), Manifest{Name: "large", At: started}); err != nil {
		t.Fatal(err)
	}
}

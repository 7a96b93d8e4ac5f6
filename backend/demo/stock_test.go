package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	diskbackend "github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/ext4"
	"github.com/diskfs/go-diskfs/filesystem/fat32"

	"berth/backend"
)

// blocks is what a disk holds: the sums of its blocks that are not zero.
type blocks map[int64][32]byte

// WriteAt notes what copySparse finds.
func (b blocks) WriteAt(p []byte, off int64) (int, error) {
	for i := 0; i < len(p); i += 4096 {
		if part := p[i:min(i+4096, len(p))]; !isZero(part) {
			b[off+int64(i)] = sha256.Sum256(part)
		}
	}
	return len(p), nil
}

func content(t testing.TB, file string) blocks {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := blocks{}
	if err := copySparse(b, f, info.Size()); err != nil {
		t.Fatal(err)
	}
	return b
}

// apply takes over the extents of a later content, as an incremental restore does.
func (b blocks) apply(later blocks, dirty []backend.Extent) blocks {
	merged := maps.Clone(b)
	for _, e := range dirty {
		for at := e.Offset; at < e.Offset+e.Length; at += 4096 {
			delete(merged, at)
			if sum, ok := later[at]; ok {
				merged[at] = sum
			}
		}
	}
	return merged
}

// ownFleet is newFleet with a folder that the test can look into.
func ownFleet(t testing.TB, o Options) (*Fleet, *ManualClock) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	return newFleet(t, o)
}

func TestImagesAreListed(t *testing.T) {
	f, _ := ownFleet(t, whole)
	var orphans, missing, encrypted, chains, inUse int
	paths := map[string]int{}
	for _, h := range f.Hosts() {
		list, err := h.(backend.Storage).Images(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(list, func(a, b backend.Image) int { return bytes.Compare([]byte(a.Path), []byte(b.Path)) }) {
			t.Error("not in order")
		}
		for i := range list {
			img := &list[i]
			paths[img.Host+":"+img.Path]++
			orphans += count(img.Orphan())
			missing += count(img.Missing)
			encrypted += count(img.Encrypted)
			chains += count(len(img.Backing) > 1)
			inUse += count(len(img.Users) > 0)
			if img.Missing && (len(img.BackedBy) == 0 || img.Real != 0) {
				t.Errorf("%+v", img)
			}
			if !img.Missing && (img.Virtual == 0 || img.Real == 0 || img.Real > 16*mib || img.Format == "" || img.Modified.IsZero()) {
				t.Errorf("%+v", img)
			}
		}
	}
	if orphans < 2 || missing != 1 || encrypted != 1 || chains < 1 || inUse < DefaultVMs {
		t.Errorf("%d orphans, %d missing, %d encrypted, %d chains, %d in use", orphans, missing, encrypted, chains, inUse)
	}
	for p, n := range paths {
		if n > 1 {
			t.Errorf("%s is listed %d times", p, n)
		}
	}
	if entries, err := os.ReadDir(f.opts.Dir); err != nil || len(entries) != 0 {
		t.Errorf("a list made %v, %v: nobody looked into an image", entries, err)
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestPoolsAreListed(t *testing.T) {
	f, _ := ownFleet(t, whole)
	h := f.hosts[0]
	pools, err := h.Pools(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var stopped, full int
	for _, p := range pools {
		stopped += count(!p.Active && p.Trouble != "")
		full += count(p.Active && p.Available*100 < p.Capacity)
		if p.Active != (p.Capacity > 0) || p.Allocation+p.Available != p.Capacity || p.UUID.IsZero() {
			t.Errorf("%+v", p)
		}
	}
	if stopped != 1 || full != 1 {
		t.Errorf("%d pools do not run, %d are nearly full", stopped, full)
	}
	if err := h.PoolDo(t.Context(), "nfs-archive", backend.PoolStart); !errors.Is(err, backend.ErrUnreachable) {
		t.Errorf("starting a pool whose server is gone: %v", err)
	}
	if err := h.PoolDo(t.Context(), "nowhere", backend.PoolStart); !errors.Is(err, backend.ErrNoStorage) {
		t.Errorf("starting a pool that is not there: %v", err)
	}
	if err := h.DefinePool(t.Context(), backend.PoolSpec{Name: "fast", Path: "/srv/fast"}); err != nil {
		t.Fatal(err)
	}
	if err := h.CreateImage(t.Context(), backend.ImageSpec{Pool: "fast", Name: "a.qcow2", Format: "qcow2", Size: gib}); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []backend.PoolVerb{backend.PoolDestroy, backend.PoolStart, backend.PoolRefresh, backend.PoolAutostartOn, backend.PoolDestroy, backend.PoolUndefine} {
		if err := h.PoolDo(t.Context(), "fast", verb); err != nil {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if err := h.PoolDo(t.Context(), "fast", backend.PoolStart); !errors.Is(err, backend.ErrNoStorage) {
		t.Errorf("starting a pool that was undefined: %v", err)
	}
}

// What lies in an image is a real file system, which others can read.
func TestImagesHoldFileSystems(t *testing.T) {
	f, _ := ownFleet(t, Options{Seed: 3, VMs: 24, Calm: true})
	linux, windows := machine(t, f, "web"), machine(t, f, "dc")
	for _, v := range []*vm{linux, windows} {
		img, err := v.host.OpenImage(t.Context(), v.stored.disks[0].source, "qcow2")
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(img.Access().File)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		storage := diskbackend.New(file, true)
		var fsys fs.FS
		if v == linux {
			fsys, err = ext4.Read(storage, fsSize, fsOffset, 512)
		} else {
			fsys, err = fat32.Read(storage, fsSize, fsOffset, 512)
		}
		if err != nil {
			t.Fatalf("%s: %v", v.row.Name, err)
		}
		got := readAll(t, fsys, "etc/hostname")
		if want := v.stored.name + "\n"; string(bytes.TrimRight(got, "\n"))+"\n" != want {
			t.Errorf("%s: etc/hostname says %q", v.row.Name, got)
		}
		if log := readAll(t, fsys, "var/log/syslog"); len(log) != logLen || !bytes.Contains(log, []byte("request")) {
			t.Errorf("%s: the log has %d bytes: %.80q", v.row.Name, len(log), log)
		}
		if err := img.Close(); err != nil {
			t.Error(err)
		}
	}
}

func readAll(t *testing.T, fsys fs.FS, name string) []byte {
	t.Helper()
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer f.Close()
	p, err := io.ReadAll(f)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
}

func TestImagesAreMadeMovedAndDeleted(t *testing.T) {
	f, _ := ownFleet(t, Options{Seed: 3, Calm: true})
	h, ctx := f.hosts[0], t.Context()
	const path = shelf + "new.qcow2"
	n, err := h.MakeImage(ctx, path, "qcow2", 3*gib)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.MakeImage(ctx, path, "raw", gib); !errors.Is(err, fs.ErrExist) {
		t.Errorf("making it twice: %v", err)
	}
	if _, err := h.OpenImage(ctx, path, ""); !errors.Is(err, backend.ErrNoStorage) {
		t.Errorf("it is there before it is whole: %v", err)
	}
	if err := os.WriteFile(n.Access().File, nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(changeFile(n.Access().File, func(f *os.File) error {
		_, err := f.WriteAt([]byte("hello"), 5*mib)
		return errors.Join(err, f.Truncate(3*gib))
	}), n.Commit(ctx), n.Close()); err != nil {
		t.Fatal(err)
	}
	if err := h.CreateImage(ctx, backend.ImageSpec{Path: shelf + "above.qcow2", Format: "qcow2", Backing: path}); err != nil {
		t.Fatal(err)
	}
	above := opened(t, h, shelf+"above.qcow2")
	if !maps.Equal(content(t, above.File), content(t, n.Access().File)) || above.Size != 3*gib {
		t.Error("an overlay does not show what is below it")
	}
	if err := h.DeleteImage(ctx, path); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("deleting a backing file: %v", err)
	}
	if err := h.RenameFile(ctx, shelf+"above.qcow2", path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("moving onto another image: %v", err)
	}
	if err := h.RenameFile(ctx, shelf+"above.qcow2", shelf+"moved.qcow2"); err != nil {
		t.Fatal(err)
	}
	if err := h.ResizeImage(ctx, path, 5*gib, false); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("growing a backing file: %v", err)
	}
	if err := h.DeleteImage(ctx, shelf+"moved.qcow2"); err != nil {
		t.Error(err)
	}
	if err := h.ResizeImage(ctx, path, 2*gib, false); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("shrinking unasked: %v", err)
	}
	if err := h.ResizeImage(ctx, path, 4*gib, false); err != nil || opened(t, h, path).Size != 4*gib {
		t.Errorf("growing: %v, %d", err, opened(t, h, path).Size)
	}
	if err := h.DeleteImage(ctx, path); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(n.Access().File); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its file stays: %v", err)
	}
	v := machine(t, f, "web")
	if err := v.host.DeleteImage(ctx, v.stored.disks[0].source); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("deleting an image in use: %v", err)
	}
}

func opened(t testing.TB, h *host, path string) backend.DiskAccess {
	t.Helper()
	img, err := h.OpenImage(t.Context(), path, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := img.Close(); err != nil {
		t.Fatal(err)
	}
	return img.Access()
}

func TestWhatCannotBeOpened(t *testing.T) {
	f, _ := ownFleet(t, whole)
	h := f.hosts[0]
	for path, want := range map[string]error{
		shelf + "vault.qcow2":           backend.ErrUnsupported,
		shelf + "crm-db-01.clone.qcow2": backend.ErrNoStorage,
		shelf + "base/debian11.qcow2":   backend.ErrNoStorage,
		"/nowhere":                      backend.ErrNoStorage,
	} {
		if _, err := h.OpenImage(t.Context(), path, "qcow2"); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

func TestHostFiles(t *testing.T) {
	f, _ := ownFleet(t, Options{Seed: 3, Calm: true})
	var v *vm
	for _, h := range f.hosts {
		for _, o := range h.vms {
			if o.stored.uefi {
				v = o
			}
		}
	}
	h, ctx, path := v.host, t.Context(), v.stored.nvramPath()
	first, err := h.ReadFile(ctx, path, mib)
	if err != nil || len(first) != nvramSize {
		t.Fatalf("%d bytes, %v", len(first), err)
	}
	if _, err := h.ReadFile(ctx, path, 10); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("reading more than the limit: %v", err)
	}
	if err := h.RenameFile(ctx, path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ReadFile(ctx, path, mib); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was moved away: %v", err)
	}
	if err := h.WriteFile(ctx, path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	list, err := h.ListFiles(ctx, filepath.Dir(path))
	if err != nil || !slices.Contains(list, filepath.Base(path)) || !slices.Contains(list, filepath.Base(path)+".old") {
		t.Errorf("%q, %v", list, err)
	}
	if err := h.RemoveFile(ctx, path); err != nil {
		t.Fatal(err)
	}
	if err := h.RemoveFile(ctx, path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removing it twice: %v", err)
	}
	if room, err := h.Room(ctx, "/var/lib/libvirt/scratch/x"); err != nil || room == 0 || room > 24*mib {
		t.Errorf("the room of a nearly full pool is %d, %v", room, err)
	}
}

func TestReadOnlyStorage(t *testing.T) {
	f, _ := ownFleet(t, Options{Seed: 3, Calm: true, ReadOnly: true})
	v := machine(t, f, "web")
	h, ctx, path := v.host, t.Context(), v.stored.disks[0].source
	_, make := h.MakeImage(ctx, shelf+"x", "raw", gib)
	_, begin := h.BeginBackup(ctx, backend.BackupRequest{VM: v.row.UUID})
	for i, err := range []error{make, begin, h.DeleteImage(ctx, path), h.ResizeImage(ctx, path, gib, true), h.CreateImage(ctx, backend.ImageSpec{}),
		h.PoolDo(ctx, "default", backend.PoolDestroy), h.DefinePool(ctx, backend.PoolSpec{}), h.WriteFile(ctx, path, nil),
		h.RenameFile(ctx, path, path), h.RemoveFile(ctx, path), h.CleanUp(ctx, backend.Leftover{}), h.AbortDomainJob(ctx, backend.DomainJob{})} {
		if !errors.Is(err, backend.ErrReadOnly) {
			t.Errorf("change %d: %v", i, err)
		}
	}
	if opened(t, h, path).Size == 0 {
		t.Error("reading is refused as well")
	}
	s, err := Keeper(h).(backend.Backuper).BeginBackup(ctx, backend.BackupRequest{VM: v.row.UUID, Name: v.row.Name})
	if err != nil {
		t.Fatalf("those who run the fleet cannot back up: %v", err)
	}
	if err := s.Abort(ctx); err != nil {
		t.Error(err)
	}
}

// A list, a hundred backups and what they are of take little room.
func TestFilesAreSmall(t *testing.T) {
	f, clock := ownFleet(t, Options{Seed: 1, Batch: 16})
	clock.Advance(90 * time.Second)
	var sum int64
	for _, h := range f.hosts {
		list, err := h.Images(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			if _, err := h.OpenImage(t.Context(), list[i].Path, ""); err != nil && !list[i].Encrypted && !list[i].Missing && len(list[i].Backing) == 0 {
				t.Error(err)
			}
		}
	}
	err := filepath.WalkDir(f.opts.Dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		sum += realSize(info)
		return err
	})
	if err != nil || sum > 200*mib || sum < 40*mib {
		t.Errorf("all images take %d MiB, %v", sum/mib, err)
	}
	t.Logf("%d MiB in %d images", sum/mib, f.stock.made)
}

func TestCloseRemovesFiles(t *testing.T) {
	dir := t.TempDir()
	f := New(Options{Seed: 1, Dir: dir, Clock: NewManualClock(aWednesday)})
	opened(t, f.hosts[0], f.hosts[0].vms[0].stored.disks[0].source)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, h := range f.Hosts() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
	if _, err := f.folder(); !errors.Is(err, backend.ErrClosed) {
		t.Errorf("a folder after the end: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := f.hosts[0].BackupDir(context.Background()); !errors.Is(err, backend.ErrClosed) {
		t.Errorf("a folder after the end: %v", err)
	}
}

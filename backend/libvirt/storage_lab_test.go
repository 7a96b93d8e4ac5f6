package libvirt_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/backendtest/lab"
)

// imageAt finds an image in the host's list, or nil.
func imageAt(t testing.TB, h backend.Host, path string) *backend.Image {
	t.Helper()
	list, err := h.(backend.Storage).Images(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(i backend.Image) bool { return i.Path == path })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// TestLabImageList: pools, chains, users, snapshots, orphans, missing ones.
func TestLabImageList(t *testing.T) {
	l := lab.Start(t, 1)
	const dir = "/var/lib/libvirt/images/"
	used := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "user", DiskMiB: 16}))
	host := func(cmd string) {
		t.Helper()
		if out, err := l.Host(1).Run(t.Context(), "bash", "-ec", cmd); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	host(`cd /var/lib/libvirt/images; qemu-img create -q -f qcow2 base.qcow2 64M; qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2
qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2; qemu-img snapshot -c before mid.qcow2; qemu-img snapshot -c 'after all' mid.qcow2
truncate -s 3M lonely.img; virsh -q pool-refresh default; mkdir /var/lib/libvirt/loose; qemu-img create -q -f qcow2 /var/lib/libvirt/loose/l.qcow2 7M`)
	define := func(name, file, format string) {
		t.Helper()
		host(fmt.Sprintf(`cat >/tmp/d.xml <<X
<domain type='qemu'><name>%s</name><memory>65536</memory><os><type>hvm</type></os><devices><disk type='file' device='disk'><driver name='qemu' type='%s'/><source file='%s'/><target dev='vda'/></disk></devices></domain>
X
virsh -q define /tmp/d.xml`, name, format, file))
	}
	define("lost", dir+"nowhere.qcow2", "qcow2")
	define("apart", "/var/lib/libvirt/loose/l.qcow2", "qcow2")
	for _, transport := range []string{"unix", "ssh"} {
		t.Run(transport, func(t *testing.T) {
			h := onHost(t, l.Host(1).URI(transport))
			pools, err := h.(backend.Storage).Pools(t.Context())
			if err != nil || len(pools) != 1 || pools[0].Name != "default" || !pools[0].Active || pools[0].Capacity == 0 || pools[0].Path+"/" != dir || pools[0].Volumes < 5 {
				t.Errorf("pools %+v, %v", pools, err)
			}
			if i := imageAt(t, h, dir+"user.qcow2"); i == nil || len(i.Users) != 1 || i.Users[0].VM != used || i.Users[0].Target != "vda" || !i.Users[0].Active || i.Orphan() || i.Virtual != 16<<20 || i.Real == 0 || i.Pool != "default" || i.Modified.IsZero() {
				t.Errorf("user.qcow2: %+v", i)
			}
			top, mid, base := imageAt(t, h, dir+"top.qcow2"), imageAt(t, h, dir+"mid.qcow2"), imageAt(t, h, dir+"base.qcow2")
			if top == nil || !slices.Equal(top.Backing, []string{dir + "mid.qcow2", dir + "base.qcow2"}) || !top.Orphan() {
				t.Errorf("top.qcow2: %+v", top)
			}
			if mid == nil || !slices.Equal(mid.BackedBy, []string{dir + "top.qcow2"}) || mid.Orphan() {
				t.Errorf("mid.qcow2: %+v", mid)
			}
			if transport == "unix" && !slices.Equal(mid.Snapshots, []string{"before", "after all"}) {
				t.Errorf("snapshots %q", mid.Snapshots)
			}
			if base == nil || !slices.Equal(base.BackedBy, []string{dir + "mid.qcow2"}) {
				t.Errorf("base.qcow2: %+v", base)
			}
			if i := imageAt(t, h, dir+"nowhere.qcow2"); i == nil || !i.Missing || len(i.Users) != 1 {
				t.Errorf("nowhere.qcow2: %+v", i)
			}
			if i := imageAt(t, h, "/var/lib/libvirt/loose/l.qcow2"); i == nil || i.Missing || i.Virtual != 7<<20 || i.Format != "qcow2" || i.Pool != "" {
				t.Errorf("l.qcow2: %+v", i)
			}
			if i := imageAt(t, h, dir+"lonely.img"); i == nil || i.Format != "raw" || !i.Orphan() || i.Virtual != 3<<20 {
				t.Errorf("lonely.img: %+v", i)
			}
			s := h.(backend.Storage)
			for _, path := range []string{dir + "user.qcow2", dir + "base.qcow2"} {
				if err := s.DeleteImage(t.Context(), path); !errors.Is(err, backend.ErrBusy) {
					t.Errorf("deleting %s: %v", path, err)
				}
			}
			if err := s.DeleteImage(t.Context(), dir+"nowhere.qcow2"); !errors.Is(err, backend.ErrNoStorage) {
				t.Errorf("deleting what is not there: %v", err)
			}
			if err := s.ResizeImage(t.Context(), dir+"mid.qcow2", 128<<20, false); !errors.Is(err, backend.ErrBusy) {
				t.Errorf("resizing a backing file: %v", err)
			}
		})
	}
	h := onHost(t, l.Host(1).URI("unix"))
	if err := h.(backend.Storage).ResizeImage(t.Context(), dir+"user.qcow2", 32<<20, false); err != nil {
		t.Errorf("resizing the disk of a running VM: %v", err)
	}
	if i := imageAt(t, h, dir+"user.qcow2"); i.Virtual != 32<<20 {
		t.Errorf("it has %d bytes", i.Virtual)
	}
}

// TestLabImagesBehindLinks: an image that definitions name by way of symbolic
// links is known to be used, whichever name it is to be deleted by.
func TestLabImagesBehindLinks(t *testing.T) {
	l := lab.Start(t, 1)
	host1(t, l, `cd /var/lib/libvirt; mkdir -p pool elsewhere; ln -s /var/lib/libvirt/pool link; virsh -q pool-create-as behind dir --target /var/lib/libvirt/link
cd pool; for n in one two base; do qemu-img create -q -f qcow2 $n.qcow2 1M; done; ln -s /var/lib/libvirt/pool/two.qcow2 ../elsewhere/two.qcow2
qemu-img create -q -f qcow2 -b /var/lib/libvirt/pool/base.qcow2 -F qcow2 ../elsewhere/top.qcow2; virsh -q pool-refresh behind`)
	for name, file := range map[string]string{"one": "pool/one.qcow2", "two": "elsewhere/two.qcow2", "top": "elsewhere/top.qcow2"} {
		text := fmt.Sprintf("<domain type='qemu'><name>%s</name><memory>65536</memory><os><type>hvm</type></os><devices>%s</devices></domain>",
			name, fmt.Sprintf(fileDisk, "qcow2", "/var/lib/libvirt/"+file, ""))
		defineText(t, l, name, text)
	}
	for _, transport := range []string{"unix", "ssh"} {
		h := onHost(t, l.Host(1).URI(transport))
		for _, path := range []string{"link/one.qcow2", "pool/one.qcow2", "link/two.qcow2", "pool/two.qcow2", "elsewhere/two.qcow2", "link/base.qcow2", "pool/base.qcow2"} {
			if err := h.(backend.Storage).DeleteImage(t.Context(), "/var/lib/libvirt/"+path); !errors.Is(err, backend.ErrBusy) {
				t.Errorf("deleting %s over %s: %v", path, transport, err)
			}
		}
	}
}

// TestLabThousandImages: a list of a thousand volumes is there in a second.
func TestLabThousandImages(t *testing.T) {
	l := lab.Start(t, 1)
	if _, err := l.Host(1).Run(t.Context(), "bash", "-ec", `mkdir -p /var/lib/libvirt/many; cd /var/lib/libvirt/many
qemu-img create -q -f qcow2 1.qcow2 1G; for i in $(seq 2 1000); do cp 1.qcow2 $i.qcow2; done; virsh -q pool-create-as many dir --target "$PWD"`); err != nil {
		t.Fatal(err)
	}
	for _, transport := range []string{"unix", "ssh"} {
		h := onHost(t, l.Host(1).URI(transport))
		list, err := h.(backend.Storage).Images(t.Context())
		from := time.Now()
		if err == nil {
			list, err = h.(backend.Storage).Images(t.Context())
		}
		if err != nil || len(list) != 1000 {
			t.Fatalf("%d images, %v", len(list), err)
		}
		t.Logf("1000 images over %s: %v", transport, time.Since(from))
	}
}

// TestLabHostFilesAndStreams over every way there is.
func TestLabHostFilesAndStreams(t *testing.T) {
	l := lab.Start(t, 1)
	l.Define(1, lab.Guest{Name: "pool-maker", DiskMiB: 1})
	for _, transport := range []string{"unix", "ssh"} {
		t.Run(transport, func(t *testing.T) {
			h := onHost(t, l.Host(1).URI(transport))
			f := h.(backend.HostFiles)
			at := "/var/lib/libvirt/images/file-" + transport
			if err := f.WriteFile(t.Context(), at, []byte("one")); err != nil {
				t.Fatal(err)
			}
			if err := f.WriteFile(t.Context(), at, []byte("two two")); err != nil {
				t.Fatal(err)
			}
			if b, err := f.ReadFile(t.Context(), at, 7); string(b) != "two two" || err != nil {
				t.Errorf("read %q, %v", b, err)
			}
			if _, err := f.ReadFile(t.Context(), at, 6); !errors.Is(err, backend.ErrInvalid) {
				t.Errorf("reading more than the limit: %v", err)
			}
			if _, err := f.ReadFile(t.Context(), at+".not", 6); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("reading what is not there: %v", err)
			}
			if st, err := os.Stat(l.Host(1).Dir + "/lib/images/file-" + transport); err != nil || st.Mode() != 0o600 {
				t.Errorf("its mode is %v, %v", st.Mode(), err)
			}
			if err := f.WriteFile(t.Context(), at+".2", nil); err != nil {
				t.Fatal(err)
			}
			if err := f.RenameFile(t.Context(), at, at+".2"); !errors.Is(err, fs.ErrExist) {
				t.Errorf("renaming over another: %v", err)
			}
			if err := f.RenameFile(t.Context(), at, at+".3"); err != nil {
				t.Errorf("renaming: %v", err)
			}
			names, err := f.ListFiles(t.Context(), "/var/lib/libvirt")
			if err != nil || !slices.Contains(names, "images/file-"+transport+".3") || slices.Contains(names, "images/file-"+transport) {
				t.Errorf("files %q, %v", names, err)
			}
			for _, n := range []string{".2", ".3"} {
				if err := f.RemoveFile(t.Context(), at+n); err != nil {
					t.Error(err)
				}
			}
			if err := f.RemoveFile(t.Context(), at); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("removing what is not there: %v", err)
			}
			if free, err := f.Room(t.Context(), "/var/lib/libvirt/not/there/yet"); err != nil || free == 0 {
				t.Errorf("room %d, %v", free, err)
			}
		})
	}
	for _, transport := range []string{"unix", "tcp"} {
		t.Run("stream over "+transport, func(t *testing.T) {
			h := onHost(t, l.Host(1).URI(transport))
			s := h.(backend.VolumeStreamer)
			want := bytes.Repeat([]byte("0123456789abcdef"), 300_000)
			if err := s.Upload(t.Context(), "default", "up-"+transport, "raw", bytes.NewReader(want), int64(len(want))); err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := s.Download(t.Context(), "default", "up-"+transport, &got); err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%d of %d bytes came back, %v", got.Len(), len(want), err)
			}
			sparse := make([]byte, 40<<20+5000)
			copy(sparse[8<<20+100:], want[:1<<20])
			copy(sparse[20<<20:], want)
			if err := s.Upload(t.Context(), "default", "sparse-"+transport, "raw", bytes.NewReader(sparse), int64(len(sparse))); err != nil {
				t.Fatal(err)
			}
			got.Reset()
			if err := s.Download(t.Context(), "default", "sparse-"+transport, &got); err != nil || !bytes.Equal(got.Bytes(), sparse) {
				t.Errorf("of the one with holes %d of %d bytes came back, %v", got.Len(), len(sparse), err)
			}
			var st syscall.Stat_t
			if err := syscall.Stat(l.Host(1).Dir+"/lib/images/sparse-"+transport, &st); err != nil || st.Blocks*512 > 8<<20 || st.Size != int64(len(sparse)) {
				t.Errorf("its holes were filled: %d of %d bytes, %v", st.Blocks*512, st.Size, err)
			}
			if err := s.Upload(t.Context(), "default", "short-"+transport, "raw", bytes.NewReader(want[:1000]), int64(len(want))); err == nil {
				t.Error("what is too short was taken")
			}
			if err := s.Download(t.Context(), "default", "short-"+transport, &got); !errors.Is(err, backend.ErrNoStorage) {
				t.Errorf("what was too short is there: %v", err)
			}
			if err := s.Download(t.Context(), "default", "up-"+transport, failing{}); !errors.Is(err, errFull) {
				t.Errorf("a writer that fails: %v", err)
			}
		})
	}
}

// TestLabVolumeNames: an upload has its name only when it is whole; what a killed
// one left is known to be left over, and goes with the next one of that name.
func TestLabVolumeNames(t *testing.T) {
	l := lab.Start(t, 1)
	images := l.Host(1).Dir + "/lib/images/"
	l.Virsh(1, "pool-create-as", "default", "dir", "--target", "/var/lib/libvirt/images")
	old := func(name string) { host1(t, l, "touch -d '2 hours ago' /var/lib/libvirt/images/"+name) }
	if _, err := onHost(t, l.Host(1).URI("tcp")).(backend.VolumeNamer).DraftVolume(t.Context(), "default", "v"); !errors.Is(err, backend.ErrUnsupported) {
		t.Errorf("where berth sees no files: %v", err)
	}
	for _, transport := range []string{"unix", "ssh"} {
		t.Run(transport, func(t *testing.T) {
			h := onHost(t, l.Host(1).URI(transport))
			n, s := h.(backend.VolumeNamer), h.(backend.VolumeStreamer)
			name := "vol-" + transport
			upload := func() string {
				t.Helper()
				draft, err := n.DraftVolume(t.Context(), "default", name)
				if err == nil {
					err = s.Upload(t.Context(), "default", draft, "raw", strings.NewReader("content"), 7)
				}
				if err != nil {
					t.Fatal(err)
				}
				return draft
			}
			killed := upload()
			if left, err := backuper(t, h).Leftovers(t.Context(), nil); err != nil || len(left) > 0 {
				t.Errorf("of one that may be under way: %+v, %v", left, err)
			}
			old(killed)
			if left, err := backuper(t, h).Leftovers(t.Context(), nil); err != nil || len(left) != 1 || left[0].What != "/var/lib/libvirt/images/"+killed || left[0].Size == 0 {
				t.Errorf("left over: %+v, %v", left, err)
			}
			draft := upload()
			if _, err := os.Stat(images + killed); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the killed one is there still: %v", err)
			}
			if i := imageAt(t, h, "/var/lib/libvirt/images/"+name); i != nil {
				t.Errorf("it has its name before it is whole: %+v", i)
			}
			if err := n.NameVolume(t.Context(), "default", draft, name); err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := s.Download(t.Context(), "default", name, &got); err != nil || got.String() != "content" {
				t.Errorf("it holds %q, %v", got.String(), err)
			}
			if _, err := n.DraftVolume(t.Context(), "default", name); !errors.Is(err, fs.ErrExist) {
				t.Errorf("one that is there: %v", err)
			}
			host1(t, l, "cp /var/lib/libvirt/images/"+name+" /var/lib/libvirt/images/"+killed)
			if err := n.NameVolume(t.Context(), "default", killed, name); !errors.Is(err, fs.ErrExist) {
				t.Errorf("over one that is there: %v", err)
			}
			old(killed)
			left, err := backuper(t, h).Leftovers(t.Context(), nil)
			if err != nil || len(left) != 1 {
				t.Fatalf("left over: %+v, %v", left, err)
			}
			if err := backuper(t, h).CleanUp(t.Context(), left[0]); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(images + killed); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it was not cleaned up: %v", err)
			}
		})
	}
}

var errFull = errors.New("the writer is full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

// TestLabDomainJobs: jobs that others began are seen and can be ended, and a
// stuck QEMU holds nothing up.
func TestLabDomainJobs(t *testing.T) {
	l := lab.Start(t, 1)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "busy", DiskMiB: 64}))
	l.StartGuest(1, lab.Guest{Name: "idle"})
	h := onHost(t, l.Host(1).URI("unix"))
	w := h.(backend.JobWatcher)
	jobs := func() []backend.DomainJob {
		t.Helper()
		j, err := w.DomainJobs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	if j := jobs(); len(j) > 0 {
		t.Errorf("jobs of nobody: %+v", j)
	}
	s := begin(t, h, backend.BackupRequest{VM: id})
	if j := jobs(); len(j) != 1 || j[0].Kind != "backup" || !j[0].Mine || j[0].VM != id || j[0].Since.IsZero() || j[0].Total != 0 {
		t.Errorf("jobs during a backup: %+v", j)
	}
	if err := s.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Virsh(1, "blockcopy", "busy", "vda", "--dest", "/var/lib/libvirt/images/copy.qcow2", "--transient-job")
	l.Await("the copy's end", 20*time.Second, func() bool { j := jobs(); return len(j) == 1 && j[0].Ready })
	j := jobs()
	if j[0].Kind != "block-copy" || j[0].Disk != "vda" || j[0].Mine || j[0].Total == 0 || j[0].Done != j[0].Total {
		t.Errorf("jobs during a copy: %+v", j)
	}
	if _, err := backuper(t, h).BeginBackup(t.Context(), backend.BackupRequest{VM: id}); !errors.Is(err, backend.ErrBusy) || !strings.Contains(err.Error(), "copy") {
		t.Errorf("a backup during a copy: %v", err)
	}
	if err := w.AbortDomainJob(t.Context(), j[0]); err != nil {
		t.Error(err)
	}
	l.Await("the end of it", 10*time.Second, func() bool { return len(jobs()) == 0 })
	if err := w.AbortDomainJob(t.Context(), backend.DomainJob{VM: id, Kind: "backup"}); !errors.Is(err, backend.ErrState) {
		t.Errorf("ending what is not there: %v", err)
	}
	l.StopQEMU(1, "idle")
	defer l.ContQEMU(1, "idle")
	go h.Detail(t.Context(), uuidOf(t, strings.TrimSpace(l.Virsh(1, "domuuid", "idle")))) //nolint:errcheck // it hangs
	begin(t, h, backend.BackupRequest{VM: id})
	from := time.Now()
	if j := jobs(); len(j) != 1 || time.Since(from) > 10*time.Second {
		t.Errorf("with a stuck QEMU: %+v after %v", j, time.Since(from))
	}
}

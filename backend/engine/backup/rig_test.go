package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/image/place"
	"berth/backend/image/repo"
	"berth/backend/store"
)

// rig is a manager over a fake host and a real repository.
type rig struct {
	testing.TB
	dir   string
	host  *fakeHost
	fleet []backend.Host // at hand of the client
	store *store.Store
	opt   Options
	c     *Client
	stop  func() // the manager that runs
}

const patience = 30 * time.Second

// optionsFor are those of a rig in a folder, for this process or another one.
func optionsFor(dir string, s *store.Store, h *fakeHost) Options {
	return Options{
		Store: s, Connect: func(string, string) (backend.Host, error) { return h, nil }, Hosts: map[string]string{"hv1": h.URI()},
		OpenPlace: func(_ context.Context, url string) (place.Place, error) { return place.OpenLocal(url, false) },
		Waits:     []time.Duration{time.Millisecond, time.Millisecond}, Brief: []time.Duration{time.Millisecond, time.Millisecond},
	}
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{TB: t, dir: t.TempDir(), stop: func() {}}
	var err error
	if r.host, err = newFakeHost(filepath.Join(r.dir, "host")); err != nil {
		t.Fatal(err)
	}
	if r.store, err = store.Open(t.Context(), filepath.Join(r.dir, "berth.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.stop()
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	r.fleet = []backend.Host{r.host}
	r.initRepo("repo")
	r.opt = optionsFor(r.dir, r.store, r.host)
	r.c = NewClient(ClientOptions{Options: r.opt, Who: "ann", Fleet: func() []backend.Host { return r.fleet }})
	return r
}

func (r *rig) url() string { return filepath.Join(r.dir, "repo") }

func (r *rig) initRepo(name string) {
	r.Helper()
	p, err := place.OpenLocal(filepath.Join(r.dir, name), true)
	if err != nil {
		r.Fatal(err)
	}
	v, err := repo.Init(r.Context(), p, repo.InitOptions{PackSize: repo.MinPackSize})
	if err != nil {
		r.Fatal(err)
	}
	if err := errors.Join(v.Close(), p.Close()); err != nil {
		r.Fatal(err)
	}
}

// start starts a manager; the last one is stopped.
func (r *rig) start() {
	r.Helper()
	r.stop()
	m, err := New(r.opt)
	if err != nil {
		r.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- m.Run(ctx, 0) }()
	r.stop = func() {
		end()
		if err := <-over; err != nil && !errors.Is(err, errDies) {
			r.Error(err)
		}
		r.stop = func() {}
	}
}

func content(seed uint64, size int) []byte {
	b := make([]byte, size)
	rng := rand.New(rand.NewPCG(seed, 1))
	for at := 0; at < size; at += 4096 { // half of it zeroes
		if at/(256<<10)%2 == 0 {
			for i := at; i < min(at+4096, size); i++ {
				b[i] = byte(rng.Uint32())
			}
		}
	}
	return b
}

// vm adds a VM with two disks.
func (r *rig) vm(name string, running bool) {
	r.Helper()
	if err := r.host.add(name, running, map[string][]byte{"vda": content(1, 8<<20), "vdb": content(2, 3<<20+512)}); err != nil {
		r.Fatal(err)
	}
}

// image is the content of a VM's disk.
func (r *rig) image(name, target string) (b []byte) {
	r.Helper()
	r.known(func(s *fakeState) {
		if s.VMs[name] == nil {
			r.Fatalf("there is no VM %s", name)
		}
		var err error
		if b, err = os.ReadFile(s.VMs[name].Disks[target]); err != nil {
			r.Fatal(err)
		}
	})
	return b
}

// change writes into a VM's disk.
func (r *rig) change(name, target string, at int64, b []byte) {
	r.Helper()
	r.known(func(s *fakeState) {
		f, err := os.OpenFile(s.VMs[name].Disks[target], os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteAt(b, at)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			r.Fatal(err)
		}
	})
}

// known looks at what the host knows, and may change it.
func (r *rig) known(f func(s *fakeState)) {
	r.Helper()
	hook := r.host.hook
	r.host.hook = nil
	if err := r.host.with("", func(s *fakeState) error { f(s); return nil }); err != nil {
		r.Fatal(err)
	}
	r.host.hook = hook
}

func (r *rig) order(s backend.TransferSpec) backend.TransferID {
	r.Helper()
	s.Repo.URL = r.url()
	if s.VM.Host == "" {
		s.VM.Host = "hv1"
	}
	ids, err := r.c.Start(r.Context(), []backend.TransferSpec{s})
	if err != nil {
		r.Fatal(err)
	}
	return ids[0]
}

func (r *rig) backup(name string, more ...func(*backend.TransferSpec)) backend.TransferID {
	r.Helper()
	s := backend.TransferSpec{Kind: backend.TransferBackup, Name: name, VM: backend.Key{Host: "hv1", UUID: uuidOf(name)}}
	for _, f := range more {
		f(&s)
	}
	return r.order(s)
}

func (r *rig) transfer(id backend.TransferID) (x backend.Transfer) {
	r.Helper()
	if err := r.store.View(r.Context(), func(tx *store.Tx) (err error) { x, err = tx.Transfer(id); return err }); err != nil {
		r.Fatal(err)
	}
	return x
}

// until waits for something that the store tells.
func (r *rig) until(what string, is func(s *backend.BackupsState) bool) backend.BackupsState {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	for {
		s, err := r.c.State(ctx)
		if err != nil {
			r.Fatal(err)
		}
		if is(&s) {
			return s
		}
		if err := r.c.Wait(ctx, s.Revision); err != nil {
			r.Fatalf("%s does not come: %v\n%s", what, err, told(&s))
		}
	}
}

func told(s *backend.BackupsState) string {
	var b strings.Builder
	for _, x := range s.Transfers {
		fmt.Fprintf(&b, "%d %s %s %s attempts %d phase %s %d/%d: %s\n", x.ID, x.Spec.Kind, x.Spec.Name, x.State, x.Attempts, x.Progress.Phase, x.Progress.Done, x.Progress.Total, x.Words)
	}
	return b.String()
}

// ends waits for a transfer's end.
func (r *rig) ends(id backend.TransferID, want backend.TransferState) (x backend.Transfer) {
	r.Helper()
	s := r.until(fmt.Sprintf("the end of transfer %d", id), func(s *backend.BackupsState) bool {
		i := slices.IndexFunc(s.Transfers, func(x backend.Transfer) bool { return x.ID == id })
		if i >= 0 {
			x = s.Transfers[i]
		}
		return x.State.Ended()
	})
	if x.State != want {
		r.Fatalf("transfer %d is %s (%s), want %s\n%s", id, x.State, x.Words, want, told(&s))
	}
	return x
}

// manifests are what the repository holds, newest first.
func (r *rig) manifests() []repo.Manifest {
	r.Helper()
	var list []repo.Manifest
	r.vault(func(v vault) {
		var err error
		if list, err = v.Points(r.Context()); err != nil {
			r.Fatal(err)
		}
	})
	return list
}

func (r *rig) vault(f func(v vault)) {
	r.Helper()
	v, err := r.opt.openRepoForTest(r.Context(), r.url())
	if err != nil {
		r.Fatal(err)
	}
	f(v)
	if err := v.Close(); err != nil {
		r.Error(err)
	}
}

func (o Options) openRepoForTest(ctx context.Context, url string) (*opened, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	o.open = openVault
	return o.openRepo(ctx, backend.RepoRef{URL: url})
}

// clean checks that nothing of berth's is left on the host but what committed
// backups need.
func (r *rig) clean() {
	r.Helper()
	r.known(func(s *fakeState) {
		if len(s.Sessions) > 0 {
			r.Errorf("sessions are left: %v", s.Sessions)
		}
		good := map[string]bool{}
		for _, vm := range s.VMs {
			if len(vm.Begun) > 0 {
				r.Errorf("%s has half a checkpoint: %v", vm.Name, vm.Begun)
			}
			for _, c := range vm.Checkpoints {
				good[c] = true
			}
		}
		files, err := filepath.Glob(filepath.Join(r.host.dir, "scratch", "*"))
		if err != nil {
			r.Fatal(err)
		}
		for _, f := range files {
			name := filepath.Base(f)
			if i := strings.LastIndex(name, "-"); !good[name[:i]] {
				r.Errorf("%s is left", name)
			}
		}
		drafts, err := filepath.Glob(filepath.Join(r.host.dir, "images", ".draft-*"))
		if err != nil || len(drafts) > 0 {
			r.Errorf("left: %v %v", drafts, err)
		}
	})
}

// same checks that a point's disk is what it should be.
func (r *rig) same(m repo.Manifest, target string, want []byte) {
	r.Helper()
	r.vault(func(v vault) {
		d, err := v.(*opened).vault.(real).OpenDisk(r.Context(), &m, target)
		if err != nil {
			r.Fatal(err)
		}
		got := make([]byte, d.Size())
		if err := d.ReadAt(r.Context(), got, 0); err != nil {
			r.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			r.Errorf("%s of point %s is not what it was", target, m.ID)
		}
		if err := d.Close(); err != nil {
			r.Error(err)
		}
	})
}

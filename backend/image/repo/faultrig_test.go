package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"berth/backend"
	"berth/backend/image/place"
	"berth/backend/image/place/placetest"
)

// many is how often something random is tried: in full, or with -short.
func many(full, short int) int {
	if testing.Short() {
		return short
	}
	return full
}

// seeded is a source of chance whose seed the log tells; BERTH_SEED sets it.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("BERTH_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d: BERTH_SEED=%d repeats it", seed, seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// scene is a repository in memory, and what its points should hold.
type scene struct {
	mem    *placetest.Memory
	secret Secret
	ahead  *atomic.Int64 // of the place's clock, in nanoseconds
	points []madePoint
}

// madePoint is a point and what it should hold.
type madePoint struct {
	m     Manifest
	disks map[string][]byte
}

var anIdentity = func() *age.X25519Identity {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		panic(err)
	}
	return id
}()

// newScene makes a repository with three points of two VMs, of small disks.
func newScene(t *testing.T, encrypted bool) *scene {
	t.Helper()
	s := &scene{mem: placetest.NewMemory(), ahead: new(atomic.Int64)}
	ahead := s.ahead
	s.mem.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	o := InitOptions{}
	if encrypted {
		o.Recipients = []age.Recipient{anIdentity.Recipient()}
		s.secret = Secret{Identities: []age.Identity{anIdentity}}
	}
	r, err := Init(t.Context(), s.mem, o)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, r)
	s.must(t, s.add(t.Context(), s.mem, firstPoint()))
	s.must(t, s.add(t.Context(), s.mem, secondPoint(s.points[0])))
	s.must(t, s.add(t.Context(), s.mem, otherPoint()))
	return s
}

func (s *scene) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// plan is a backup to be made.
type plan struct {
	vm    byte
	at    time.Time
	disks map[string]*mem
	base  *Manifest
}

var started = time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)

// firstPoint has a disk of three chunks, of which one is a hole, and a small one.
func firstPoint() plan {
	a := newMem(2<<20 + 5000)
	a.random(1, 0, 3000)
	a.text("berth ", 2<<20, 5000)
	b := newMem(12 << 10)
	b.random(2, 0, 12<<10)
	return plan{vm: 1, at: started, disks: map[string]*mem{"vda": a, "vdb": b}}
}

// secondPoint changes a part of the first.
func secondPoint(first madePoint) plan {
	a := &mem{data: bytes.Clone(first.disks["vda"]), grain: 4096, dirty: map[int64]bool{}}
	a.random(3, int64(len(a.data))-900, 800)
	b := &mem{data: bytes.Clone(first.disks["vdb"]), grain: 4096, dirty: map[int64]bool{}}
	return plan{vm: 1, at: started.Add(time.Hour), disks: map[string]*mem{"vda": a, "vdb": b}, base: &first.m}
}

// otherPoint shares a disk with the first.
func otherPoint() plan {
	b := newMem(12 << 10)
	b.random(2, 0, 12<<10)
	c := newMem(9000)
	c.random(4, 0, 9000)
	return plan{vm: 2, at: started.Add(2 * time.Hour), disks: map[string]*mem{"vda": c, "vdb": b}}
}

// add makes a point in a place that is, or wraps, the scene's.
func (s *scene) add(ctx context.Context, p place.Place, plan plan) error {
	made, err := makePoint(ctx, p, s.secret, plan)
	if err == nil {
		s.points = append(s.points, made)
	}
	return err
}

func makePoint(ctx context.Context, p place.Place, secret Secret, plan plan) (made madePoint, err error) {
	r, err := Open(ctx, p, secret, Options{})
	if err != nil {
		return made, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	w, err := r.Begin(ctx, WriteOptions{Job: fmt.Sprintf("vm %d %v", plan.vm, plan.at), Base: plan.base})
	if err != nil {
		return made, err
	}
	defer func() {
		if fault := w.Close(); err == nil && made.m.ID == "" {
			err = fault
		}
	}()
	made.disks = map[string][]byte{}
	for _, target := range []string{"vda", "vdb"} {
		src := plan.disks[target]
		made.disks[target] = src.data
		if _, err := w.AddDisk(ctx, Disk{Target: target, Format: "raw"}, src, plan.base != nil); err != nil {
			return made, err
		}
	}
	if err := w.AddFile(ctx, "xml", "", fmt.Appendf(nil, "<domain>%d</domain>", plan.vm)); err != nil {
		return made, err
	}
	made.m, err = w.Commit(ctx, Manifest{VM: backend.UUID{plan.vm}, Name: fmt.Sprintf("vm%d", plan.vm), At: plan.at})
	return made, err
}

// open opens the repository in a place that is a copy of the scene's.
func (s *scene) open(t *testing.T, p place.Place) *Repo {
	t.Helper()
	r, err := Open(t.Context(), p, s.secret, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// errWrong is what must never be: a restore that says nothing and is wrong.
var errWrong = errors.New("restored wrongly without a word")

// restore restores a disk and compares it.
func (p *madePoint) restore(ctx context.Context, r *Repo, target string) error {
	m, err := r.Point(ctx, p.m.ID)
	if err != nil {
		return err
	}
	dst := newMem(int64(len(p.disks[target])))
	if err := r.Restore(ctx, &m, target, dst, RestoreOptions{}); err != nil {
		return err
	}
	if !bytes.Equal(dst.data, p.disks[target]) {
		return errWrong
	}
	return nil
}

// whole fails unless all points are there, restore right, and nothing is
// damaged but what can be made anew.
func (s *scene) whole(t *testing.T, p place.Place, points []madePoint) {
	t.Helper()
	r := s.open(t, p)
	defer closed(t, r)
	for i := range points {
		for target := range points[i].disks {
			if err := points[i].restore(t.Context(), r, target); err != nil {
				t.Fatalf("point %d (%s) %s: %v", i, points[i].m.ID, target, err)
			}
		}
	}
	rep, err := r.Verify(t.Context(), VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range rep.Damages {
		if !d.Rebuild {
			t.Fatalf("damaged: %v", d)
		}
	}
	if len(rep.Verified) < len(points) {
		t.Fatalf("verified %d points of %d", len(rep.Verified), len(points))
	}
}

package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"berth/backend"
	"berth/backend/image/place"
)

// The disk is full at every step of a backup: it says so, what was there is
// whole and restores, and once there is room it goes on.
func TestFullDiskAtEveryStep(t *testing.T) {
	base := newScene(t, false)
	trial := base.mem.Clone()
	if _, err := makePoint(t.Context(), trial, base.secret, thirdPoint()); err != nil {
		t.Fatal(err)
	}
	needs := trial.Used() - base.mem.Used()
	failed := 0
	for room := int64(0); room <= needs+needs/2; room += max(needs/int64(many(40, 8)), 1) {
		m := base.mem.Clone()
		m.SetRoom(m.Used() + room)
		_, err := makePoint(t.Context(), m, base.secret, thirdPoint())
		if err != nil {
			failed++
			if !errors.Is(err, backend.ErrNoRoom) {
				t.Fatalf("%d bytes of room: %v", room, err)
			}
		}
		base.whole(t, m, base.points) // with the disk as full as it is
		m.SetRoom(0)
		made, err := makePoint(t.Context(), m, base.secret, thirdPoint())
		if err != nil {
			t.Fatalf("%d bytes of room, then enough: %v", room, err)
		}
		base.whole(t, m, append(base.points[:len(base.points):len(base.points)], made))
	}
	if failed == 0 {
		t.Error("the disk was never full")
	}
}

// Pruning makes room on a disk that has none.
func TestPruneOnAFullDisk(t *testing.T) {
	s := newScene(t, false)
	r := s.open(t, s.mem)
	defer closed(t, r)
	if err := r.Forget(t.Context(), s.points[2].m.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Prune(t.Context(), PruneOptions{}); err != nil { // frees the chunks of vm2, and leaves one index
		t.Fatal(err)
	}
	before := s.mem.Used()
	s.must(t, s.add(t.Context(), s.mem, thirdPoint()))
	if err := r.Forget(t.Context(), s.points[3].m.ID); err != nil {
		t.Fatal(err)
	}
	s.mem.SetRoom(s.mem.Used() + 64<<10) // enough for an index
	rep, err := r.Prune(t.Context(), PruneOptions{Waste: 100})
	if err != nil || rep.Freed == 0 {
		t.Fatalf("freed %d bytes: %v", rep.Freed, err)
	}
	if s.mem.Used() > before+4096 {
		t.Errorf("%d bytes are used, before it were %d", s.mem.Used(), before)
	}
	s.whole(t, s.mem, s.points[:2])
}

// server runs an SFTP server in this process.
func server(context.Context) (io.ReadWriteCloser, error) {
	toServer, fromClient := io.Pipe()
	toClient, fromServer := io.Pipe()
	s, err := sftp.NewServer(duplex{toServer, fromServer, fromServer.Close})
	if err != nil {
		return nil, err
	}
	go func() {
		_ = s.Serve()
		_ = fromServer.Close()
	}()
	return duplex{toClient, fromClient, func() error { return errors.Join(fromClient.Close(), toClient.Close()) }}, nil
}

type duplex struct {
	io.Reader
	io.Writer
	close func() error
}

func (d duplex) Close() error { return d.close() }

// dropping is a connection that is lost after so many bytes were sent.
type dropping struct {
	io.ReadWriteCloser
	left atomic.Int64
}

func (d *dropping) Write(p []byte) (int, error) {
	if d.left.Add(-int64(len(p))) < 0 {
		return 0, errors.Join(io.ErrClosedPipe, d.Close())
	}
	return d.ReadWriteCloser.Write(p)
}

// Connections are lost at random moments, and not always to be had again: what
// was committed is whole, and the backup goes on.
func TestLostConnections(t *testing.T) {
	dir := quickDir(t)
	rng := seeded(t)
	var mu sync.Mutex
	dials, patience := 0, 0
	dial := func(ctx context.Context) (io.ReadWriteCloser, error) {
		mu.Lock()
		defer mu.Unlock()
		if dials++; dials > patience {
			return nil, errors.New("no route to host")
		}
		s, err := server(ctx)
		if err != nil {
			return nil, err
		}
		d := &dropping{ReadWriteCloser: s}
		d.left.Store(rng.Int64N(60 << 10))
		return d, nil
	}
	local, err := place.OpenLocal(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, initRepo(t, local, InitOptions{}))
	s := &scene{}
	lost := 0
	for n := range many(30, 6) {
		plan := killPlan("sftp", n)
		for try := 0; ; try++ {
			mu.Lock()
			dials, patience = 0, 1+try*try
			mu.Unlock()
			p, err := place.OpenSFTP(t.Context(), place.SFTP{Dial: dial, Dir: dir, URL: "sftp://test", Attempts: 3, Wait: time.Microsecond})
			if err == nil {
				var made madePoint
				made, err = makePoint(t.Context(), p, Secret{}, plan)
				if _, there := local.Stat(t.Context(), pointName(made.m.ID)); made.m.ID != "" && there == nil {
					err = nil // only what comes after it has failed
				}
				if err == nil {
					s.points = append(s.points, made)
				}
				closed(t, p)
			}
			if err == nil {
				break
			}
			lost++
			if !errors.Is(err, backend.ErrUnreachable) {
				t.Fatalf("backup %d, try %d: %v", n, try, err)
			}
			if try > 50 {
				t.Fatalf("backup %d comes to no end: %v", n, err)
			}
		}
	}
	t.Logf("%d backups, broken off %d times", len(s.points), lost)
	if lost == 0 {
		t.Error("no connection was lost for good")
	}
	s.whole(t, local, s.points)
}

// Two writers and one who prunes work at the same time, each on its own.
func TestTwoWritersAndAPrune(t *testing.T) {
	s := newScene(t, true)
	var mu sync.Mutex
	var made []madePoint
	var writers, pruner sync.WaitGroup
	done := make(chan struct{})
	for w := range 2 {
		writers.Go(func() {
			for n := 0; n < many(15, 4); {
				p, err := makePoint(t.Context(), s.mem, s.secret, killPlan(fmt.Sprint("both", w), n))
				if errors.Is(err, backend.ErrBusy) { // pruning: again
					continue
				}
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				n++
				mu.Lock()
				made = append(made, p)
				mu.Unlock()
			}
		})
	}
	pruned := 0
	pruner.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			err := withRepo(t.Context(), s, s.mem, func(r *Repo) error {
				_, err := r.Prune(t.Context(), PruneOptions{Waste: 1})
				return err
			})
			switch {
			case err == nil:
				pruned++
			case !errors.Is(err, backend.ErrBusy):
				t.Errorf("prune: %v", err)
				return
			}
		}
	})
	writers.Wait()
	close(done)
	pruner.Wait()
	t.Logf("%d points, %d prunes", len(made), pruned)
	s.whole(t, s.mem, append(s.points, made...))
}

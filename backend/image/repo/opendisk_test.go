package repo

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/backend/image/place"
	"berth/backend/image/place/placetest"
)

// Several goroutines read an open disk at once: two chunks are on their way at
// the same time, and what comes is right.
func TestAnOpenDiskIsReadByManyAtOnce(t *testing.T) {
	mem := placetest.NewMemory()
	src := newMem(8*ChunkSize + 5000)
	src.random(1, 0, src.Size())
	r := initRepo(t, mem, InitOptions{})
	m := backUp(t, r, src, WriteOptions{})

	alone, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := &meeting{Place: mem, at: make(chan struct{}), alone: alone}
	again, err := Open(t.Context(), p, Secret{}, Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, again)
	d, err := again.OpenDisk(t.Context(), &m, "vda")
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, d)
	if _, err := d.Extents(t.Context(), 0, src.Size()); err != nil { // the map has been read
		t.Fatal(err)
	}
	p.meet.Store(true)
	var all sync.WaitGroup
	for n := range int64(8) {
		all.Go(func() {
			got := make([]byte, ChunkSize)
			if err := d.ReadAt(t.Context(), got, n*ChunkSize); err != nil || !bytes.Equal(got, src.data[n*ChunkSize:][:ChunkSize]) {
				t.Errorf("chunk %d: %v", n, err)
			}
		})
	}
	all.Wait()
	p.meet.Store(false)
	for n := range int64(200) {
		all.Go(func() {
			at := n * 40_009 % (src.Size() - 100)
			got := make([]byte, 100)
			if err := d.ReadAt(t.Context(), got, at); err != nil || !bytes.Equal(got, src.data[at:][:100]) {
				t.Errorf("at %d: %v", at, err)
			}
		})
	}
	all.Wait()
}

// meeting is a place of which packs are read by two at once, or by nobody.
type meeting struct {
	place.Place
	meet  atomic.Bool
	at    chan struct{}
	alone context.Context // ends when there was nobody for long
}

func (p *meeting) Open(ctx context.Context, name string) (place.File, error) {
	f, err := p.Place.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &meetingFile{File: f, p: p}, nil
}

type meetingFile struct {
	place.File
	p *meeting
}

func (f *meetingFile) ReadAt(b []byte, offset int64) (int, error) {
	if len(b) > ChunkSize/2 && f.p.meet.Load() {
		select {
		case f.p.at <- struct{}{}:
		case <-f.p.at:
		case <-f.p.alone.Done():
			return 0, errors.New("nobody else reads")
		}
	}
	return f.File.ReadAt(b, offset)
}

package placetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"berth/backend/image/place"
)

// lossy makes places on connections that break: drafts may be left.
type lossy interface{ Lossy() bool }

func isLossy(p place.Place) bool {
	l, is := p.(lossy)
	return is && l.Lossy()
}

// Conform tests what every place promises, each part on a new one that open
// makes. One with a method Lossy that returns true may leave drafts behind.
func Conform(t *testing.T, open func(t *testing.T) place.Place) {
	for name, test := range map[string]func(*testing.T, place.Place){
		"files":     conformFiles,
		"drafts":    conformDrafts,
		"exclusive": conformExclusive,
		"folders":   conformFolders,
		"clock":     conformClock,
		"names":     conformNames,
		"context":   conformContext,
		"large":     conformLarge,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

func names(all []place.Entry) (n []string) {
	for _, e := range all {
		n = append(n, e.Name)
	}
	return n
}

func conformFiles(t *testing.T, p place.Place) {
	ctx := t.Context()
	_, err := p.Open(ctx, "packs/one")
	wants(t, err, fs.ErrNotExist)
	_, err = p.Stat(ctx, "one")
	wants(t, err, fs.ErrNotExist)
	wants(t, p.Remove(ctx, "one"), fs.ErrNotExist)

	ok(t, place.Write(ctx, p, "packs/one", []byte("first")))
	ok(t, place.Write(ctx, p, "packs/one", []byte("second one")))
	ok(t, place.Write(ctx, p, "empty", nil))
	if got := must(place.Read(ctx, p, "packs/one", 100))(t); string(got) != "second one" {
		t.Errorf("read %q", got)
	}
	if got := must(place.Read(ctx, p, "empty", 0))(t); len(got) != 0 {
		t.Errorf("read %q of an empty file", got)
	}
	if _, err := place.Read(ctx, p, "packs/one", 5); err == nil {
		t.Error("a file above the limit was read")
	}
	f := must(p.Open(ctx, "packs/one"))(t)
	if f.Size() != 10 {
		t.Errorf("size %d", f.Size())
	}
	b := make([]byte, 6)
	if n, err := f.ReadAt(b, 4); n != 6 || err != nil && err != io.EOF || string(b) != "nd one" {
		t.Errorf("read %d %q %v", n, b, err)
	}
	if n, err := f.ReadAt(b, 8); n != 2 || err != io.EOF {
		t.Errorf("beyond the end: %d %v", n, err)
	}
	ok(t, f.Close())
	if e := must(p.Stat(ctx, "packs/one"))(t); e.Size != 10 || e.Name != "packs/one" {
		t.Errorf("stat: %+v", e)
	}
	ok(t, p.Remove(ctx, "packs/one"))
	wants(t, p.Remove(ctx, "packs/one"), fs.ErrNotExist)
}

func conformDrafts(t *testing.T, p place.Place) {
	ctx := t.Context()
	ok(t, place.Write(ctx, p, "a/file", []byte("old")))
	d := must(p.Create(ctx, "a/file", 1<<20))(t)
	_ = must(d.Write([]byte("new ")))(t)
	_ = must(d.Write([]byte("text")))(t)
	if d.Size() != 8 {
		t.Errorf("size %d", d.Size())
	}
	if got := must(place.Read(ctx, p, "a/file", 100))(t); string(got) != "old" {
		t.Errorf("before Commit: %q", got)
	}
	if got := names(must(p.List(ctx, "a"))(t)); !slices.Equal(got, []string{"a/file"}) {
		t.Errorf("before Commit: %q", got)
	}
	if got := must(p.Drafts(ctx))(t); len(got) != 1 {
		t.Errorf("drafts: %+v", got)
	}
	if n := must(p.RemoveDrafts(ctx, time.Hour))(t); n != 0 {
		t.Errorf("removed %d drafts that are young", n)
	}
	ok(t, d.Commit(ctx))
	ok(t, d.Discard()) // does nothing
	if got := must(place.Read(ctx, p, "a/file", 100))(t); string(got) != "new text" {
		t.Errorf("after Commit: %q", got)
	}
	if _, err := d.Write([]byte("more")); err == nil && p.URL() != "memory" {
		t.Error("written after Commit")
	}

	d = must(p.Create(ctx, "a/other", 0))(t)
	_ = must(d.Write([]byte("never")))(t)
	ok(t, d.Discard())
	_, err := p.Stat(ctx, "a/other")
	wants(t, err, fs.ErrNotExist)

	_ = must(must(p.Create(ctx, "b/left", 0))(t).Write([]byte("x")))(t)
	if n := must(p.RemoveDrafts(ctx, -time.Hour))(t); n != 1 && !isLossy(p) {
		t.Errorf("removed %d drafts", n)
	}
	if got := must(p.Drafts(ctx))(t); len(got) != 0 {
		t.Errorf("drafts: %+v", got)
	}
}

func conformExclusive(t *testing.T, p place.Place) {
	ctx := t.Context()
	var won int
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			err := p.CreateExclusive(ctx, "locks/x", []byte{byte(i)})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case !errors.Is(err, fs.ErrExist):
				t.Errorf("lost with %v", err)
			}
		})
	}
	all.Wait()
	if won != 1 {
		t.Errorf("%d won", won)
	}
	if got := must(p.Drafts(ctx))(t); len(got) != 0 && !isLossy(p) {
		t.Errorf("drafts: %+v", got)
	}
}

func conformFolders(t *testing.T, p place.Place) {
	ctx := t.Context()
	for _, n := range []string{"top", "b/2", "b/1", "b/c/3", "a/4"} {
		ok(t, place.Write(ctx, p, n, []byte(n)))
	}
	if got := names(must(p.List(ctx, "b"))(t)); !slices.Equal(got, []string{"b/1", "b/2"}) {
		t.Errorf("b holds %q", got)
	}
	if got := names(must(p.List(ctx, "."))(t)); !slices.Equal(got, []string{"top"}) {
		t.Errorf(". holds %q", got)
	}
	if got := must(p.List(ctx, "nowhere"))(t); len(got) != 0 {
		t.Errorf("nowhere holds %v", got)
	}
	if got := must(p.Folders(ctx, "."))(t); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("folders %q", got)
	}
	if got := must(p.Folders(ctx, "b"))(t); !slices.Equal(got, []string{"c"}) {
		t.Errorf("folders of b %q", got)
	}
	if got := names(must(place.Walk(ctx, p, "."))(t)); len(got) != 5 {
		t.Errorf("walk: %q", got)
	}
}

func conformClock(t *testing.T, p place.Place) {
	ctx := t.Context()
	ok(t, place.Write(ctx, p, "f", []byte("x")))
	first := must(p.Stat(ctx, "f"))(t).ModTime
	ok(t, p.Touch(ctx, "f"))
	then := must(p.Stat(ctx, "f"))(t).ModTime
	now := must(p.Now(ctx))(t)
	if then.Before(first) || now.Before(then.Add(-time.Second)) || now.Sub(first) > time.Minute {
		t.Errorf("made %v, touched %v, now %v", first, then, now)
	}
	wants(t, p.Touch(ctx, "g"), fs.ErrNotExist)
}

func conformNames(t *testing.T, p place.Place) {
	ctx := t.Context()
	for _, n := range []string{"", "/etc/x", "../x", "a/../x", "a//b", "."} {
		if d, err := p.Create(ctx, n, 0); err == nil {
			t.Errorf("%q was created: %v", n, d.Discard())
		}
		if _, err := p.Open(ctx, n); err == nil {
			t.Errorf("%q was opened", n)
		}
	}
}

func conformContext(t *testing.T, p place.Place) {
	ok(t, place.Write(t.Context(), p, "f", []byte("x")))
	ctx, cancel := context.WithCancel(t.Context())
	f := must(p.Open(ctx, "f"))(t)
	d := must(p.Create(ctx, "g", 0))(t)
	cancel()
	_, err := f.ReadAt(make([]byte, 1), 0)
	if p.URL() == "memory" || err != nil {
		wants(t, err, context.Canceled)
	}
	_, err = d.Write([]byte("x"))
	wants(t, err, context.Canceled)
	if d.Commit(ctx) == nil {
		t.Error("committed after its context ended")
	}
	ok(t, d.Discard())
	ok(t, f.Close())
	_, err = p.List(ctx, ".")
	wants(t, err, context.Canceled)
	wants(t, p.Remove(ctx, "f"), context.Canceled)
	if got := names(must(p.List(t.Context(), "."))(t)); !slices.Equal(got, []string{"f"}) {
		t.Errorf("left: %q", got)
	}
}

// conformLarge writes in pieces of all sizes and reads from several goroutines.
func conformLarge(t *testing.T, p place.Place) {
	ctx := t.Context()
	rng := rand.New(rand.NewChaCha8([32]byte{7}))
	content := make([]byte, 9<<20+123)
	for i := range content {
		content[i] = byte(rng.Uint32())
	}
	d := must(p.Create(ctx, "large", int64(len(content))))(t)
	for rest := content; len(rest) > 0; {
		n := min(1+rng.IntN(3<<20), len(rest))
		_ = must(d.Write(rest[:n]))(t)
		rest = rest[n:]
	}
	ok(t, d.Commit(ctx))
	f := must(p.Open(ctx, "large"))(t)
	var all sync.WaitGroup
	const part = 1 << 20
	for off := 0; off < len(content); off += part {
		all.Go(func() {
			want := content[off:min(off+part, len(content))]
			got := make([]byte, len(want))
			if n, err := f.ReadAt(got, int64(off)); n != len(got) || !bytes.Equal(got, want) {
				t.Errorf("at %d: %d bytes, %v; right: %v", off, n, err, bytes.Equal(got, want))
			}
		})
	}
	all.Wait()
	ok(t, f.Close())
}

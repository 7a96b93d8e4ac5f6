package repo

import (
	"testing"

	"berth/backend/image/disk"
	"berth/backend/image/place"
)

// BenchmarkVerify reads back 256 MiB, a third of each incompressible, text and
// hardly compressible.
func BenchmarkVerify(b *testing.B) {
	p, err := place.OpenLocal(b.TempDir(), true)
	if err != nil {
		b.Fatal(err)
	}
	r, err := Init(b.Context(), p, InitOptions{})
	if err != nil {
		b.Fatal(err)
	}
	src := benchDisk()
	w, err := r.Begin(b.Context(), WriteOptions{})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := w.AddDisk(b.Context(), Disk{Target: "vda"}, src, false); err != nil {
		b.Fatal(err)
	}
	if _, err := w.Commit(b.Context(), Manifest{Name: "bench"}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(src.Size())
	for b.Loop() {
		if rep, err := r.Verify(b.Context(), VerifyOptions{}); err != nil || !rep.OK() {
			b.Fatal(rep.Damages, err)
		}
	}
}

func benchDisk() disk.Reader {
	const part = 85 << 20
	m := newMem(3 * part)
	m.grain = ChunkSize
	m.random(1, 0, part)
	words := newMem(1 << 16)
	words.random(2, 0, 1<<16)
	for i := int64(part); i < 2*part; i += 16 {
		at := (i * 2654435761) % (1<<16 - 16)
		copy(m.data[i:i+16], words.data[at:])
	}
	m.random(3, 2*part, part)
	for i := int64(2 * part); i < 3*part; i += 3 {
		m.data[i] = 'x'
	}
	return m
}

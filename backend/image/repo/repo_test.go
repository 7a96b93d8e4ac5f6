package repo

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"

	"filippo.io/age"

	"berth/backend"
	"berth/backend/image/place/placetest"
)

// kinds of repositories, by how they are made and opened.
func kinds(t *testing.T) map[string]struct {
	init   InitOptions
	secret Secret
} {
	who, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	pass := Secret{Passphrase: []byte("correct horse")}
	return map[string]struct {
		init   InitOptions
		secret Secret
	}{
		"plain":      {InitOptions{PackSize: MinPackSize}, Secret{}},
		"passphrase": {InitOptions{PackSize: MinPackSize, Secret: pass}, pass},
		"recipient":  {InitOptions{PackSize: MinPackSize, Recipients: []age.Recipient{who.Recipient()}}, Secret{Identities: []age.Identity{who}}},
	}
}

// sample is a disk with all that disks have: holes, text, random bytes, the
// same twice, and an end that is no whole chunk.
func sample() *mem {
	m := newMem(37*ChunkSize + 4096)
	m.random(1, 0, 9*ChunkSize)
	m.text("hello disk ", 12*ChunkSize+8192, 3*ChunkSize)
	copy(m.data[20*ChunkSize:], m.data[:2*ChunkSize])
	m.random(2, 30*ChunkSize+100*4096, 4096)
	m.text("end", 37*ChunkSize, 4096)
	return m
}

func TestWhatIsBackedUpComesBack(t *testing.T) {
	for name, k := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			p := placetest.NewMemory()
			r := initRepo(t, p, k.init)
			src := sample()
			m := backUp(t, r, src, WriteOptions{})
			if !m.Full || m.Disks[0].Size != src.Size() || m.Disks[0].Data != 16*ChunkSize+4096 {
				t.Errorf("%+v", m)
			}

			again := openRepo(t, p, k.secret)
			points, err := again.Points(t.Context())
			if err != nil || len(points) != 1 || points[0].ID != m.ID {
				t.Fatal(points, err)
			}
			if !bytes.Equal(restored(t, again, &points[0]), src.data) {
				t.Error("the disk that came back is another")
			}
			xml, err := again.ReadFile(t.Context(), &m, m.Files[0])
			if err != nil || string(xml) != "<domain/>" {
				t.Errorf("%q, %v", xml, err)
			}
		})
	}
}

func TestIncrementalReadsWhatIsDirtyOnly(t *testing.T) {
	r := initRepo(t, placetest.NewMemory(), InitOptions{PackSize: MinPackSize})
	src := sample()
	base := backUp(t, r, src, WriteOptions{})
	src.dirty, src.read = map[int64]bool{}, 0
	src.random(9, 5*ChunkSize+4096, 4096)
	clear(src.data[13*ChunkSize : 14*ChunkSize])
	src.dirty[13] = true
	m := backUp(t, r, src, WriteOptions{Base: &base})
	if m.Full || m.Read != ChunkSize || src.read != ChunkSize || m.New > ChunkSize+MapFanout*32+100 {
		t.Errorf("read %d (says %d), new %d, full %v", src.read, m.Read, m.New, m.Full)
	}
	if !bytes.Equal(restored(t, r, &m), src.data) {
		t.Error("the disk that came back is another")
	}
	diff, err := r.Diff(t.Context(), &base, &m, "vda")
	if err != nil || len(diff) != 2 || diff[0].Offset != 5*ChunkSize || diff[0].Length != ChunkSize || diff[1].Kind != backend.ExtentZero {
		t.Errorf("%+v, %v", diff, err)
	}
}

func TestTheSameTwiceIsKeptOnce(t *testing.T) {
	r := initRepo(t, placetest.NewMemory(), InitOptions{})
	src := sample()
	backUp(t, r, src, WriteOptions{})
	if m := backUp(t, r, src, WriteOptions{}); m.New != 0 || m.Stored != 0 || m.Read == 0 {
		t.Errorf("%d bytes new of %d read, %d stored", m.New, m.Read, m.Stored)
	}
}

func TestASecretThatIsWrongIsRefused(t *testing.T) {
	p := placetest.NewMemory()
	initRepo(t, p, InitOptions{Secret: Secret{Passphrase: []byte("right")}})
	for _, s := range []Secret{{}, {Passphrase: []byte("wrong")}} {
		if _, err := Open(t.Context(), p, s, Options{}); !errors.Is(err, backend.ErrSecret) {
			t.Errorf("%q: %v", s.Passphrase, err)
		}
	}
	plain := placetest.NewMemory()
	initRepo(t, plain, InitOptions{})
	if _, err := Open(t.Context(), plain, Secret{Passphrase: []byte("x")}, Options{}); !errors.Is(err, backend.ErrSecret) {
		t.Errorf("a plain repository instead of an encrypted one: %v", err)
	}
	if _, err := Init(t.Context(), p, InitOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second repository in the same place: %v", err)
	}
	if _, err := Open(t.Context(), placetest.NewMemory(), Secret{}, Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none there: %v", err)
	}
}

func TestKeysComeAndGo(t *testing.T) {
	p := placetest.NewMemory()
	r := initRepo(t, p, InitOptions{Secret: Secret{Passphrase: []byte("old")}})
	if _, err := r.AddPassphrase(t.Context(), []byte("new"), "vault"); err != nil {
		t.Fatal(err)
	}
	keys, err := r.Keys(t.Context())
	if err != nil || len(keys) != 2 {
		t.Fatal(keys, err)
	}
	for _, k := range keys {
		if k.Label == "" {
			if err := r.RemoveKey(t.Context(), k.ID[:6]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := Open(t.Context(), p, Secret{Passphrase: []byte("old")}, Options{}); !errors.Is(err, backend.ErrSecret) {
		t.Errorf("with a key that was removed: %v", err)
	}
	again := openRepo(t, p, Secret{Passphrase: []byte("new")})
	if keys, err = again.Keys(t.Context()); err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	if err := again.RemoveKey(t.Context(), keys[0].ID); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("the last key: %v", err)
	}
}

func TestAnOpenDiskReadsAtRandom(t *testing.T) {
	r := initRepo(t, placetest.NewMemory(), InitOptions{})
	src := sample()
	m := backUp(t, r, src, WriteOptions{})
	d, err := r.OpenDisk(t.Context(), &m, "vda")
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, d)
	for _, at := range []struct{ offset, length int64 }{{0, 100}, {ChunkSize - 50, 100}, {8 * ChunkSize, 6 * ChunkSize}, {37 * ChunkSize, 4096}, {25 * ChunkSize, 3}} {
		p := bytes.Repeat([]byte{7}, int(at.length))
		if err := d.ReadAt(t.Context(), p, at.offset); err != nil || !bytes.Equal(p, src.data[at.offset:][:at.length]) {
			t.Errorf("%+v: other bytes, %v", at, err)
		}
	}
	if err := d.ReadAt(t.Context(), make([]byte, 2), src.Size()-1); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("over the end: %v", err)
	}
	var sum int64
	for sum < src.Size() {
		all, err := d.Extents(t.Context(), sum, src.Size()-sum)
		if err != nil || len(all) == 0 {
			t.Fatal(all, err)
		}
		for _, e := range all {
			if e.Offset != sum {
				t.Fatalf("%+v does not begin at %d", e, sum)
			}
			if e.Kind == backend.ExtentZero && !isZero(src.data[e.Offset:e.Offset+e.Length]) {
				t.Errorf("%+v is not zero", e)
			}
			sum += e.Length
		}
	}
}

package repo_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"
	"golang.org/x/crypto/argon2"

	"berth/backend"
	"berth/backend/image/disk"
	"berth/backend/image/place"
	"berth/backend/image/repo"
)

// reader reads a repository as FORMAT.md has it, sharing nothing with the
// package.
type reader struct {
	t      *testing.T
	dir    string
	master []byte
	chunks map[[32]byte]spot
}

type spot struct {
	pack   string
	offset uint64
	length uint32
}

func (r *reader) file(name string) []byte {
	b, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func (r *reader) files(dir string) (names []string) {
	entries, err := os.ReadDir(filepath.Join(r.dir, dir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, filepath.Join(dir, e.Name()))
	}
	return names
}

func derive(master []byte, use string, salt []byte) []byte {
	key := make([]byte, 32)
	blake3.DeriveKey("berth repository 1 "+use, append(append([]byte{}, master...), salt...), key)
	return key
}

func gcm(t *testing.T, key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func nonceOf(purpose uint32, number uint64) []byte {
	b := binary.BigEndian.AppendUint32(nil, purpose)
	return binary.BigEndian.AppendUint64(b, number)
}

// open undoes sealing.
func (r *reader) open(use string, salt []byte, purpose uint32, number uint64, sealed, extra []byte) []byte {
	r.t.Helper()
	n := nonceOf(purpose, number)
	if r.master != nil {
		text, err := gcm(r.t, derive(r.master, use, salt)).Open(nil, n, sealed, extra)
		if err != nil {
			r.t.Fatal(err)
		}
		return text
	}
	text, tag := sealed[:len(sealed)-16], sealed[len(sealed)-16:]
	sum := blake3.Sum256(append(append(append([]byte{}, extra...), n...), text...))
	if !bytes.Equal(sum[:16], tag) {
		r.t.Fatal("a checksum is wrong")
	}
	return text
}

// start reads the config and a key.
func (r *reader) start(pass string) {
	line, rest, _ := bytes.Cut(r.file("config"), []byte("\n"))
	sum := sha256.Sum256(append(append([]byte{}, line...), '\n'))
	if string(rest) != "sha256 "+hex.EncodeToString(sum[:])+"\n" {
		r.t.Fatal("the config's checksum is wrong")
	}
	var conf struct {
		Format    string
		Version   int
		ChunkSize int64
		Encrypted bool
	}
	if err := json.Unmarshal(line, &conf); err != nil || conf.Format != "berth backup repository" || conf.Version != 1 || conf.ChunkSize != 1<<20 || conf.Encrypted != (pass != "") {
		r.t.Fatal(conf, err)
	}
	if !conf.Encrypted {
		return
	}
	name := r.files("keys")[0]
	content := r.file(name)
	if of := sha256.Sum256(content); filepath.Base(name) != hex.EncodeToString(of[:8]) {
		r.t.Fatal("the key has another name")
	}
	var key struct {
		Format, Kind string
		Salt, Sealed []byte
		Time, Memory uint32
		Threads      uint8
	}
	if err := json.Unmarshal(content, &key); err != nil || key.Format != "berth repository key 1" || key.Kind != "passphrase" {
		r.t.Fatal(key, err)
	}
	k := argon2.IDKey([]byte(pass), key.Salt, key.Time, key.Memory, key.Threads, 32)
	text, err := gcm(r.t, derive(k, "key", key.Salt)).Open(nil, nonceOf(5, 0), key.Sealed, []byte("berth repository key 1"))
	if err != nil || len(text) != 64 || !bytes.Equal(text[32:], sum[:]) {
		r.t.Fatal(len(text), err)
	}
	r.master = text[:32]
}

// index reads all index files.
func (r *reader) index() {
	r.chunks = map[[32]byte]spot{}
	for _, name := range r.files("index") {
		b := r.file(name)
		head := b[:64]
		if string(head[:8]) != "berthix1" {
			r.t.Fatal(name)
		}
		page := func(n int) []byte {
			return r.open("index", head[32:48], 4, uint64(n), b[64+n*4096:][:4096], head)
		}
		last := page((len(b)-64)/4096 - 1)
		packs, chunks := int(binary.BigEndian.Uint64(last)), int(binary.BigEndian.Uint64(last[8:]))
		var ids []string
		for i := range packs {
			ids = append(ids, hex.EncodeToString(page(i / 51)[i%51*80:][:16]))
		}
		first := (packs + 50) / 51
		for i := range chunks {
			row := page(first + i/85)[i%85*48:][:48]
			r.chunks[[32]byte(row)] = spot{ids[binary.BigEndian.Uint32(row[32:])], binary.BigEndian.Uint64(row[40:]), binary.BigEndian.Uint32(row[36:])}
		}
	}
}

// chunk reads a chunk of a pack.
func (r *reader) chunk(id [32]byte) []byte {
	at, ok := r.chunks[id]
	if !ok {
		r.t.Fatalf("no chunk %x", id)
	}
	b := r.file("packs/" + at.pack)
	salt := b[48:80]
	f := b[at.offset:][:at.length]
	number := binary.BigEndian.Uint64(f)
	head := r.open("pack", salt, 1, number, f[8:72], nil)
	stored, raw, alg, crc := binary.BigEndian.Uint32(head), binary.BigEndian.Uint32(head[4:]), head[8], binary.BigEndian.Uint32(head[12:])
	payload := f[72:]
	if [32]byte(head[16:48]) != id || int(stored) != len(payload) || crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli)) != crc {
		r.t.Fatalf("chunk %x: its frame is wrong", id)
	}
	if r.master != nil {
		payload = r.open("pack", salt, 2, number, payload, id[:])
	}
	if alg == 1 {
		payload = unzstd(r.t, payload)
	}
	h := blake3.New()
	if r.master != nil {
		var err error
		if h, err = blake3.NewKeyed(derive(r.master, "chunk id", nil)); err != nil {
			r.t.Fatal(err)
		}
	}
	_, _ = h.Write(payload) // never fails
	if [32]byte(h.Sum(nil)) != id || len(payload) != int(raw) {
		r.t.Fatalf("chunk %x: its content is wrong", id)
	}
	return payload
}

func unzstd(t *testing.T, b []byte) []byte {
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	out, err := d.DecodeAll(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type point struct {
	Name  string
	Disks []struct {
		Size int64
		Map  struct {
			Root  string
			Depth int
		}
	}
}

func (r *reader) point() (p point) {
	name := r.files("points")[0]
	b := r.file(name)
	if of := sha256.Sum256(b); filepath.Base(name) != hex.EncodeToString(of[:16]) {
		r.t.Fatal("the point has another name")
	}
	text := r.open("box", b[32:64], 5, 0, b[64:], b[:64])
	if err := json.Unmarshal(unzstd(r.t, text[4:][:binary.BigEndian.Uint32(text)]), &p); err != nil {
		r.t.Fatal(err)
	}
	return p
}

// disk puts a disk together.
func (r *reader) disk(p point) []byte {
	d := p.Disks[0]
	out := make([]byte, d.Size)
	var walk func(id [32]byte, depth int, first, span int64)
	walk = func(id [32]byte, depth int, first, span int64) {
		if id == [32]byte{} {
			return
		}
		content := r.chunk(id)
		if depth == 0 {
			copy(out[first<<20:], content)
			return
		}
		for i := range int64(len(content) / 32) {
			walk([32]byte(content[i*32:]), depth-1, first+i*span/1024, span/1024)
		}
	}
	var root [32]byte
	if _, err := hex.Decode(root[:], []byte(d.Map.Root)); err != nil {
		r.t.Fatal(err)
	}
	span := int64(1)
	for range d.Map.Depth {
		span *= 1024
	}
	walk(root, d.Map.Depth, 0, span)
	return out
}

// Somebody else can read it: what FORMAT.md says is all that is needed.
func TestFormat(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	want := make([]byte, 1030<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(want[5<<20 : 8<<20+12345]) // never fails
	copy(want[1028<<20:], bytes.Repeat([]byte("the end "), 1000))
	if err := os.WriteFile(image, want, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, pass := range []string{"", "correct horse"} {
		dir := filepath.Join(t.TempDir(), "repo")
		make1(t, dir, pass, image)
		r := &reader{t: t, dir: dir}
		r.start(pass)
		r.index()
		p := r.point()
		if p.Name != "web1" || !bytes.Equal(r.disk(p), want) {
			t.Errorf("with passphrase %q another disk of %s", pass, p.Name)
		}
		cmd := exec.Command("sh", "-c", "cat sums/* | sha256sum -c --strict --quiet")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("sha256sum: %v\n%s", err, out)
		}
	}
}

// make1 backs up an image to a new repository.
func make1(t *testing.T, dir, pass, image string) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p, err := place.OpenLocal(dir, true)
	must(err)
	r, err := repo.Init(ctx, p, repo.InitOptions{Secret: repo.Secret{Passphrase: []byte(pass)}, PackSize: repo.MinPackSize})
	must(err)
	src, err := disk.Open(ctx, backend.DiskAccess{File: image})
	must(err)
	w, err := r.Begin(ctx, repo.WriteOptions{})
	must(err)
	_, err = w.AddDisk(ctx, repo.Disk{Target: "vda"}, src, false)
	must(err)
	_, err = w.Commit(ctx, repo.Manifest{Name: "web1", At: time.Now()})
	must(err)
	must(src.Close())
	must(r.Close())
	must(p.Close())
}

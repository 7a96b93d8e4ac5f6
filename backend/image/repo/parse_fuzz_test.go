package repo

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"berth/backend/image/place/placetest"
)

// sealedPack is a pack as the packer makes it, of a repository that is not
// encrypted, so that what fuzzing changes gets past the seals more easily.
func sealedPack(c *crypt) []byte {
	head := packHead{repo: c.repo, pack: fileID{1}}
	a := c.aead("pack", nil)
	out := head.marshal()
	raw := bytes.Clone(out)
	var frames []frame
	for i := range 3 {
		content := bytes.Repeat([]byte{byte('a' + i)}, 100*(i+1))
		f := frame{raw: uint32(len(content)), kind: kindData, id: sumID(c.hasher(), content), offset: int64(len(out))}
		out = append(out, sealFrame(c, a, uint64(i+1), &f, append(make([]byte, frameLen, frameLen+len(content)+tagSize), content...))...)
		frames = append(frames, f)
	}
	return append(out, sealFooter(a, 4, raw, frames, int64(len(out)))...)
}

// bytesFile is a file in memory.
type bytesFile struct{ *bytes.Reader }

func (bytesFile) Close() error { return nil }

func fileOf(b []byte) bytesFile { return bytesFile{bytes.NewReader(b)} }

// reseal makes the checksums of what was changed right again: what is behind
// them is tested, too.
func reseal(sealed, extra, n []byte) {
	sum := checksumOf(n, sealed[:len(sealed)-tagSize], extra)
	copy(sealed[len(sealed)-tagSize:], sum[:])
}

func FuzzPack(f *testing.F) {
	c := &crypt{}
	f.Add(sealedPack(c))
	f.Add([]byte(packMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		head, err := parsePackHead(b)
		if err != nil {
			return
		}
		p := &packFile{crypt: c, file: fileOf(b), head: head, raw: b[:packHeadLen], aead: c.aead("pack", nil)}
		frames, err := p.frames()
		if err == nil {
			for _, fr := range frames {
				if fr.offset < packHeadLen || fr.offset+fr.size() > int64(len(b)) {
					t.Errorf("a frame at %d of %d bytes", fr.offset, len(b))
				}
			}
		}
		buf, out := make([]byte, bufLen), make([]byte, bufLen)
		codec := newCodec(c)
		defer codec.close()
		end, _ := p.walk(func(fr frame) error {
			got, stored, err := p.read(location{offset: fr.offset, length: uint32(fr.size())}, buf)
			if err != nil {
				return err
			}
			if content, err := codec.unpack(out, &got, stored); err == nil && codec.id(content) != fr.id {
				t.Error("a chunk that is another")
			}
			return nil
		})
		if end > int64(len(b)) {
			t.Errorf("walked to %d of %d bytes", end, len(b))
		}
	})
}

// What a footer says is believed only as far as the pack goes, though its
// checksum be right.
func FuzzFooter(f *testing.F) {
	c := &crypt{}
	whole := sealedPack(c)
	f.Add(whole[len(whole)-3*recordLen-tagSize-trailerLen : len(whole)-trailerLen])
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if len(sealed) < tagSize {
			return
		}
		count := (len(sealed) - tagSize) / recordLen
		tr := trailer{number: 4, offset: 1 << 20, count: count}
		head := whole[:packHeadLen]
		reseal(sealed, head, nonce(nonceFooter, 4))
		frames, err := openFooter(c.aead("pack", nil), tr, head, sealed)
		for _, fr := range frames {
			if err == nil && (fr.offset+fr.size() > tr.offset || fr.raw > ChunkSize) {
				t.Errorf("%+v", fr)
			}
		}
	})
}

func FuzzConfig(f *testing.F) {
	conf := config{Format: configFormat, Version: configVersion, ID: fileID{}.String(), ChunkSize: ChunkSize, PackSize: DefaultPackSize}
	b, err := conf.marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseConfig(b); err == nil && (c.PackSize < MinPackSize || c.PackSize > MaxPackSize) {
			t.Errorf("packs of %d bytes", c.PackSize)
		}
	})
}

func FuzzManifest(f *testing.F) {
	c := &crypt{}
	b, err := c.sealBox(boxPoint, Manifest{Name: "web1", Disks: []Disk{{Target: "vda", Size: 5 * ChunkSize, Map: Map{Depth: 1}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[boxHeadLen : len(b)-tagSize])
	f.Fuzz(func(t *testing.T, text []byte) {
		head := c.boxHead(boxPoint, make([]byte, 32))
		sealed := c.aead("box", nil).Seal(bytes.Clone(head), nonce(nonceBox, 0), text, head)
		var m Manifest
		if c.openBox(boxPoint, sealed, &m) != nil || m.check() != nil {
			return
		}
		m.clean()
		for _, d := range m.Disks {
			if newMapCursor(d, nil).chunks < 0 {
				t.Errorf("%+v", d)
			}
		}
	})
}

func FuzzKey(f *testing.F) {
	f.Add([]byte(`{"format":"berth repository key 1","kind":"passphrase","salt":"AAAA","time":1,"memory":8,"threads":1,"sealed":""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := placetest.NewMemory()
		r := newRepo(p, config{}, nil, Options{})
		name := keysDir + "/" + keyID(b)
		if err := p.CreateExclusive(t.Context(), name, b); err != nil {
			t.Fatal(err)
		}
		if k, err := r.keyFile(t.Context(), name); err == nil && k.slot.Kind == "passphrase" && k.slot.Memory > maxArgonMemory {
			t.Errorf("%+v", k.slot)
		}
	})
}

func FuzzIndex(f *testing.F) {
	c := &crypt{}
	p := placetest.NewMemory()
	id, err := writeIndex(context.Background(), p, c, somePacks(3, 50, 1))
	if err != nil {
		f.Fatal(err)
	}
	b := readAll(f, p, indexDir+"/"+id.String())
	f.Add(b[indexHeadLen:])
	f.Fuzz(func(t *testing.T, pages []byte) {
		pages = pages[:len(pages)/pageLen*pageLen]
		head := indexHead(c.repo, id, false)
		for n := 0; n < len(pages)/pageLen; n++ {
			reseal(pages[n*pageLen:][:pageLen], head, nonce(noncePage, uint64(n)))
		}
		x, err := openIndexFile(c, id, fileOf(append(head, pages...)))
		if err != nil {
			return
		}
		if at, err := x.find(ChunkID{7}, nil); err == nil {
			for _, l := range at {
				if l.length > bufLen {
					t.Errorf("%+v", l)
				}
			}
		}
		_, _ = x.hasPack(fileID{7}) // any answer will do
		s := x.scanChunks()
		for {
			if _, err := s.read(t.Context()); err != nil {
				return
			}
		}
	})
}

// somePacks are packs of frames with ids that are evenly spread.
func somePacks(packs, frames int, seed uint64) []packed {
	r := rand.New(rand.NewPCG(seed, 0))
	some := make([]packed, packs)
	for i := range some {
		some[i].frames = make([]frame, frames)
		binary.BigEndian.PutUint64(some[i].id[:], r.Uint64())
		for n := range some[i].frames {
			fr := &some[i].frames[n]
			fr.offset, fr.stored, fr.raw = packHeadLen+int64(n)*1000, 900, 1000
			for at := 0; at < len(fr.id); at += 8 {
				binary.BigEndian.PutUint64(fr.id[at:], r.Uint64())
			}
		}
	}
	return some
}

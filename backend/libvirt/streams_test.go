package libvirt

import (
	"bytes"
	"errors"
	"image/png"
	"io"
	"testing"

	"berth/backend"
)

func TestPictures(t *testing.T) {
	var out bytes.Buffer
	if err := toPNG(&out, []byte("P6\n# made by QEMU\n1 2\n255\nabcdef")); err != nil {
		t.Fatal(err)
	}
	if img, err := png.Decode(&out); err != nil || img.Bounds().Dy() != 2 {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "P5 1 1 255\na", "P6", "P6 1 1 255\nab", "P6 999999999 1 255\n", "P6 16384 16384 255\nabc", "P6 1 1 65535\nabcdef",
		"P6 -1 1 255\nabc", "P6 0 1 255\nabc", "\x89PNG\r\n\x1a\nnonsense"} {
		if err := toPNG(io.Discard, []byte(bad)); !errors.Is(err, backend.ErrUnsupported) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	b := &bounded{most: 4}
	for range 3 {
		if n, err := b.Write([]byte("abc")); n != 3 || err != nil {
			t.Fatal("a stream's writer failed")
		}
	}
	if !b.over || b.Len() > 4 {
		t.Error("the bound does not hold")
	}
}

func FuzzPPM(f *testing.F) {
	f.Add([]byte("P6\n# c\n1 2\n255\nabcdef"))
	f.Add([]byte("P6 16384 16384 255\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		img, err := decodePPM(raw)
		if err == nil && img.Bounds().Dx()*img.Bounds().Dy()*3 > len(raw) {
			t.Error("a picture larger than its data")
		}
	})
}

func FuzzSequencer(f *testing.F) {
	x := &xdr{}
	x.u32(headerSize).u32(remoteProgram).u32(1).u32(7).u32(typeStream).u32(1).u32(2)
	x.u32(headerSize).u32(remoteProgram).u32(1).u32(7).u32(typeReply).u32(1).u32(0)
	f.Add(x.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := io.ReadAll(newSequencer(bytes.NewReader(in)))
		if err == nil && len(out) > len(in) {
			t.Error("more came out than went in")
		}
	})
}

func TestSequencerKeepsEveryByte(t *testing.T) {
	packet := func(kind, serial uint32, body string) []byte {
		x := &xdr{}
		x.u32(uint32(headerSize + len(body))).u32(remoteProgram).u32(1).u32(7).u32(kind).u32(serial).u32(2)
		x.WriteString(body)
		return x.Bytes()
	}
	early, reply, late, other := packet(typeStream, 5, "early"), packet(typeReply, 5, "ok"), packet(typeStream, 5, "late"), packet(typeReply, 6, "")
	in := bytes.Join([][]byte{early, other, reply, late}, nil)
	want := bytes.Join([][]byte{other, reply, early, late}, nil)
	got, err := io.ReadAll(newSequencer(bytes.NewReader(in)))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

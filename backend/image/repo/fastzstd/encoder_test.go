package fastzstd

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// content is what disks hold, and what is awkward.
func content() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	skewed := random(300_000) // Huffman codes alone gain here
	for i := range skewed {
		skewed[i] &= 0x3b
	}
	var words, records, mixed []byte
	for len(words) < 400_000 {
		words = fmt.Appendf(words, "Nov %d web%d kernel: %x of %d\n", r.IntN(30), r.IntN(9), r.IntN(1<<16), r.IntN(100))
	}
	some := random(2000)
	for len(records) < MaxSize {
		at := r.IntN(len(some) - 20)
		records = append(records, some[at:at+4+r.IntN(16)]...)
		records = append(records, byte(r.Uint32()))
	}
	mixed = append(append(append(mixed, words[:150_000]...), random(140_000)...), make([]byte, 200_000)...)
	mixed = append(mixed, words[:maxBlock]...)
	all := map[string][]byte{
		"nothing": nil, "a byte": {7}, "a run": bytes.Repeat([]byte{9}, 500_000), "zeroes": make([]byte, MaxSize),
		"random": random(MaxSize), "skewed": skewed, "words": words, "records": records[:MaxSize], "mixed": mixed,
		"pairs": bytes.Repeat([]byte("ab"), maxBlock), "a block": words[:maxBlock], "a block and a byte": words[:maxBlock+1],
	}
	for _, n := range []int{2, 15, 16, 17, 31, 32, 63, 255, 256, 1023, 1024, 4095, 16383, 16384} {
		all[fmt.Sprintf("words of %d", n)] = words[:n]
		all[fmt.Sprintf("random of %d and again", n)] = bytes.Repeat(some[:min(n, len(some))], 3)
	}
	return all
}

// room is a limit that everything keeps to.
func room(content []byte) int { return len(content) + len(content)>>10 + 64 }

func decoder(t testing.TB) *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(MaxSize))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// One encoder after the other, and the same again: what it did before leaves
// no trace in a frame.
func TestFramesAreRead(t *testing.T) {
	d, used := decoder(t), new(Encoder)
	reference, err := exec.LookPath("zstd")
	if err != nil {
		t.Log("the reference's zstd is not installed: klauspost's decoder reads alone")
	}
	for name, content := range content() {
		frame, ok := used.Append([]byte("before"), content, room(content))
		if !ok {
			t.Errorf("%s: no frame within its room", name)
			continue
		}
		if string(frame[:6]) != "before" {
			t.Errorf("%s: what was there is gone", name)
		}
		frame = frame[6:]
		if fresh, _ := new(Encoder).Append(nil, content, room(content)); !bytes.Equal(frame, fresh) {
			t.Errorf("%s: a used encoder makes another frame than a new one", name)
		}
		if got, err := d.DecodeAll(frame, nil); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes come back as %d: %v", name, len(content), len(got), err)
		}
		if reference == "" {
			continue
		}
		cmd := exec.Command(reference, "-dcq")
		cmd.Stdin = bytes.NewReader(frame)
		if got, err := cmd.Output(); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: zstd makes %d bytes of %d: %v", name, len(got), len(content), err)
		}
	}
}

// A frame keeps to its limit, and so does what is written on the way to it.
func TestLimit(t *testing.T) {
	e := new(Encoder)
	for name, content := range content() {
		frame, ok := e.Append(nil, content, room(content))
		if !ok {
			t.Fatalf("%s: no frame within its room", name)
		}
		for _, limit := range []int{len(frame), len(frame) - 1, len(frame) / 2, 9, 8, 0} {
			dst := make([]byte, 3, 3+max(limit, 0)+3) // a block's header may be begun
			got, ok := e.Append(dst, content, limit)
			if ok != (limit >= len(frame)) {
				t.Errorf("%s: %d bytes in %d: %v", name, len(frame), limit, ok)
			}
			if want := 3 + len(frame); ok && len(got) != want || !ok && len(got) != 3 {
				t.Errorf("%s: %d bytes of %d with a limit of %d", name, len(got), want, limit)
			}
			if &got[0] != &dst[0] {
				t.Errorf("%s: with a limit of %d it grew beyond it", name, limit)
			}
		}
	}
	if _, ok := e.Append(nil, make([]byte, MaxSize+1), MaxSize); ok {
		t.Error("a frame of more than MaxSize")
	}
}

// The library's fastest level is the measure: frames may be a few percent
// larger.
func TestSizeBesideTheLibrary(t *testing.T) {
	e, lib := new(Encoder), library(t)
	for _, name := range []string{"words", "records", "mixed", "skewed", "random", "zeroes", "pairs"} {
		content := content()[name]
		frame, ok := e.Append(nil, content, room(content))
		if theirs := lib.EncodeAll(content, nil); !ok || len(frame) > len(theirs)+len(theirs)/12+100 {
			t.Errorf("%s: %d bytes become %d, with the library's fastest %d", name, len(content), len(frame), len(theirs))
		}
	}
}

func library(t testing.TB) *zstd.Encoder {
	lib, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(MaxSize), zstd.WithEncoderCRC(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lib.Close() }) // it has no writer to fail
	return lib
}

func FuzzAppend(f *testing.F) {
	for _, content := range content() {
		f.Add(content[:min(len(content), 40_000)], uint8(1))
	}
	d, e := decoder(f), new(Encoder)
	f.Fuzz(func(t *testing.T, content []byte, times uint8) {
		content = bytes.Repeat(content, 1+int(times)%8)
		content = content[:min(len(content), MaxSize)]
		frame, ok := e.Append(nil, content, room(content))
		if !ok {
			t.Fatal("no frame within its room")
		}
		if got, err := d.DecodeAll(frame, nil); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%d bytes come back as %d: %v", len(content), len(got), err)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, name := range []string{"words", "records", "random", "zeroes"} {
		content := content()[name]
		dst := make([]byte, 0, 2*MaxSize)
		run := func(who string, code func()) {
			b.Run(name+"/"+who, func(b *testing.B) {
				b.SetBytes(int64(len(content)))
				for b.Loop() {
					code()
				}
			})
		}
		e, lib := new(Encoder), library(b)
		run("fastzstd", func() { e.Append(dst, content, room(content)) })
		run("klauspost", func() { lib.EncodeAll(content, dst) })
	}
}

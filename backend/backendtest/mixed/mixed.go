// Package mixed makes disk images for tests and measurements that look like a
// machine's disk to a backup: text and logs, programs, what is compressed
// already, zeroes that are written out, the same thing twice, and holes. The
// same seed makes the same image everywhere.
package mixed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
)

// Sizes of what Write makes, in bytes.
const (
	Size = 4 << 30
	Data = 1382 << 20 // 1.35 GiB
)

// grain is what stretches of data are aligned to, as a file system's would be.
const grain = 4096

// Write makes a sparse raw image of Size bytes, Data of which are not holes.
func Write(path string, seed uint64) error { return WriteSized(path, seed, Size, Data) }

// WriteSized makes a sparse raw image of size bytes with about data bytes that
// are not holes.
func WriteSized(path string, seed uint64, size, data int64) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(size); err != nil {
		return err
	}
	g := newGenerator(seed)
	left, holes := data, size-data
	for at := int64(0); left > 0; {
		n := min(left, g.between(256<<10, 24<<20))
		if at+n > size {
			return fmt.Errorf("an image of %d bytes has no room for %d bytes of data", size, data)
		}
		if err := g.stretch(f, at, n); err != nil {
			return err
		}
		at, left = at+n, left-n
		if left > 0 {
			hole := min(holes, g.between(0, 2*(holes/(left/(12<<20)+1))+grain))
			at, holes = at+hole, holes-hole
		}
	}
	return f.Sync()
}

// generator makes content.
type generator struct {
	r     *rand.Rand
	raw   *rand.ChaCha8
	words []string
	lines [][3]string // a program, what it says, and of what
	ops   [][]byte
	made  [len(shares)]float64 // bytes of each kind
	kept  []byte               // a stretch that comes again
	buf   []byte
}

func newGenerator(seed uint64) *generator {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	g := &generator{r: rand.New(rand.NewPCG(seed, 1)), raw: rand.NewChaCha8(key)}
	g.words = vocabulary(g.r)
	g.ops = instructions(g.r)
	g.lines = make([][3]string, 500)
	for i := range g.lines {
		g.lines[i] = [3]string{g.word(), "", g.word()}
		for range 3 + g.r.IntN(10) {
			g.lines[i][1] += g.word() + " "
		}
	}
	return g
}

// between is a multiple of grain.
func (g *generator) between(low, high int64) int64 {
	return (low + g.r.Int64N(high-low+1)) / grain * grain
}

// The shares of an image, in percent: programs, logs, what is compressed,
// written zeroes, and the same MiB again.
var shares = [...]float64{42, 26, 24, 3, 5}

// stretch writes n bytes of the kind of which there is too little.
func (g *generator) stretch(f *os.File, at, n int64) error {
	kind := 0
	for i := range shares {
		if g.made[i]/shares[i] < g.made[kind]/shares[kind] {
			kind = i
		}
	}
	g.made[kind] += float64(n)
	for n > 0 {
		some := min(n, 1<<20)
		g.buf = g.buf[:0]
		g.fill(kind, int(some))
		if _, err := f.WriteAt(g.buf[:some], at); err != nil {
			return err
		}
		at, n = at+some, n-some
	}
	return nil
}

// fill appends at least n bytes to buf.
func (g *generator) fill(kind, n int) {
	switch kind {
	case 0:
		g.programs(n)
	case 1:
		g.logs(n)
	case 2:
		g.compressed(n)
	case 3:
		g.buf = append(g.buf, make([]byte, n)...)
	default:
		if g.kept == nil {
			g.programs(1 << 20)
			g.kept = append(g.kept, g.buf...)
			g.buf = g.buf[:0]
		}
		g.buf = append(g.buf, g.kept...)
	}
}

// compressed is what has no pattern: media, archives, encrypted files.
func (g *generator) compressed(n int) {
	g.buf = append(g.buf, make([]byte, n)...)
	_, _ = g.raw.Read(g.buf[len(g.buf)-n:]) // never fails (math/rand/v2)
}

// logs are lines with a time, a host, a program and words.
func (g *generator) logs(n int) {
	end := len(g.buf) + n
	for second := g.r.IntN(86400); len(g.buf) < end; second++ {
		m := &g.lines[skewed(g.r, len(g.lines))]
		g.buf = fmt.Appendf(g.buf, "Nov %2d %02d:%02d:%02d web%d %s[%d]: %s %s, %s=%d\n", 1+second/86400%28, second/3600%24, second/60%60, second%60,
			g.r.IntN(8), m[0], 1000+len(m[1])*7, m[1], g.word(), m[2], g.r.IntN(1<<20))
	}
}

// word prefers those that come first, as people do.
func (g *generator) word() string { return g.words[skewed(g.r, len(g.words))] }

func skewed(r *rand.Rand, n int) int {
	x := r.Float64()
	return int(x * x * x * x * float64(n))
}

// programs are instructions, with a table or strings here and there.
func (g *generator) programs(n int) {
	end := len(g.buf) + n
	for len(g.buf) < end {
		for range 2000 {
			g.buf = append(g.buf, g.ops[skewed(g.r, len(g.ops))]...)
			if g.r.IntN(4) == 0 { // a call, or an address
				g.buf = binary.LittleEndian.AppendUint32(g.buf, uint32(g.r.IntN(1<<16)))
			}
		}
		for range 64 {
			g.buf = binary.LittleEndian.AppendUint64(g.buf, 0x400000+uint64(g.r.IntN(1<<16))*16)
		}
		for range 40 {
			g.buf = append(append(g.buf, g.word()...), 0)
		}
	}
}

// instructions are what compilers emit again and again: short runs of bytes,
// few of them often.
func instructions(r *rand.Rand) [][]byte {
	prefixes := [][]byte{{0x48, 0x8b}, {0x48, 0x89}, {0xe8}, {0x0f, 0x84}, {0x48, 0x8d}, {0x83}, {0xff}, {0xc3}, {0x31, 0xc0}, {0x41}}
	ops := make([][]byte, 3000)
	for i := range ops {
		for range 1 + r.IntN(4) {
			ops[i] = append(ops[i], prefixes[r.IntN(len(prefixes))]...)
			for range 1 + r.IntN(2) {
				ops[i] = append(ops[i], byte(r.Uint32()))
			}
		}
	}
	return ops
}

// vocabulary makes words out of syllables.
func vocabulary(r *rand.Rand) []string {
	syllables := []string{"ba", "con", "de", "er", "fi", "gra", "host", "in", "ker", "lo", "mem", "net", "o", "pro", "qu", "re", "ser", "ti", "un", "ver", "work", "ex", "y", "zo"}
	words := make([]string, 6000)
	for i := range words {
		for range 1 + r.IntN(4) {
			words[i] += syllables[r.IntN(len(syllables))]
		}
	}
	return words
}

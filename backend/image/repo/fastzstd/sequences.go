package fastzstd

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// Kinds of codes, in the order of a block's header.
const (
	ofLiterals = iota
	ofOffset
	ofMatch
)

// codeCounts are the codes that there are of each kind here: offsets are
// within a frame of MaxSize.
var codeCounts = [3]int{36, 22, 53}

// Modes of a kind of codes in a block (RFC 8878, 3.1.1.3.2.1).
const (
	modePredefined = 0
	modeRun        = 1
	modeShares     = 2
)

// fewSequences do not pay for shares of their own.
const fewSequences = 48

// extraBits of the codes of literal lengths and of match lengths (RFC 8878,
// 3.1.1.3.2.1.1).
var (
	literalsBits = [36]uint8{16: 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	matchBits    = [53]uint8{32: 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
)

// The codes of small lengths; of larger ones the code is the position of the
// highest bit and 18 and 35 more.
var (
	literalsCodes = codesOf[[64]uint8](literalsBits[:])
	matchCodes    = codesOf[[128]uint8](matchBits[:])
)

func codesOf[T [64]uint8 | [128]uint8](extra []uint8) (codes T) {
	code, next := 0, 1<<extra[0]
	for i := range len(codes) {
		for ; i >= next; next += 1 << extra[code] {
			code++
		}
		codes[i] = uint8(code)
	}
	return codes
}

func literalsCode(n uint32) uint8 {
	if n < 64 {
		return literalsCodes[n]
	}
	return uint8(bits.Len32(n)) + 18
}

func matchCode(n uint32) uint8 {
	if n < 128 {
		return matchCodes[n]
	}
	return uint8(bits.Len32(n)) + 35
}

// predefined are the coders of RFC 8878, 3.1.1.3.2.2.
var predefined = [3]coder{
	ofLiterals: newCoder(6, 4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1),
	ofOffset:   newCoder(5, 1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1),
	ofMatch: newCoder(6, 1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		-1, -1, -1, -1, -1, -1, -1),
}

func newCoder(log int, shares ...int16) coder {
	c := coder{log: log}
	copy(c.norm[:], shares)
	c.build(len(shares))
	return c
}

// codeSequences returns the section of sequences of a block. It is valid until
// the next call.
func (e *Encoder) codeSequences() []byte {
	dst := e.stream[:0]
	found := e.found.sequences[:e.found.count]
	switch n := len(found); {
	case n < 0x80:
		dst = append(dst, byte(n))
	case n < 0x7f00:
		dst = append(dst, byte(n>>8)+0x80, byte(n))
	default:
		dst = append(dst, 0xff, byte(n-0x7f00), byte((n-0x7f00)>>8))
	}
	if len(found) == 0 {
		return dst
	}
	counts := countCodes(found)
	modes := len(dst)
	dst = append(dst, 0)
	var coders [3]*coder
	for kind := range coders {
		var mode byte
		coders[kind], mode, dst = e.choose(dst, kind, counts[kind][:codeCounts[kind]], found)
		dst[modes] |= mode << (6 - 2*kind)
	}
	e.stream = appendStream(dst, found, coders)
	return e.stream
}

// countCodes sets the sequences' codes and counts them.
func countCodes(found []sequence) (counts [3][maxSymbols]uint32) {
	for i := range found {
		s := &found[i]
		s.codes = [3]uint8{literalsCode(s.literals), uint8(bits.Len32(s.offset)) - 1, matchCode(s.match)}
		counts[ofLiterals][s.codes[ofLiterals]%maxSymbols]++
		counts[ofOffset][s.codes[ofOffset]%maxSymbols]++
		counts[ofMatch][s.codes[ofMatch]%maxSymbols]++
	}
	return counts
}

// choose returns the coder of a kind of codes, its mode, and dst with what a
// decoder needs to know of it.
func (e *Encoder) choose(dst []byte, kind int, counts []uint32, found []sequence) (*coder, byte, []byte) {
	if code := found[0].codes[kind]; int(counts[code]) == len(found) {
		e.coders[kind] = coder{} // puts out nothing
		return &e.coders[kind], modeRun, append(dst, code)
	}
	if len(found) < fewSequences {
		return &predefined[kind], modePredefined, dst
	}
	c := &e.coders[kind]
	c.normalize(counts, len(found))
	c.build(len(counts))
	return c, modeShares, c.appendShares(dst, len(counts))
}

// appendStream appends the stream of the sequences, the last first (RFC 8878,
// 3.1.1.3.2.1).
func appendStream(dst []byte, found []sequence, coders [3]*coder) []byte {
	const most = 11 // bytes that a sequence takes: extra bits 20, 16 and 16, states 8 each, and what waits
	literals, offset, match := coders[ofLiterals], coders[ofOffset], coders[ofMatch]
	at := len(dst)
	dst = slices.Grow(dst, most*len(found)+24)
	dst = dst[:cap(dst)]
	s := &found[len(found)-1]
	ls, os, ms := literals.first(s.codes[ofLiterals]), offset.first(s.codes[ofOffset]), match.first(s.codes[ofMatch])
	var out uint64 // bits that wait to be stored
	var n uint     // how many
	for i := len(found) - 1; ; {
		l, m, o := uint(literalsBits[s.codes[ofLiterals]]), uint(matchBits[s.codes[ofMatch]]), uint(s.codes[ofOffset])
		lengths := uint64(s.literals)&(1<<(l&31)-1) | uint64(s.match)&(1<<(m&31)-1)<<(l&31)
		if n+l+m+o > 63 {
			binary.LittleEndian.PutUint64(dst[at:], out)
			at, out, n = at+int(n>>3), out>>(n&^7&63), n&7
		}
		out |= (lengths | uint64(s.offset)&(1<<(o&31)-1)<<((l+m)&63)) << (n & 63)
		n += l + m + o
		binary.LittleEndian.PutUint64(dst[at:], out)
		at, out, n = at+int(n>>3), out>>(n&^7&63), n&7
		if i--; i < 0 {
			break
		}
		s = &found[i]
		var states uint64
		lt, ot, mt := literals.symbols[s.codes[ofLiterals]%maxSymbols], offset.symbols[s.codes[ofOffset]%maxSymbols], match.symbols[s.codes[ofMatch]%maxSymbols]
		ob, mb, lb := (os+ot.bits)>>16, (ms+mt.bits)>>16, (ls+lt.bits)>>16
		states = uint64(os)&(1<<(ob&31)-1) | uint64(ms)&(1<<(mb&31)-1)<<(ob&31) | uint64(ls)&(1<<(lb&31)-1)<<((ob+mb)&31)
		os, ms, ls = offset.after(os>>(ob&31), ot), match.after(ms>>(mb&31), mt), literals.after(ls>>(lb&31), lt)
		out |= states << (n & 63)
		n += uint(ob + mb + lb)
	}
	end := bitWriter{dst: dst[:at], value: out, width: int(n)}
	end.add(uint64(ms)&(1<<match.log-1), match.log)
	end.add(uint64(os)&(1<<offset.log-1), offset.log)
	end.add(uint64(ls)&(1<<literals.log-1), literals.log)
	end.add(1, 1)
	return end.close()
}

// after returns the state that follows, of a state without the bits put out.
func (c *coder) after(state uint32, t transition) uint32 {
	return uint32(c.next[(int32(state)+t.find)&(1<<maxLog-1)])
}

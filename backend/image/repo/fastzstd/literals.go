package fastzstd

import (
	"encoding/binary"
	"errors"

	"github.com/klauspost/compress/huff0"
)

// Kinds of literals (RFC 8878, 3.1.1.3.1.1).
const (
	literalsRaw      = 0
	literalsRun      = 1
	literalsHuffman  = 2
	literalsTreeless = 3 // with the table of the block before
)

// codeLiterals returns the section of literals of a block, Huffman coded where
// that makes it smaller. It is valid until the next call.
func (e *Encoder) codeLiterals(literals []byte) (header, body []byte) {
	if len(literals) < 32 || looksRandom(literals) {
		return plainHeader(literalsRaw, len(literals)), literals
	}
	e.huff.WantLogLess = 4 // a sixteenth less, or it is not worth a reader's time
	code := huff0.Compress4X
	single := len(literals) < 1<<10
	if single {
		code = huff0.Compress1X
	}
	coded, reused, err := code(literals, &e.huff)
	if errors.Is(err, huff0.ErrUseRLE) {
		return plainHeader(literalsRun, len(literals)), literals[:1]
	}
	if err != nil || len(coded)+5 >= len(literals) {
		e.huff.Reuse = huff0.ReusePolicyNone // a decoder does not see the table
		return plainHeader(literalsRaw, len(literals)), literals
	}
	e.huff.Reuse = huff0.ReusePolicyAllow
	kind := literalsHuffman
	if reused {
		kind = literalsTreeless
	}
	return huffmanHeader(kind, len(literals), len(coded), single), coded
}

// looksRandom reports whether a sample of many literals has next to no pattern,
// so that counting all of them would be in vain. The sum of the squares of how
// often each byte occurs is n*n/256 if all are as likely; it is larger by a
// seventh before they are coded in a sixtieth less.
func looksRandom(literals []byte) bool {
	const n = 4096
	if len(literals) < 4*n {
		return false
	}
	var counts [256]int
	for i, step := 0, len(literals)/n; i < n*step; i += step {
		counts[literals[i]]++
	}
	sum := 0
	for _, c := range counts {
		sum += c * c
	}
	return sum < n*n/224+n // n of it comes from the sample being one
}

// plainHeader is the header of n literals that are raw or a run.
func plainHeader(kind, n int) []byte {
	switch {
	case n < 1<<5:
		return []byte{byte(kind | n<<3)}
	case n < 1<<12:
		h := kind | 1<<2 | n<<4
		return []byte{byte(h), byte(h >> 8)}
	}
	h := kind | 3<<2 | n<<4
	return []byte{byte(h), byte(h >> 8), byte(h >> 16)}
}

// huffmanHeader is the header of n literals that are coded bytes long, in a
// single stream or in four.
func huffmanHeader(kind, n, coded int, single bool) []byte {
	format, bits, size := 1, 10, 3
	switch {
	case single:
		format = 0
	case n >= 1<<14:
		format, bits, size = 3, 18, 5
	case n >= 1<<10:
		format, bits, size = 2, 14, 4
	}
	h := uint64(kind) | uint64(format)<<2 | uint64(n)<<4 | uint64(coded)<<(4+bits)
	return binary.LittleEndian.AppendUint64(nil, h)[:size]
}

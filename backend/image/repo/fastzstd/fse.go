package fastzstd

import "math/bits"

// Finite state entropy coding, as of RFC 8878, 4.1, and Yann Collet's FSE.

const (
	maxLog     = 8  // of a coder's table, for the encoder's choice: RFC 8878 allows 9 and 8
	maxSymbols = 64 // more than zstd has codes of any kind
)

// coder codes symbols of one kind.
type coder struct {
	log     int // of the table's size
	symbols [maxSymbols]transition
	next    [1 << maxLog]uint16
	norm    [maxSymbols]int16 // the symbols' shares of the table; -1 is less than one
}

// transition tells how a symbol changes the state.
type transition struct {
	bits uint32 // what to add to a state for the number of bits to put out, << 16
	find int32  // where in next the states begin that the symbol leads to
}

// normalize gives each symbol counted its share of a table, at least 1.
// Total is the counts' sum.
func (c *coder) normalize(counts []uint32, total int) {
	c.log = max(min(maxLog, bits.Len(uint(total))-1), 6) // 64 places hold every symbol there is
	left, most := 1<<c.log, 0
	for i, n := range counts {
		c.norm[i] = 0
		if n > 0 {
			c.norm[i] = int16(max(1, (int(n)<<c.log+total/2)/total))
		}
		left -= int(c.norm[i])
		if c.norm[i] > c.norm[most] {
			most = i
		}
	}
	if left > 0 {
		c.norm[most] += int16(left)
	}
	for ; left < 0; left++ { // rounded up too often: the commonest miss a place least
		most := 0
		for i := range counts {
			if c.norm[i] > c.norm[most] {
				most = i
			}
		}
		c.norm[most]--
	}
}

// build makes the tables out of the first n shares.
func (c *coder) build(n int) {
	size := 1 << c.log
	var from [maxSymbols + 1]int
	var symbol [1 << maxLog]uint8
	high := size - 1
	for i, share := range c.norm[:n] {
		from[i+1] = from[i] + max(int(share), -int(share))
		if share == -1 {
			symbol[high] = uint8(i)
			high--
		}
	}
	step, at := size>>1+size>>3+3, 0
	for i, share := range c.norm[:n] {
		for range max(share, 0) {
			symbol[at] = uint8(i)
			for at = (at + step) & (size - 1); at > high; at = (at + step) & (size - 1) {
			}
		}
	}
	for i, share := range c.norm[:n] {
		c.symbols[i] = c.transition(max(int(share), -int(share)), from[i])
	}
	for place := range size {
		s := symbol[place]
		c.next[from[s]] = uint16(size + place)
		from[s]++
	}
}

// transition of a symbol with a share of the table, which begins at from.
func (c *coder) transition(share, from int) transition {
	switch share {
	case 0:
		return transition{}
	case 1:
		return transition{bits: uint32(c.log<<16 - 1<<c.log), find: int32(from - 1)}
	}
	out := c.log - (bits.Len(uint(share-1)) - 1)
	return transition{bits: uint32(out<<16 - share<<out), find: int32(from - share)}
}

// first returns a state that a stream may begin with for a symbol.
func (c *coder) first(symbol uint8) uint32 {
	t := c.symbols[symbol]
	out := (t.bits + 1<<15) >> 16
	return uint32(c.next[int32((out<<16-t.bits)>>out)+t.find])
}

// appendShares appends the first n shares as a decoder reads them (RFC 8878, 4.1.1).
func (c *coder) appendShares(dst []byte, n int) []byte {
	out := bitWriter{dst: dst}
	out.add(uint64(c.log-5), 4)
	left, threshold, width := 1<<c.log+1, 1<<c.log, c.log+1
	for i := 0; left > 1; i++ {
		share := int(c.norm[i])
		small := 2*threshold - 1 - left // so many values need a bit less
		left -= share
		value := share + 1
		if value >= threshold {
			value += small
		}
		if value < small {
			out.add(uint64(value), width-1)
		} else {
			out.add(uint64(value), width)
		}
		for left < threshold {
			width, threshold = width-1, threshold>>1
		}
		if share != 0 || left <= 1 {
			continue
		}
		zeroes := 0
		for c.norm[i+1] == 0 {
			i, zeroes = i+1, zeroes+1
		}
		for ; zeroes >= 3; zeroes -= 3 {
			out.add(3, 2)
		}
		out.add(uint64(zeroes), 2)
	}
	return out.close()
}

// bitWriter writes bits, the lowest first.
type bitWriter struct {
	dst   []byte
	value uint64
	width int
}

func (w *bitWriter) add(value uint64, width int) {
	w.value |= value << w.width
	for w.width += width; w.width >= 8; w.width -= 8 {
		w.dst = append(w.dst, byte(w.value))
		w.value >>= 8
	}
}

// close fills the last byte with zeroes.
func (w *bitWriter) close() []byte {
	if w.width > 0 {
		w.dst = append(w.dst, byte(w.value))
	}
	return w.dst
}

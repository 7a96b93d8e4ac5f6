package fastzstd

const (
	hashBits  = 15
	hashBytes = 7
	minMatch  = 4  // bytes; zstd's own least is 3
	margin    = 16 // bytes at the end of a block in which no match begins
	// The finder looks at every second byte, and at ever fewer the longer it
	// finds nothing: one byte more is skipped after each 1<<patience.
	// Seven bytes hashed, and 1<<15 places: fewer bytes find more and shorter
	// matches, which are slower to write and to read than they are worth.
	patience = 5
)

// sequence is some literals and the match that follows them.
type sequence struct {
	literals uint32 // how many
	match    uint32 // its length, less 3
	offset   uint32 // zstd's offset value: 1 for the last offset, else the offset + 3
	codes    [3]uint8
}

// matches is what find found in a block.
type matches struct {
	sequences [maxBlock / minMatch]sequence
	count     int
	literals  [maxBlock + margin]byte
	copied    int // of literals
}

// add adds a sequence of the literals b[from:to], which end at least margin
// bytes before b does, and a match.
func (m *matches) add(b []byte, from, to, length int, offset uint32) {
	n := to - from
	if n <= 16 {
		short := (*[16]byte)(m.literals[m.copied:])
		*short = *(*[16]byte)(b[from:])
	} else {
		copy(m.literals[m.copied:], b[from:to])
	}
	m.copied += n
	m.sequences[m.count] = sequence{literals: uint32(n), match: uint32(length - 3), offset: offset}
	m.count++
}

// hash of the low hashBytes of v.
func hash(v uint64) uint32 {
	const prime = 0xcf1bbcdcbfa563 // zstd's for seven bytes
	return uint32(v << (64 - 8*hashBytes) * prime >> (64 - hashBits))
}

// find fills e.found with the matches of b[from:]; they may begin anywhere in b.
func (e *Encoder) find(b []byte, from int) {
	m, table := &e.found, &e.table
	m.count, m.copied = 0, 0
	done, at := from, max(from, 1) // before done all is in m; a match needs something before it
	last, before := int(e.offsets[0]), int(e.offsets[1])
	end := len(b) - margin
search:
	for at < end {
		var match int
		for {
			word := load64(b, at)
			h0, h1 := hash(word), hash(word>>8)
			m0, m1 := int(table[h0]), int(table[h1])
			table[h0], table[h1] = uint32(at), uint32(at+1)
			if load32(b, at+2-last) == uint32(word>>16) {
				at = m.addRepeat(b, done, at+2, last)
				done = at
				continue search
			}
			if load32(b, m0) == uint32(word) {
				match = m0
				break
			}
			if load32(b, m1) == uint32(word>>8) {
				match, at = m1, at+1
				break
			}
			at += 2 + (at-done)>>patience
			if at >= end {
				break search
			}
		}
		length := minMatch + matchLen(b, at+minMatch, match+minMatch)
		for at > done && match > 0 && b[at-1] == b[match-1] {
			at, match, length = at-1, match-1, length+1
		}
		last, before = at-match, last
		m.add(b, done, at, length, uint32(last)+3)
		at += length
		done = at
		if at >= end {
			break
		}
		table[hash(load64(b, at-2))] = uint32(at - 2)
		for at >= before && load32(b, at-before) == load32(b, at) { // after no literals 1 is the offset before
			length := minMatch + matchLen(b, at+minMatch, at-before+minMatch)
			table[hash(load64(b, at))] = uint32(at)
			m.add(b, at, at, length, 1)
			at += length
			done = at
			last, before = before, last
			if at >= end {
				break search
			}
		}
	}
	m.copied += copy(m.literals[m.copied:], b[done:])
	e.offsets = [2]uint32{uint32(last), uint32(before)}
}

// addRepeat adds the match at b[at:] with the last offset, which begins earlier
// if it can, and returns where it ends. It leaves a literal before it: without
// one the same code would be the offset before the last.
func (m *matches) addRepeat(b []byte, done, at, last int) int {
	match := at - last
	length := minMatch + matchLen(b, at+minMatch, match+minMatch)
	end := at + length
	for at > done+1 && match > 0 && b[at-1] == b[match-1] {
		at, match = at-1, match-1
	}
	m.add(b, done, at, end-at, 1)
	return end
}

package model

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"strings"
)

// SortRows orders rows by the column with that ID; an unknown ID is the name.
// Ties are broken by name, host and UUID, always ascending, so that the order
// never depends on the one before. Names compare in natural order, web2
// before web10, whatever their case. An unknown value comes last in both
// directions.
func SortRows(rows []*Row, by string, desc bool) {
	col, ok := ColumnByID(by)
	if !ok {
		col, _ = ColumnByID("name")
	}
	arena := make([]byte, 0, 48*len(rows))
	keys := make([]sortKey, len(rows))
	for i, r := range rows {
		keys[i] = col.key(r, &arena)
		keys[i].row = r
		if col.ID == "name" {
			keys[i].name = keys[i].text
		} else {
			keys[i].name = naturalKey(r.Name, &arena)
		}
	}
	ranks := rankAll(keys, desc)
	slices.SortFunc(ranks, func(a, b rank) int {
		if a.head != b.head {
			return cmp.Compare(a.head, b.head)
		}
		ka, kb := &keys[a.at], &keys[b.at]
		if d := ka.compare(kb, desc); d != 0 {
			return d
		}
		if d := compareIdentity(ka, kb); d != 0 {
			return d
		}
		return cmp.Compare(a.at, b.at)
	})
	for i, r := range ranks {
		rows[i] = keys[r.at].row
	}
}

// sortKey is what a row is sorted by, worked out once a row rather than once
// a comparison.
type sortKey struct {
	num     float64
	text    []byte
	name    []byte
	unknown bool
	row     *Row
}

// rank is what is moved about while sorting: small, and mostly decided by its
// head alone.
type rank struct {
	head uint64 // orders as the key does, as far as eight bytes can
	at   int32  // index of the key
}

func rankAll(keys []sortKey, desc bool) []rank {
	skip := commonPrefix(keys)
	ranks := make([]rank, len(keys))
	for i := range keys {
		ranks[i] = rank{head: keys[i].head(skip, desc), at: int32(i)}
	}
	return ranks
}

// commonPrefix is how many bytes all known texts begin with alike: names in a
// fleet often do, and the bytes after that tell them apart.
func commonPrefix(keys []sortKey) int {
	var first []byte
	n := -1
	for i := range keys {
		switch k := &keys[i]; {
		case k.unknown:
		case n < 0:
			first, n = k.text, len(k.text)
		default:
			n = min(n, len(k.text))
			for n > 0 && !bytes.Equal(first[:n], k.text[:n]) {
				n--
			}
		}
	}
	return max(n, 0)
}

// head is the key as a number; equal heads need a full comparison. Unknown
// is the largest in either direction.
func (k *sortKey) head(skip int, desc bool) uint64 {
	if k.unknown {
		return math.MaxUint64
	}
	var h uint64
	if len(k.text) > 0 {
		var b [8]byte
		copy(b[:], k.text[skip:])
		h = binary.BigEndian.Uint64(b[:])
	} else {
		h = orderedBits(k.num)
	}
	if desc {
		h = ^h
	}
	return min(h, math.MaxUint64-1)
}

// orderedBits maps numbers to integers of the same order: the bits of a
// positive IEEE 754 number already compare so, those of a negative one the
// other way round.
func orderedBits(f float64) uint64 {
	b := math.Float64bits(f + 0) // -0 becomes 0
	if b>>63 == 1 {
		return ^b
	}
	return b | 1<<63
}

func (a *sortKey) compare(b *sortKey, desc bool) int {
	if a.unknown || b.unknown {
		return cmp.Compare(boolNumber(a.unknown), boolNumber(b.unknown))
	}
	d := cmp.Compare(a.num, b.num)
	if d == 0 {
		d = bytes.Compare(a.text, b.text)
	}
	if desc {
		return -d
	}
	return d
}

func compareIdentity(a, b *sortKey) int {
	if d := bytes.Compare(a.name, b.name); d != 0 {
		return d
	}
	if d := strings.Compare(a.row.Name, b.row.Name); d != 0 {
		return d
	}
	if d := strings.Compare(a.row.Host, b.row.Host); d != 0 {
		return d
	}
	return bytes.Compare(a.row.UUID[:], b.row.UUID[:])
}

// key is the row's value in this column. Text is built at the arena's end, so
// that ten thousand keys are a handful of allocations.
func (c Column) key(r *Row, arena *[]byte) sortKey {
	if c.number != nil {
		n := c.number(r)
		return sortKey{num: n, unknown: math.IsNaN(n)}
	}
	s := c.text(r)
	if c.raw {
		return sortKey{text: rawKey(s, arena), unknown: s == ""}
	}
	return sortKey{text: naturalKey(s, arena), unknown: s == ""}
}

// rawKey is s as it stands.
func rawKey(s string, arena *[]byte) []byte {
	if arena == nil {
		return []byte(s)
	}
	start := len(*arena)
	*arena = append(*arena, s...)
	return (*arena)[start:len(*arena):len(*arena)]
}

// naturalKey is s in a form whose bytes compare in natural order: lower case,
// and each run of digits preceded by its length, without leading zeros.
func naturalKey(s string, arena *[]byte) []byte {
	if arena == nil {
		arena = new([]byte)
	}
	out := *arena
	start := len(out)
	for i := 0; i < len(s); {
		c := s[i]
		if c < '0' || c > '9' {
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			out = append(out, c)
			i++
			continue
		}
		end := i
		for end < len(s) && s[end] >= '0' && s[end] <= '9' {
			end++
		}
		for i < end-1 && s[i] == '0' {
			i++
		}
		// The '0' keeps a number before letters, where its digits stood; the
		// length, of at most 255 digits, makes the longer number the larger.
		out = append(out, '0', byte(min(end-i, 255)))
		out = append(out, s[i:end]...)
		i = end
	}
	*arena = out
	return out[start:len(out):len(out)]
}

// ipKey makes addresses compare as numbers, IPv4 first.
func ipKey(r *Row) string {
	if len(r.Addresses) == 0 {
		return ""
	}
	first, _, _ := strings.Cut(r.Addresses[0], "/")
	a, err := netip.ParseAddr(first)
	if err != nil {
		return "\xff" + first
	}
	b := a.As16()
	if a.Is4() || a.Is4In6() {
		return "4" + string(b[:])
	}
	return "6" + string(b[:])
}

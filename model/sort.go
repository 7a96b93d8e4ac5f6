package model

import (
	"bytes"
	"cmp"
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
	arena := make([]byte, 0, 32*len(rows))
	keys := make([]sortKey, len(rows))
	for i, r := range rows {
		k := col.key(r, &arena)
		k.row, k.order = r, i
		if col.ID == "name" {
			k.name = k.text
		} else {
			k.name = naturalKey(r.Name, &arena)
		}
		keys[i] = k
	}
	slices.SortFunc(keys, func(a, b sortKey) int {
		if d := a.compare(&b, desc); d != 0 {
			return d
		}
		return compareIdentity(&a, &b)
	})
	for i := range keys {
		rows[i] = keys[i].row
	}
}

// sortKey is what a row is sorted by, worked out once a row rather than once
// a comparison.
type sortKey struct {
	num     float64
	text    []byte
	name    []byte
	unknown bool
	order   int // where it stood, for rows that are alike in everything
	row     *Row
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
	if d := bytes.Compare(a.row.UUID[:], b.row.UUID[:]); d != 0 {
		return d
	}
	return cmp.Compare(a.order, b.order)
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
		return sortKey{text: []byte(s), unknown: s == ""}
	}
	return sortKey{text: naturalKey(s, arena), unknown: s == ""}
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

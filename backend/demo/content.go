package demo

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"time"

	"berth/backend"
)

const (
	// slotSize is how much a guest writes at a time.
	slotSize = 16 * kib
	// grainSize is the grain of dirty bitmaps, as QEMU's are by default.
	grainSize = 64 * kib
	// roomy is the size from which an image holds more than a few writes.
	roomy = 256 * mib
)

// Where things lie in a roomy image: a file system, then data of its own;
// what the guest keeps writing to is further back.
const (
	fsOffset  = 1 * mib
	fsSize    = 40 * mib
	ownOffset = 64 * mib
)

// layout says what an image holds. Its content is a function of the layout
// and of how many writes the guest has made since the image began, so that an
// image of some weeks ago can be made as well as today's.
type layout struct {
	size int64
	seed uint64
	os   string // a file system of that system comes first; empty: none
	name string // the host's name in it
	own  int64  // bytes of data of its own
	iso  bool   // a CD-ROM's image

	// hot are the places to which the guest writes, in the order in which it
	// does, round and round. logs are those of them that lie in a log file.
	hot  []int64
	logs map[int64]bool
}

// newLayout makes the layout of an image to which a guest writes at so many
// places.
func newLayout(size int64, seed uint64, places int) *layout {
	l := &layout{size: size, seed: seed}
	switch {
	case size < mib:
		places = 0
	case size < roomy:
		places = 4
	}
	base := size * 2 / 5 / grainSize * grainSize
	if size >= roomy {
		base = size * 2 / 5 / mib * mib
	}
	var spread []int64
	for i := range places {
		if i < 4 || i%2 == 0 { // a journal, in one piece
			l.hot = append(l.hot, base+int64(len(l.hot))*slotSize)
		} else { // and the pages of a table
			n := int64(len(spread))
			spread = append(spread, base+mib*(1+int64(places)*slotSize/mib+n/16)+n%16/4*4*grainSize+n%4*slotSize)
		}
	}
	c := newChance(seed, streamImages, 1)
	for i := len(spread) - 1; i > 0; i-- {
		j := c.below(i + 1)
		spread[i], spread[j] = spread[j], spread[i]
	}
	for i, at := range spread { // now the one, now the other
		l.hot = slices.Insert(l.hot, min(4+2*i, len(l.hot)), at)
	}
	return l
}

// settle completes the layout with what is known once its file system is made.
func (l *layout) settle(t *fsTemplate) {
	if l.logs != nil || t == nil {
		return
	}
	l.logs = map[int64]bool{}
	if t.logAt == 0 {
		return
	}
	for i := range int64(t.logLen / slotSize) {
		at := fsOffset + t.logAt + i*slotSize
		l.logs[at] = true
		l.hot = slices.Insert(l.hot, min(int(i)*4, len(l.hot)), at)
	}
}

// fill writes what was there before the guest's first write; the file system
// is in its place already.
func (l *layout) fill(w io.WriterAt, t *fsTemplate) error {
	if l.iso {
		return l.fillISO(w)
	}
	if t != nil {
		name := make([]byte, hostnameLen)
		for i := range name {
			name[i] = '\n'
		}
		copy(name[:hostnameLen-1], l.name)
		if _, err := w.WriteAt(name, fsOffset+t.hostnameAt); err != nil {
			return err
		}
	}
	buf := make([]byte, slotSize)
	c := newChance(l.seed, streamImages, 2)
	for at := int64(0); at < l.own; at += slotSize {
		mixed(&c, int(at/slotSize), buf)
		if _, err := w.WriteAt(buf, ownOffset+at); err != nil {
			return err
		}
	}
	return nil
}

// fillISO writes a volume descriptor (ECMA-119, 8.4) and something behind it.
func (l *layout) fillISO(w io.WriterAt) error {
	head := make([]byte, 2048)
	copy(head, "\x01CD001\x01")
	copy(head[40:], fmt.Sprintf("%-32.32s", l.name))
	if _, err := w.WriteAt(head, 16*2048); err != nil {
		return err
	}
	buf := make([]byte, slotSize)
	c := newChance(l.seed, streamImages, 2)
	for i := range 16 {
		mixed(&c, i, buf)
		if _, err := w.WriteAt(buf, mib+int64(i)*slotSize); err != nil {
			return err
		}
	}
	return nil
}

// write brings the image from one number of writes to a later one. What is
// written over in between is left out.
func (l *layout) write(w io.WriterAt, from, to int64) error {
	n := int64(len(l.hot))
	if n == 0 {
		return nil
	}
	buf := make([]byte, slotSize)
	for k := max(from, to-n); k < to; k++ {
		at := l.hot[k%n]
		c := newChance(l.seed, streamImages, uint64(k)+16)
		if l.logs[at] {
			logLines(&c, k, buf)
		} else {
			mixed(&c, int(k), buf)
		}
		if _, err := w.WriteAt(buf, at); err != nil {
			return err
		}
	}
	return nil
}

// dirty is what a bitmap that began at one number of writes holds at a later
// one: whole grains, in order. It is never nil.
func (l *layout) dirty(from, to int64) []backend.Extent {
	n := int64(len(l.hot))
	grains := map[int64]bool{}
	for k := max(from, to-n, 0); k < to && n > 0; k++ {
		at := l.hot[k%n]
		grains[at/grainSize] = true
		grains[(at+slotSize-1)/grainSize] = true
	}
	return grainExtents(grains, l.size)
}

// grainExtents joins neighbours.
func grainExtents(grains map[int64]bool, size int64) []backend.Extent {
	sorted := make([]int64, 0, len(grains))
	for g := range grains {
		sorted = append(sorted, g)
	}
	slices.Sort(sorted)
	list := []backend.Extent{}
	for _, g := range sorted {
		at := g * grainSize
		length := min(grainSize, size-at)
		if n := len(list); n > 0 && list[n-1].Offset+list[n-1].Length == at {
			list[n-1].Length += length
		} else if length > 0 {
			list = append(list, backend.Extent{Offset: at, Length: length, Kind: backend.ExtentData})
		}
	}
	return list
}

// holds is about how much the image takes, before it is made.
func (l *layout) holds() int64 {
	sum := l.own + int64(len(l.hot))*slotSize
	if l.os != "" {
		sum += fsHolds
	}
	if l.iso {
		sum += 18 * slotSize
	}
	return sum
}

// mixed fills p with one of the kinds of data that disks hold: text, records,
// machine code or the like, what is compressed or encrypted already, and
// pages that are half empty.
func mixed(c *chance, kind int, p []byte) {
	switch kind % 5 {
	case 0:
		prose(c, p)
	case 1:
		records(c, p)
	case 2:
		code(c, p)
	case 3:
		random(c, p)
	default:
		clear(p)
		records(c, p[:len(p)/2])
	}
}

func random(c *chance, p []byte) {
	for i := 0; i+8 <= len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], c.pcg.Uint64())
	}
}

// code is about as dense as machine code: few values are common.
func code(c *chance, p []byte) {
	common := [...]byte{0x48, 0x89, 0xe5, 0x8b, 0x0f, 0xff, 0xe8, 0, 0x55, 0xc3, 0x24, 0x83, 0xc0, 0x45, 0x01, 0x41}
	for i := 0; i+8 <= len(p); i += 8 {
		u := c.pcg.Uint64()
		for j := range 6 {
			p[i+j] = common[u>>(4*j)&15]
		}
		binary.LittleEndian.PutUint16(p[i+6:], uint16(u>>48))
	}
}

// records are rows of a table.
func records(c *chance, p []byte) {
	for i := 0; i < len(p); {
		row := fmt.Appendf(nil, "%08x|%s|%s|%d.%02d|open\n", uint32(c.pcg.Uint64()), pick(c, people), pick(c, serviceNames), c.below(900), c.below(100))
		i += copy(p[i:], row)
	}
}

var words = []string{"the", "host", "of", "a", "virtual", "machine", "keeps", "its", "disk", "image", "in", "pool", "and", "every", "night",
	"somebody", "makes", "backup", "which", "nobody", "looks", "at", "until", "it", "is", "needed", "then", "all", "wish", "they", "had"}

func prose(c *chance, p []byte) {
	for i := 0; i < len(p); {
		i += copy(p[i:], words[c.below(len(words))])
		if i < len(p) {
			p[i] = ' '
			if c.happens(0.08) {
				p[i] = '\n'
			}
			i++
		}
	}
}

// logLines are what a system logs; the last one is filled up with blanks, so
// that each stretch of a log file ends with a line's end.
func logLines(c *chance, k int64, p []byte) {
	at := time.Unix(1_700_000_000+k*60, 0).UTC()
	i := 0
	for {
		at = at.Add(time.Duration(c.below(900)) * time.Millisecond)
		line := fmt.Sprintf("%s %s[%d]: %s %s %s, request %d\n", at.Format(time.RFC3339), pick(c, serviceNames), 300+c.below(900),
			pick(c, words), pick(c, words), pick(c, words), k)
		if i+len(line) > len(p) {
			break
		}
		i += copy(p[i:], line)
	}
	for ; i < len(p); i++ {
		p[i] = ' '
	}
	p[len(p)-1] = '\n'
}

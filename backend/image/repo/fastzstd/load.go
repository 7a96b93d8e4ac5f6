package fastzstd

import (
	"math/bits"
	"unsafe"
)

// The loads do without the checks of bounds that cost a sixth of the time:
// their callers stay margin bytes off the end. The race detector's builds check
// the pointers, and the fuzz test runs under it.

// load32 returns the four bytes of b at i. It assumes a little-endian machine
// no more than its callers do: all they do with words is compare them and count
// equal bytes from the low end, so see matchLen.
func load32(b []byte, i int) uint32 {
	return *(*uint32)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i))
}

// load64 returns the eight bytes of b at i.
func load64(b []byte, i int) uint64 {
	return *(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i))
}

// matchLen counts the bytes that are the same at b[i:] and b[j:], j < i.
func matchLen(b []byte, i, j int) int {
	from := i
	for ; i+8 <= len(b); i, j = i+8, j+8 {
		if differ := load64(b, i) ^ load64(b, j); differ != 0 {
			return i - from + bits.TrailingZeros64(differ)>>3
		}
	}
	for i < len(b) && b[i] == b[j] {
		i, j = i+1, j+1
	}
	return i - from
}

package disk

import (
	"fmt"
	"slices"

	"berth/backend"
)

// overlay puts ExtentClean where a bitmap has nothing. dirty is in order,
// without overlaps, and holds only stretches that changed; map and dirty
// are looked at from offset to end.
func overlay(content, dirty []backend.Extent) []backend.Extent {
	var out []backend.Extent
	for _, e := range content {
		i, _ := slices.BinarySearchFunc(dirty, e.Offset, func(d backend.Extent, at int64) int {
			if d.Offset+d.Length <= at {
				return -1
			}
			return 1
		})
		at, end := e.Offset, e.Offset+e.Length
		for ; i < len(dirty) && dirty[i].Offset < end; i++ {
			from, to := max(dirty[i].Offset, at), min(dirty[i].Offset+dirty[i].Length, end)
			out = appendExtent(out, backend.Extent{Offset: at, Length: from - at, Kind: backend.ExtentClean})
			out = appendExtent(out, backend.Extent{Offset: from, Length: to - from, Kind: e.Kind})
			at = to
		}
		out = appendExtent(out, backend.Extent{Offset: at, Length: end - at, Kind: backend.ExtentClean})
	}
	return out
}

// sortedDirty orders what changed and joins what overlaps, within the disk.
func sortedDirty(dirty []backend.Extent, size int64) ([]backend.Extent, error) {
	list := slices.Clone(dirty)
	slices.SortFunc(list, func(a, b backend.Extent) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
	out := list[:0]
	for _, e := range list {
		if e.Offset < 0 || e.Length < 0 || e.Offset > size {
			return nil, fmt.Errorf("%w: a changed stretch of %d bytes at %d of a disk of %d", backend.ErrInvalid, e.Length, e.Offset, size)
		}
		e.Length = min(e.Length, size-e.Offset)
		if n := len(out); n > 0 && out[n-1].Offset+out[n-1].Length >= e.Offset {
			end := max(out[n-1].Offset+out[n-1].Length, e.Offset+e.Length)
			out[n-1].Length = end - out[n-1].Offset
			continue
		}
		if e.Length > 0 {
			out = append(out, backend.Extent{Offset: e.Offset, Length: e.Length})
		}
	}
	return out, nil
}

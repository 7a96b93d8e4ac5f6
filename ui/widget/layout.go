package widget

import "strings"

// Column is one column of a table, with its final width.
type Column struct {
	Title string
	Width int
	Right bool
	Sort  int8 // -1 sorted downwards, 1 upwards, 0 not sorted by
	Index int  // which ColumnSpec it was made from
}

// ColumnSpec is what a column would like.
type ColumnSpec struct {
	Title    string
	Min, Max int // cells; Max 0 is Min
	// Priority 0 is never dropped; of the others the highest goes first when
	// there is no room, and among equals the last.
	Priority int
	Right    bool
	Flex     int // share of the room that is left once all have their Max
	Sort     int8
}

// columnGap is the blanks between columns.
const columnGap = 1

// Layout chooses columns for a table w cells wide and gives each a width.
// The last cell of a table belongs to its scroll bar. Columns get their Min,
// then grow to their Max from left to right, and those with Flex share what
// is left. Columns that are never dropped are cut when even they have no
// room.
func Layout(w int, want []ColumnSpec) []Column {
	room := w - scrollBarWidth
	kept := make([]int, len(want))
	for i := range want {
		kept[i] = i
	}
	for len(kept) > 0 && minimum(want, kept) > room {
		drop := leastWanted(want, kept)
		if drop < 0 {
			break
		}
		kept = append(kept[:drop], kept[drop+1:]...)
	}
	columns := make([]Column, len(kept))
	for i, k := range kept {
		s := &want[k]
		columns[i] = Column{Title: s.Title, Width: s.Min, Right: s.Right, Sort: s.Sort, Index: k}
	}
	grow(columns, want, room-minimum(want, kept))
	shrink(columns, room)
	return columns
}

func minimum(want []ColumnSpec, kept []int) int {
	sum := columnGap * (len(kept) - 1)
	for _, k := range kept {
		sum += want[k].Min
	}
	return sum
}

// leastWanted is the place in kept of the column to drop, or -1.
func leastWanted(want []ColumnSpec, kept []int) int {
	drop, highest := -1, 1
	for i, k := range kept {
		if p := want[k].Priority; p >= highest {
			drop, highest = i, p
		}
	}
	return drop
}

// grow hands out spare cells: evenly up to each column's Max, then to the
// flexible ones by their shares.
func grow(columns []Column, want []ColumnSpec, spare int) {
	for spare > 0 {
		before := spare
		for i := range columns {
			if spare > 0 && columns[i].Width < want[columns[i].Index].Max {
				columns[i].Width++
				spare--
			}
		}
		if spare == before {
			break
		}
	}
	shares := 0
	for i := range columns {
		shares += want[columns[i].Index].Flex
	}
	for i := range columns {
		flex := want[columns[i].Index].Flex
		if shares == 0 || spare <= 0 || flex == 0 {
			continue
		}
		part := spare * flex / shares
		columns[i].Width += part
		spare -= part
		shares -= flex
	}
}

// shrink cuts columns from the right until they fit.
func shrink(columns []Column, room int) {
	over := columnGap*(len(columns)-1) - room
	for i := range columns {
		over += columns[i].Width
	}
	for i := len(columns) - 1; i >= 0 && over > 0; i-- {
		cut := min(over, columns[i].Width)
		columns[i].Width -= cut
		over -= cut
	}
}

// ColumnAt is the column whose header or cell is at x, or -1 between and
// behind columns.
func ColumnAt(columns []Column, x int) int {
	left := 0
	for i := range columns {
		if x >= left && x < left+columns[i].Width {
			return i
		}
		left += columns[i].Width + columnGap
	}
	return -1
}

// headerText is a column's title with its sort mark, in its width.
func headerText(c *Column, asc, desc string) string {
	mark := ""
	switch {
	case c.Sort > 0:
		mark = asc
	case c.Sort < 0:
		mark = desc
	default:
		return c.Title
	}
	if c.Width <= Width(mark) {
		return c.Title
	}
	title, _ := Cut(c.Title, c.Width-Width(mark), "")
	return strings.TrimRight(title, " ") + mark
}

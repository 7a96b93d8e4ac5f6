package model

import "fmt"

// picker is what a person chooses from: entries that have an identity, with
// headings between them. Selection and marks belong to entries, never to
// lines, and so survive every refresh, sort and filter.
type picker[K comparable] struct {
	lines []pickLine[K]
	at    []int // the lines that are entries

	cursor K    // the entry that the person selected, shown or not
	chosen bool // a person has selected one
	index  int  // the selected entry's place in at
	top    int  // the first line on the screen
	page   int

	marks  map[K]bool
	anchor K
	hidden int // marked entries that a filter hides
}

// ListView is a list's place on the screen.
type ListView interface {
	Top() int                 // the first line on the screen
	Page() int                // how many lines the screen has room for
	Line() int                // the selected line; -1 when there is none
	Len() int                 // how many lines there are
	Marks() (all, hidden int) // marked entries, and those that a filter hides
}

// pickList is a picker of any kind of entries.
type pickList interface {
	marker
	ListView
	Move(n int)
	setPage(n int)
	scroll(n int)
	click(line int) (again bool)
	meant() string
}

// pickLine is one line: an entry, or a heading for those below it.
type pickLine[K comparable] struct {
	key  K
	head bool
}

// show brings in new lines. The selected entry stays selected and on the same
// line of the screen; when it is gone, the one in its place is. known tells
// whether a marked entry exists, though it be hidden.
func (p *picker[K]) show(lines []pickLine[K], known func(K) bool) {
	offset := p.line() - p.top
	p.lines, p.at = lines, p.at[:0]
	shown := make(map[K]bool, len(lines))
	for i := range lines {
		if !lines[i].head {
			p.at = append(p.at, i)
			shown[lines[i].key] = true
		}
	}
	p.hidden = 0
	for k := range p.marks {
		switch {
		case shown[k]:
		case known(k):
			p.hidden++
		default:
			delete(p.marks, k)
		}
	}
	if p.chosen {
		p.find()
		p.top = p.line() - offset
	}
	p.clamp()
}

// find sets index to the selected entry's place.
func (p *picker[K]) find() {
	for i, line := range p.at {
		if p.lines[line].key == p.cursor {
			p.index = i
			return
		}
	}
}

// line is the line that the selected entry is on.
func (p *picker[K]) line() int {
	if p.index < len(p.at) {
		return p.at[p.index]
	}
	return 0
}

func (p *picker[K]) clamp() {
	p.index = max(0, min(p.index, len(p.at)-1))
	at := p.line()
	from := at
	if at > 0 && at <= len(p.lines) && p.lines[at-1].head && p.page > 1 {
		from-- // its heading too
	}
	p.top = min(p.top, from)
	p.top = max(p.top, at-p.page+1)
	p.top = max(0, min(p.top, len(p.lines)-p.page))
}

// adopt makes the entry under the cursor the one that the person selected.
func (p *picker[K]) adopt() {
	p.clamp()
	p.chosen = true
	if k, ok := p.selected(); ok {
		p.cursor = k
	}
}

// selected is the entry under the cursor; false when there is none.
func (p *picker[K]) selected() (k K, ok bool) {
	if p.index < len(p.at) {
		return p.lines[p.at[p.index]].key, true
	}
	return k, false
}

// slid reports whether another entry than the person selected is under the
// cursor, because that one left the list.
func (p *picker[K]) slid() bool {
	k, ok := p.selected()
	return ok && p.chosen && k != p.cursor && len(p.marks) == p.hidden
}

func (p *picker[K]) setPage(n int) {
	p.page = max(1, n)
	p.clamp()
}

// Top is the first line on the screen.
func (p *picker[K]) Top() int { return p.top }

// Page is how many lines the screen has room for.
func (p *picker[K]) Page() int { return p.page }

// Line is the line that the selected entry is on, -1 when there is none.
func (p *picker[K]) Line() int {
	if len(p.at) == 0 {
		return -1
	}
	return p.line()
}

// Len is how many lines there are.
func (p *picker[K]) Len() int { return len(p.lines) }

// Move moves the selection by n entries.
func (p *picker[K]) Move(n int) {
	p.index += n
	p.adopt()
}

func (p *picker[K]) choose(k K) {
	p.cursor, p.chosen = k, true
	p.find()
	p.adopt()
}

// click selects the entry on a line; a heading does nothing. It reports whether
// that entry was selected already.
func (p *picker[K]) click(line int) (again bool) {
	for i, at := range p.at {
		if at == line {
			again = p.index == i && p.chosen
			p.index = i
			p.adopt()
		}
	}
	return again
}

// scroll moves the lines under the selection, which stays on the screen.
func (p *picker[K]) scroll(n int) {
	p.top = max(0, min(p.top+n, len(p.lines)-p.page))
	for p.index < len(p.at)-1 && p.line() < p.top {
		p.index++
	}
	for p.index > 0 && p.line() >= p.top+p.page {
		p.index--
	}
	p.adopt()
}

func (p *picker[K]) toggle(k K) {
	if p.marks == nil {
		p.marks = map[K]bool{}
	}
	if p.marks[k] {
		delete(p.marks, k)
	} else {
		p.marks[k] = true
	}
}

// Mark toggles the mark of the selected entry and moves on.
func (p *picker[K]) Mark() {
	if k, ok := p.selected(); ok {
		p.toggle(k)
		p.anchor = k
		p.Move(1)
	}
}

// MarkRange marks everything between the last toggled entry and the selected.
func (p *picker[K]) MarkRange() {
	if len(p.at) == 0 {
		return
	}
	from := p.index
	for i, line := range p.at {
		if p.lines[line].key == p.anchor {
			from = i
		}
	}
	for i := min(from, p.index); i <= max(from, p.index); i++ {
		if k := p.lines[p.at[i]].key; !p.marks[k] {
			p.toggle(k)
		}
	}
	p.anchor, _ = p.selected()
}

// MarkAll marks every entry shown.
func (p *picker[K]) MarkAll() {
	for _, line := range p.at {
		if k := p.lines[line].key; !p.marks[k] {
			p.toggle(k)
		}
	}
}

// InvertMarks marks every entry shown that is not marked, and unmarks the others.
func (p *picker[K]) InvertMarks() {
	for _, line := range p.at {
		p.toggle(p.lines[line].key)
	}
}

// ClearMarks removes all marks.
func (p *picker[K]) ClearMarks() {
	clear(p.marks)
	p.hidden = 0
}

// Marks is how many entries are marked, and how many of them a filter hides.
func (p *picker[K]) Marks() (all, hidden int) { return len(p.marks), p.hidden }

func (p *picker[K]) marked(k K) bool { return p.marks[k] }

// meant is what an action is meant for, to be compared later.
func (p *picker[K]) meant() string { return fmt.Sprint(p.targets()) }

// targets are the entries that an action is meant for: the marked ones that
// are shown, or else the selected one.
func (p *picker[K]) targets() []K {
	var out []K
	if len(p.marks) > p.hidden {
		for _, line := range p.at {
			if k := p.lines[line].key; p.marks[k] {
				out = append(out, k)
			}
		}
		return out
	}
	if k, ok := p.selected(); ok {
		out = append(out, k)
	}
	return out
}

package demo

import "container/heap"

// agenda is what will happen, ordered by when; what falls on one moment
// happens in the order in which it was noted.
type agenda struct {
	items entries
	noted uint64
}

type entry struct {
	at    storyTime
	order uint64
	do    func()
}

// add notes that do happens at the given moment.
func (a *agenda) add(at storyTime, do func()) {
	a.noted++
	heap.Push(&a.items, entry{at, a.noted, do})
}

// next is when the first thing happens; false when nothing will.
func (a *agenda) next() (storyTime, bool) {
	if len(a.items) == 0 {
		return 0, false
	}
	return a.items[0].at, true
}

// pop takes the first thing off.
func (a *agenda) pop() entry { return heap.Pop(&a.items).(entry) }

// entries is a heap.Interface.
type entries []entry

func (e entries) Len() int      { return len(e) }
func (e entries) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *entries) Push(x any)   { *e = append(*e, x.(entry)) }

func (e entries) Less(i, j int) bool {
	if e[i].at != e[j].at {
		return e[i].at < e[j].at
	}
	return e[i].order < e[j].order
}

func (e *entries) Pop() any {
	old := *e
	last := len(old) - 1
	x := old[last]
	old[last] = entry{}
	*e = old[:last]
	return x
}

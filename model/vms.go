package model

import (
	"slices"
	"time"
	"unicode/utf8"

	"berth/backend"
)

// VMs is the list of VMs: which are shown, in what order, which is selected
// and which are marked. Selection, marks and scroll belong to the VM, never
// to a row number, and so survive every refresh, sort and filter.
type VMs struct {
	fleet *Fleet

	Columns []string // IDs, in order
	SortBy  string
	Desc    bool

	// unchosen is whether nobody has chosen the columns yet: then what turns out
	// to be needed may join them.
	unchosen bool

	filter     Filter
	filterText string // as typed; may be ahead of filter while it has an error
	filterErr  error

	visible []*Row
	cursor  backend.Key // the VM that the person selected, shown or not
	index   int         // the selected row in visible: the cursor's, or the one in its place
	top     int         // first visible row on the screen
	page    int         // rows the screen has room for

	marks   map[backend.Key]bool
	anchor  backend.Key // where a range of marks begins
	targets []*Row      // the marked rows that are shown; nil when not worked out
	hidden  int         // how many of them the filter hides

	widths  Widths
	version int // counts changes of rows and marks

	// chosen is whether a person has selected a VM. Until then the first row is
	// selected, whichever VM that is, while the hosts answer one after another.
	chosen bool
}

// NewVMs makes a list over fleet's rows.
func NewVMs(fleet *Fleet, columns []string, sortBy string, desc bool) *VMs {
	if len(columns) == 0 {
		columns = DefaultColumnIDs()
	}
	unchosen := slices.Equal(columns, DefaultColumnIDs()) // the command line fills them in
	if sortBy == "" {
		sortBy = "name"
	}
	return &VMs{fleet: fleet, Columns: columns, unchosen: unchosen, SortBy: sortBy, Desc: desc, page: 20, marks: map[backend.Key]bool{}}
}

// choose shows the columns that a person has chosen.
func (v *VMs) choose(ids []string) { v.Columns, v.unchosen = ids, false }

// need shows a column that the fleet turns out to need, behind the memory's,
// unless a person has chosen the columns.
func (v *VMs) need(id string) {
	if !v.unchosen || slices.Contains(v.Columns, id) {
		return
	}
	v.Columns = slices.Insert(slices.Clone(v.Columns), slices.Index(v.Columns, "mem")+1, id)
}

// Rebuild works out anew which rows are shown and in what order. The selected
// VM stays selected and on the same line of the screen; when it is gone, the
// VM that took its place is selected.
func (v *VMs) Rebuild() {
	offset := v.index - v.top
	v.version++
	v.visible = v.visible[:0]
	for _, r := range v.fleet.rows {
		if v.filter.Match(r) {
			v.visible = append(v.visible, r)
		}
	}
	SortRows(v.visible, v.SortBy, v.Desc)
	v.widths = widthsOf(v.visible)
	v.forgetMarks()
	if v.chosen {
		v.index = v.find(v.cursor)
		v.top = v.index - offset
	}
	v.clamp()
}

// find returns the selected VM's index, or where it was when it is gone.
func (v *VMs) find(k backend.Key) int {
	for i, r := range v.visible {
		if r.UUID == k.UUID && r.Host == k.Host {
			return i
		}
	}
	return v.index
}

// changed forgets what was worked out from rows and marks.
func (v *VMs) changed() {
	v.version++
	v.targets = nil
}

func (v *VMs) forgetMarks() {
	v.changed()
	for k := range v.marks {
		if v.fleet.Row(k) == nil {
			delete(v.marks, k)
		}
	}
}

// clamp keeps the cursor on a row and on the screen.
func (v *VMs) clamp() {
	v.index = max(0, min(v.index, len(v.visible)-1))
	v.top = min(v.top, v.index)
	v.top = max(v.top, v.index-v.page+1)
	v.top = max(0, min(v.top, len(v.visible)-v.page))
}

// adopt makes the VM under the cursor the one that the person selected.
func (v *VMs) adopt() {
	v.clamp()
	v.chosen = true
	if len(v.visible) > 0 {
		v.cursor = v.visible[v.index].Key()
	}
}

// Slid reports whether the VM under the cursor is another than the person
// selected, because that one left the list.
func (v *VMs) Slid() bool {
	r := v.Selected()
	return r != nil && v.chosen && r.Key() != v.cursor
}

// SetPage tells how many rows the screen has room for.
func (v *VMs) SetPage(rows int) {
	v.page = max(1, rows)
	v.clamp()
}

// Visible returns the rows shown, in order. The slice is the list's own.
func (v *VMs) Visible() []*Row { return v.visible }

// Top is the index of the first row on the screen.
func (v *VMs) Top() int { return v.top }

// Index is the selected row's index.
func (v *VMs) Index() int { return v.index }

// Selected returns the selected row, or nil when the list is empty.
func (v *VMs) Selected() *Row {
	if v.index < len(v.visible) {
		return v.visible[v.index]
	}
	return nil
}

// Move moves the selection by n rows and stops at either end.
func (v *VMs) Move(n int) {
	v.index += n
	v.adopt()
}

// Select selects the row at index i, as a click does.
func (v *VMs) Select(i int) {
	v.index = i
	v.adopt()
}

// SelectKey selects a VM if it is shown.
func (v *VMs) SelectKey(k backend.Key) {
	v.index = v.find(k)
	v.adopt()
}

// Scroll moves the rows under the selection by n, as a wheel does; the
// selection stays on the screen.
func (v *VMs) Scroll(n int) {
	v.top = max(0, min(v.top+n, len(v.visible)-v.page))
	v.index = max(v.top, min(v.index, v.top+v.page-1))
	v.adopt()
}

// Page is how many rows the screen has room for.
func (v *VMs) Page() int { return v.page }

// Sort orders by a column; the same column again turns the order round.
func (v *VMs) Sort(id string) {
	if v.SortBy == id {
		v.Desc = !v.Desc
	} else {
		c, _ := ColumnByID(id)
		v.SortBy, v.Desc = id, c.Descending
	}
	v.Rebuild()
}

// SortNext orders by the next shown column, or the one before with step -1.
func (v *VMs) SortNext(step int) {
	n := len(v.Columns)
	i := slices.Index(v.Columns, v.SortBy)
	id := v.Columns[((i+step)%n+n)%n]
	c, _ := ColumnByID(id)
	v.SortBy, v.Desc = id, c.Descending
	v.Rebuild()
}

// TypeFilter filters by an expression that is still being typed. While it has
// an error the last good filter stays in force.
func (v *VMs) TypeFilter(text string) error {
	v.filterText = text
	f, err := parseFilter(text, v.fleet.clock.Now)
	v.filterErr = err
	if err == nil {
		v.filter = f
		v.Rebuild()
	}
	return err
}

// SetFilter filters by an expression. One with an error changes nothing.
func (v *VMs) SetFilter(text string) error {
	f, err := parseFilter(text, v.fleet.clock.Now)
	if err != nil {
		return err
	}
	v.filterText, v.filterErr, v.filter = text, nil, f
	v.Rebuild()
	return nil
}

// Filter returns the filter as typed, and what is wrong with it.
func (v *VMs) Filter() (string, error) { return v.filterText, v.filterErr }

// Filtered reports whether a filter hides rows, or could.
func (v *VMs) Filtered() bool { return !v.filter.Empty() }

// Mark toggles the mark of the selected VM and moves on to the next.
func (v *VMs) Mark() {
	r := v.Selected()
	if r == nil {
		return
	}
	k := r.Key()
	if v.marks[k] {
		delete(v.marks, k)
	} else {
		v.marks[k] = true
	}
	v.anchor = k
	v.changed()
	v.Move(1)
}

// MarkRange marks everything between the last toggled VM and the selected.
func (v *VMs) MarkRange() {
	if len(v.visible) == 0 {
		return
	}
	from := v.index
	for i, r := range v.visible {
		if r.Key() == v.anchor {
			from = i
		}
	}
	for i := min(from, v.index); i <= max(from, v.index); i++ {
		v.marks[v.visible[i].Key()] = true
	}
	v.anchor = v.cursor
	v.changed()
}

// MarkAll marks every VM shown.
func (v *VMs) MarkAll() {
	v.changed()
	for _, r := range v.visible {
		v.marks[r.Key()] = true
	}
}

// InvertMarks marks every VM shown that is not marked, and unmarks the others.
func (v *VMs) InvertMarks() {
	v.changed()
	for _, r := range v.visible {
		k := r.Key()
		if v.marks[k] {
			delete(v.marks, k)
		} else {
			v.marks[k] = true
		}
	}
}

// ClearMarks removes all marks.
func (v *VMs) ClearMarks() {
	v.changed()
	clear(v.marks)
}

// Marked reports whether a VM is marked.
func (v *VMs) Marked(k backend.Key) bool { return v.marks[k] }

// Marks is how many VMs are marked, and how many of them the filter hides.
func (v *VMs) Marks() (all, hidden int) {
	if len(v.marks) == 0 {
		return 0, 0
	}
	v.Targets()
	return len(v.marks), v.hidden
}

// Targets are the VMs an action is meant for: the marked ones that are shown,
// in the list's order, or else the selected one. A mark that the filter hides
// waits until it shows again: nobody should act on what they do not see.
// Footers ask for the targets on every frame, so they are worked out once a change.
func (v *VMs) Targets() []*Row {
	if v.targets == nil && len(v.marks) > 0 {
		v.targets = v.markedRows()
		v.hidden = len(v.marks) - len(v.targets)
	}
	if len(v.targets) == 0 {
		if r := v.Selected(); r != nil {
			return []*Row{r}
		}
		return nil
	}
	return v.targets
}

func (v *VMs) markedRows() []*Row {
	rows := make([]*Row, 0, len(v.marks))
	for _, r := range v.visible {
		if v.marks[r.Key()] {
			rows = append(rows, r)
		}
	}
	return rows
}

// dear are the columns and filter keys whose figures are asked only for the
// VMs on screen. Words without a key also look at addresses.
var dear = map[string]bool{"disk_read": true, "disk_write": true, "disk_ops": true, "ip": true, "": true}

// Wanted are the VMs whose dear figures the list needs: those on the screen
// and, when it is ordered or filtered by such a figure, all running ones after
// them, hidden ones too.
func (v *VMs) Wanted() []backend.Key {
	var keys []backend.Key
	end := min(v.top+v.page, len(v.visible))
	shown := v.visible[v.top:end]
	for _, r := range shown {
		if r.State.Active() {
			keys = append(keys, r.Key())
		}
	}
	if !dear[v.SortBy] && !slices.ContainsFunc(v.filter.Keys(), func(k string) bool { return dear[k] }) {
		return keys
	}
	for k, r := range v.fleet.rows {
		if r.State.Active() && !slices.Contains(shown, r) {
			keys = append(keys, k)
		}
	}
	return keys
}

// Flashing reports whether a row's state changed a moment ago.
func (r *Row) Flashing(now time.Time) bool { return now.Before(r.FlashUntil) }

// Counts are VMs by what matters at a glance.
type Counts struct{ All, Running, Paused, Off, Crashed int }

// Count counts the VMs of one host, or of all with "", as of the last change.
func (f *Fleet) Count(host string) Counts { return f.counts[host] }

// recount works the counts out anew. Drawing asks for them on every frame, so
// they are counted once a change, not once a frame.
func (f *Fleet) recount() {
	f.counts = map[string]Counts{}
	for k, r := range f.rows {
		for _, host := range [...]string{"", k.Host} {
			c := f.counts[host]
			c.add(r.State)
			f.counts[host] = c
		}
	}
}

func (c *Counts) add(s backend.State) {
	c.All++
	switch s {
	case backend.Running, backend.Blocked, backend.ShuttingDown:
		c.Running++
	case backend.Paused, backend.PMSuspended:
		c.Paused++
	case backend.Crashed:
		c.Crashed++
	default:
		c.Off++
	}
}

// Widths are how wide some columns would have to be to show every row whole,
// in characters.
type Widths struct{ Name, State, Host int }

// Widths are those of the rows shown.
func (v *VMs) Widths() Widths { return v.widths }

func widthsOf(rows []*Row) Widths {
	var w Widths
	for _, r := range rows {
		w.Name = max(w.Name, utf8.RuneCountInString(r.Name))
		w.State = max(w.State, utf8.RuneCountInString(StateText(r)))
		w.Host = max(w.Host, utf8.RuneCountInString(r.Host))
	}
	return w
}

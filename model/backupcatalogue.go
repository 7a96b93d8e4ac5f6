package model

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"berth/backend"
)

// Catalogue is what there is to restore from: VMs down, time across.
type Catalogue struct {
	picker[backend.UUID]
	filter textFilter[*VMBackup]
	vms    map[backend.UUID]*VMBackup
	SortBy CatalogueOrder

	zoom   int       // index into catalogueSpans
	zoomed bool      // a person, or the first points, chose it
	start  time.Time // of the left edge, unless it follows now
	follow bool
}

// CatalogueOrder is what the catalogue is sorted by.
type CatalogueOrder uint8

// The orders of the catalogue.
const (
	ByNeed CatalogueOrder = iota // what needs a backup most comes first
	ByName
	ByHost
	ByAge
	BySize
	catalogueOrders
)

var catalogueOrderNames = [...]string{"need", "name", "host", "age", "size"}

// String is the order's word.
func (o CatalogueOrder) String() string { return catalogueOrderNames[o] }

// catalogueSpans are the widths of the window that zooming steps through.
var catalogueSpans = []time.Duration{
	12 * time.Hour, 24 * time.Hour, 2 * 24 * time.Hour, 4 * 24 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour, 30 * 24 * time.Hour,
	60 * 24 * time.Hour, 120 * 24 * time.Hour, 365 * 24 * time.Hour, 3 * 365 * 24 * time.Hour, 10 * 365 * 24 * time.Hour,
}

// aheadPart is how much of the window lies before now, for what is planned.
const aheadPart = 8

func (c *Catalogue) init() { c.follow, c.zoom, c.vms = true, 4, map[backend.UUID]*VMBackup{} }

var catalogueKeys = []textKey[*VMBackup]{
	{"host", "the host that has it", nil, func(v *VMBackup) []string { return []string{v.Host} }},
	{"is", "fresh, old, damaged, none, gone", catalogueStates, func(v *VMBackup) []string { return v.is() }},
	{"repo", "a repository with points of it", nil, func(v *VMBackup) []string { return v.repos() }},
	{"schedule", "the schedule that has it next", nil, func(v *VMBackup) []string { return []string{v.Schedule} }},
	{"tag", "a tag of its definition or of one of its points", nil, func(v *VMBackup) []string { return v.tags() }},
	{"vm", "the VM's name, with * and ? as wildcards", nil, func(v *VMBackup) []string { return []string{v.Name} }},
}

// CatalogueFilterKeys returns the keys of the catalogue's filter, by name.
func CatalogueFilterKeys() []FilterKey { return keyHelp(catalogueKeys) }

func catalogueStates() []string { return []string{"fresh", "old", "damaged", "none", "gone"} }

func (v *VMBackup) is() []string {
	out := []string{strings.ToLower(v.Fresh.String())}
	if v.Row == nil {
		out = append(out, "gone")
	}
	if v.Damaged > 0 && v.Fresh != FreshDamaged {
		out = append(out, "damaged")
	}
	return out
}

func (v *VMBackup) repos() []string {
	var out []string
	for _, p := range v.Points {
		if !slices.Contains(out, p.Repo) {
			out = append(out, p.Repo)
		}
	}
	return out
}

func (v *VMBackup) tags() []string {
	var out []string
	if v.Row != nil {
		out = append(out, v.Row.Tags...)
	}
	for _, p := range v.Points {
		out = append(out, p.Tags...)
	}
	return out
}

func catalogueTexts(v *VMBackup) []string {
	return append([]string{v.Name, v.Host, v.Schedule, v.Fresh.String()}, v.tags()...)
}

// rebuildCatalogue works out which VMs are listed, and how fresh each is.
func (s *Backups) rebuildCatalogue() {
	c := &s.Catalogue
	c.vms, s.judged, s.known = s.byVM(), s.clock.Now(), len(s.fleet.rows)
	var shown []*VMBackup
	for _, v := range c.vms {
		if c.filter.match(v) {
			shown = append(shown, v)
		}
	}
	c.sort(shown)
	lines := make([]pickLine[backend.UUID], len(shown))
	for i, v := range shown {
		lines[i].key = v.UUID
	}
	c.show(lines, func(k backend.UUID) bool { return c.vms[k] != nil })
	c.fit(s.clock.Now())
}

func (c *Catalogue) sort(vms []*VMBackup) {
	byName := func(a, b *VMBackup) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.Host, b.Host), strings.Compare(a.UUID.String(), b.UUID.String()))
	}
	good := func(v *VMBackup) time.Time {
		if v.Good == nil {
			return time.Time{}
		}
		return v.Good.At
	}
	slices.SortFunc(vms, func(a, b *VMBackup) int {
		switch c.SortBy {
		case ByHost:
			return cmp.Or(cmp.Compare(a.Host, b.Host), byName(a, b))
		case ByAge:
			return cmp.Or(good(a).Compare(good(b)), byName(a, b))
		case BySize:
			return cmp.Or(cmp.Compare(b.Stored, a.Stored), byName(a, b))
		case ByName:
			return byName(a, b)
		}
		return cmp.Or(cmp.Compare(need(b), need(a)), byName(a, b))
	})
}

// need is how much a VM needs a backup.
func need(v *VMBackup) int {
	n := 2 * int(v.Fresh)
	if v.Damaged > 0 {
		n++
	}
	if v.Row == nil {
		n = -1
	}
	return n
}

// fit chooses the first zoom: what shows the points of the VM that has the
// most of them, up to a month.
func (c *Catalogue) fit(now time.Time) {
	if c.zoomed {
		return
	}
	oldest := now
	for _, v := range c.vms {
		if n := len(v.Points); n > 0 {
			oldest = earlier(oldest, v.Points[n-1].At)
		}
	}
	if oldest.Equal(now) {
		return
	}
	age := now.Sub(oldest)
	for c.zoom = 1; c.zoom < 6 && catalogueSpans[c.zoom]*(aheadPart-1)/aheadPart < age; {
		c.zoom++
	}
	c.zoomed = true
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Window is the time that is shown.
func (c *Catalogue) Window(now time.Time) (from, to time.Time) {
	span := catalogueSpans[c.zoom]
	from = c.start
	if c.follow {
		from = now.Add(span/aheadPart - span)
	}
	return from, from.Add(span)
}

// setZoom steps through the spans; the middle of the window stays where it is.
func (c *Catalogue) setZoom(by int, now time.Time) {
	from, to := c.Window(now)
	c.zoom, c.zoomed = max(0, min(c.zoom+by, len(catalogueSpans)-1)), true
	if !c.follow {
		middle := from.Add(to.Sub(from) / 2)
		c.start = middle.Add(-catalogueSpans[c.zoom] / 2)
	}
}

// shift moves the window by a part of its width.
func (c *Catalogue) shift(part float64, now time.Time) {
	from, _ := c.Window(now)
	c.follow, c.start = false, from.Add(time.Duration(part*float64(catalogueSpans[c.zoom])))
}

// VM returns what is on a line.
func (c *Catalogue) VM(line int) *VMBackup {
	if line < 0 || line >= len(c.lines) {
		return nil
	}
	return c.vms[c.lines[line].key]
}

// Of returns what there is to restore a VM from, or nil.
func (c *Catalogue) Of(id backend.UUID) *VMBackup { return c.vms[id] }

// Selected is the selected VM, or nil.
func (c *Catalogue) Selected() *VMBackup {
	if k, ok := c.selected(); ok {
		return c.vms[k]
	}
	return nil
}

// Marked reports whether a VM is marked.
func (c *Catalogue) Marked(id backend.UUID) bool { return c.marked(id) }

// All is how many VMs the catalogue has, shown or not.
func (c *Catalogue) All() int { return len(c.vms) }

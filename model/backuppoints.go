package model

import (
	"cmp"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// PointKey names a point: IDs are a repository's own.
type PointKey struct{ Repo, ID string }

// PointsPage are the points in time of one VM, the latest first.
type PointsPage struct {
	picker[PointKey]
	filter textFilter[*backend.Point]
	VM     backend.UUID
	points map[PointKey]*backend.Point
	desc   bool // turned round: the oldest first
	by     int  // an index of pointOrders
}

// pointOrders are what the points can be sorted by.
var pointOrders = []struct {
	name    string
	compare func(a, b *backend.Point) int
}{
	{"time", laterPoint},
	{"new", func(a, b *backend.Point) int { return cmp.Compare(b.New, a.New) }},
	{"stored", func(a, b *backend.Point) int { return cmp.Compare(b.Stored, a.Stored) }},
	{"took", func(a, b *backend.Point) int { return cmp.Compare(b.Took, a.Took) }},
	{"verified", func(a, b *backend.Point) int { return a.Verified.Compare(b.Verified) }},
	{"repo", func(a, b *backend.Point) int { return strings.Compare(a.Repo, b.Repo) }},
}

var pointKeys = []textKey[*backend.Point]{
	{"id", "its ID, with * and ? as wildcards", nil, func(p *backend.Point) []string { return []string{p.ID} }},
	{"is", "full, incremental, damaged, verified, quiesced", pointStates, pointIs},
	{"owner", "who made it", nil, func(p *backend.Point) []string { return []string{p.Owner} }},
	{"repo", "the repository", nil, func(p *backend.Point) []string { return []string{p.Repo} }},
	{"tag", "one of its tags", nil, func(p *backend.Point) []string { return p.Tags }},
}

// PointFilterKeys returns the keys of the filter on points, by name.
func PointFilterKeys() []FilterKey { return keyHelp(pointKeys) }

func pointStates() []string {
	return []string{"full", "incremental", "damaged", "verified", "quiesced"}
}

func pointIs(p *backend.Point) []string {
	out := []string{"incremental"}
	if p.Full {
		out[0] = "full"
	}
	if p.Damaged != "" {
		out = append(out, "damaged")
	}
	if !p.Verified.IsZero() {
		out = append(out, "verified")
	}
	if p.Quiesced {
		out = append(out, "quiesced")
	}
	return out
}

func pointTexts(p *backend.Point) []string {
	return append(append([]string{p.ID, p.Repo, p.Host, p.Owner, p.At.Format("2006-01-02 15:04")}, p.Tags...), pointIs(p)...)
}

func keyOf(p *backend.Point) PointKey { return PointKey{p.Repo, p.ID} }

// rebuildPoints works out which points are listed.
func (s *Backups) rebuildPoints() {
	p := &s.Points
	p.points = map[PointKey]*backend.Point{}
	v := s.Catalogue.vms[p.VM]
	if v == nil {
		p.show(nil, func(PointKey) bool { return false })
		return
	}
	var shown []*backend.Point
	for _, x := range v.Points {
		p.points[keyOf(x)] = x
		if p.filter.match(x) {
			shown = append(shown, x)
		}
	}
	slices.SortStableFunc(shown, pointOrders[p.by].compare)
	if p.desc {
		slices.Reverse(shown)
	}
	lines := make([]pickLine[PointKey], len(shown))
	for i, x := range shown {
		lines[i].key = keyOf(x)
	}
	p.show(lines, func(k PointKey) bool { return p.points[k] != nil })
}

// Point returns the point on a line, or nil.
func (p *PointsPage) Point(line int) *backend.Point {
	if line < 0 || line >= len(p.lines) {
		return nil
	}
	return p.points[p.lines[line].key]
}

// Selected is the selected point, or nil.
func (p *PointsPage) Selected() *backend.Point {
	if k, ok := p.selected(); ok {
		return p.points[k]
	}
	return nil
}

// Marked reports whether a point is marked.
func (p *PointsPage) Marked(k PointKey) bool { return p.marked(k) }

// Order is what the points are sorted by, and whether turned round.
func (p *PointsPage) Order() (by string, turned bool) { return pointOrders[p.by].name, p.desc }

// openPoints turns to a VM's points.
func (a *App) openPoints(id backend.UUID) tea.Cmd {
	s := a.Backups
	if s.Points.VM != id {
		s.Points = PointsPage{VM: id, by: s.Points.by, desc: s.Points.desc, picker: picker[PointKey]{page: s.Points.page}}
	}
	s.rebuildPoints()
	a.pointsFrom = a.Screen
	if a.Screen == ScreenCatalogue {
		return a.ShowBackupTab(ScreenPoints)
	}
	return a.Go(ScreenPoints)
}

package model

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"berth/backend"
)

// ImageRow is one line of the images.
type ImageRow struct {
	*backend.Image
	Depth int // below its backing file, in the tree
}

// Key is the row's identity.
func (r *ImageRow) Key() ImageKey { return ImageKey{r.Host, r.Path} }

// imageList is which images are shown, in what order.
type imageList struct {
	picker[ImageKey]
	filter textFilter[*backend.Image]
	rows   map[ImageKey]*ImageRow
	SortBy string
	Desc   bool
	Tree   bool
}

var imageKeys = []textKey[*backend.Image]{
	{"format", "qcow2, raw, iso and so on", nil, func(i *backend.Image) []string { return []string{i.Format} }},
	{"host", "the host that it lies on", nil, func(i *backend.Image) []string { return []string{i.Host} }},
	{"is", "orphan, missing, used, running, backing, overlay, encrypted, snapshots", imageStates, imageIs},
	{"name", "its name, with * and ? as wildcards", nil, func(i *backend.Image) []string { return []string{i.Name} }},
	{"path", "its path", nil, func(i *backend.Image) []string { return []string{i.Path} }},
	{"pool", "its pool", nil, func(i *backend.Image) []string { return []string{i.Pool} }},
	{"vm", "a VM that uses it", nil, userNames},
}

// ImageFilterKeys returns the keys of the filter on images, by name.
func ImageFilterKeys() []FilterKey { return keyHelp(imageKeys) }

func imageStates() []string {
	return []string{"orphan", "missing", "used", "running", "backing", "overlay", "encrypted", "snapshots"}
}

func imageIs(i *backend.Image) []string {
	var out []string
	add := func(on bool, word string) {
		if on {
			out = append(out, word)
		}
	}
	add(i.Orphan(), "orphan")
	add(i.Missing, "missing")
	add(len(i.Users) > 0, "used")
	add(writer(i) != nil || slices.ContainsFunc(i.Users, func(u backend.ImageUser) bool { return u.Active }), "running")
	add(len(i.BackedBy) > 0, "backing")
	add(len(i.Backing) > 0, "overlay")
	add(i.Encrypted, "encrypted")
	add(len(i.Snapshots) > 0, "snapshots")
	return out
}

// writer is a VM that runs and may write to an image, or nil.
func writer(i *backend.Image) *backend.ImageUser {
	for k := range i.Users {
		if u := &i.Users[k]; u.Active && !u.ReadOnly {
			return u
		}
	}
	return nil
}

func userNames(i *backend.Image) []string {
	out := make([]string, len(i.Users))
	for k := range i.Users {
		out[k] = i.Users[k].Name
	}
	return out
}

func imageTexts(i *backend.Image) []string {
	return append([]string{i.Name, i.Path, i.Host, i.Pool, i.Format}, userNames(i)...)
}

// imageOrders are what images can be sorted by; those that measure show the
// largest first.
var imageOrders = []struct {
	name    string
	desc    bool
	compare func(a, b *backend.Image) int
}{
	{"name", false, func(a, b *backend.Image) int {
		return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	}},
	{"format", false, func(a, b *backend.Image) int { return cmp.Compare(a.Format, b.Format) }},
	{"virtual", true, func(a, b *backend.Image) int { return cmp.Compare(a.Virtual, b.Virtual) }},
	{"real", true, func(a, b *backend.Image) int { return cmp.Compare(a.Real, b.Real) }},
	{"age", false, func(a, b *backend.Image) int { return b.Modified.Compare(a.Modified) }},
	{"use", false, func(a, b *backend.Image) int { return cmp.Compare(ImageUse(a), ImageUse(b)) }},
	{"pool", false, func(a, b *backend.Image) int { return cmp.Compare(a.Pool, b.Pool) }},
	{"host", false, func(a, b *backend.Image) int { return cmp.Compare(a.Host, b.Host) }},
}

// ImageUse is who uses an image, in few words: "web-1 vda", "backs 3",
// "orphan", "MISSING".
func ImageUse(i *backend.Image) string {
	var parts []string
	if i.Missing {
		parts = append(parts, "MISSING")
	}
	for k := range i.Users {
		parts = append(parts, i.Users[k].Name+" "+i.Users[k].Target)
	}
	if n := len(i.BackedBy); n > 0 {
		parts = append(parts, "backs "+count(n, "image"))
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, ", ")
	case i.Orphan():
		return "orphan"
	}
	return ""
}

// rebuildImages works out which images are listed.
func (s *Images) rebuildImages() {
	l := &s.list
	l.rows = map[ImageKey]*ImageRow{}
	var shown []*ImageRow
	for _, of := range s.byHost {
		for i := range of.images {
			r := &ImageRow{Image: &of.images[i]}
			l.rows[r.Key()] = r
			if l.filter.match(r.Image) {
				shown = append(shown, r)
			}
		}
	}
	l.sort(shown)
	if l.Tree {
		shown = tree(shown)
	}
	lines := make([]pickLine[ImageKey], len(shown))
	for i, r := range shown {
		lines[i].key = r.Key()
	}
	l.show(lines, func(k ImageKey) bool { return l.rows[k] != nil })
}

func (l *imageList) sort(rows []*ImageRow) {
	order := imageOrders[0]
	for _, o := range imageOrders {
		if o.name == l.SortBy {
			order = o
		}
	}
	slices.SortFunc(rows, func(a, b *ImageRow) int {
		n := order.compare(a.Image, b.Image)
		if l.Desc {
			n = -n
		}
		return cmp.Or(n, imageOrders[0].compare(a.Image, b.Image), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Path, b.Path))
	})
}

// tree puts overlays below their backing files; the order among siblings
// stays. An image whose backing file is not shown is a root.
func tree(rows []*ImageRow) []*ImageRow {
	shown := map[ImageKey]bool{}
	for _, r := range rows {
		shown[r.Key()] = true
	}
	below := map[ImageKey][]*ImageRow{}
	var roots []*ImageRow
	for _, r := range rows {
		on := ImageKey{Host: r.Host}
		if len(r.Backing) > 0 {
			on.Path = r.Backing[0]
		}
		if on.Path == "" || !shown[on] || on == r.Key() {
			roots = append(roots, r)
			continue
		}
		below[on] = append(below[on], r)
	}
	out := make([]*ImageRow, 0, len(rows))
	seen := map[ImageKey]bool{}
	var add func(r *ImageRow, depth int)
	add = func(r *ImageRow, depth int) {
		if seen[r.Key()] {
			return
		}
		seen[r.Key()] = true
		r.Depth = depth
		out = append(out, r)
		for _, c := range below[r.Key()] {
			add(c, depth+1)
		}
	}
	for _, r := range roots {
		add(r, 0)
	}
	for _, r := range rows { // chains that bite their own tail have no root
		add(r, 0)
	}
	return out
}

// Image returns the row on a line, or nil.
func (s *Images) Image(line int) *ImageRow {
	if line < 0 || line >= len(s.list.lines) {
		return nil
	}
	return s.list.rows[s.list.lines[line].key]
}

// Selected is the selected image, or nil.
func (s *Images) Selected() *ImageRow {
	if k, ok := s.list.selected(); ok {
		return s.list.rows[k]
	}
	return nil
}

// Marked reports whether an image is marked.
func (s *Images) Marked(k ImageKey) bool { return s.list.marked(k) }

// All is how many images there are, shown or not.
func (s *Images) All() int { return len(s.list.rows) }

// Alarms are how many images nobody uses, and how many are named by a VM or
// another image and not there; shown or not.
func (s *Images) Alarms() (orphans, missing int) {
	for _, r := range s.list.rows {
		switch {
		case r.Missing:
			missing++
		case r.Orphan():
			orphans++
		}
	}
	return orphans, missing
}

// Order is what images are sorted by, in which direction, and whether as
// trees of backing chains.
func (s *Images) Order() (by string, desc, tree bool) {
	return s.list.SortBy, s.list.Desc, s.list.Tree
}

// Find returns the image at a path of a host, or nil.
func (s *Images) Find(host, path string) *backend.Image {
	if r := s.list.rows[ImageKey{host, path}]; r != nil {
		return r.Image
	}
	return nil
}

// ImageFacts is what is known of an image, line by line.
func ImageFacts(i *backend.Image, now time.Time) []string {
	var f facts
	if i.Missing {
		f.add("MISSING", "it is named by a VM or an image, and is not there")
	}
	f.add("trouble", i.Trouble)
	f.add("path", i.Path)
	f.add("host", i.Host)
	f.add("pool", i.Pool)
	f.add("format", i.Format)
	if i.Encrypted {
		f.add("encrypted", "yes")
	}
	f.add("size", Bytes(float64(i.Virtual))+" as the guest sees it, "+Bytes(float64(i.Real))+" on the host")
	for n, b := range i.Backing {
		f.add([2]string{"backing", ""}[min(n, 1)], b)
	}
	for n, b := range i.BackedBy {
		f.add([2]string{"backs", ""}[min(n, 1)], b)
	}
	for n, u := range i.Users {
		text := u.Name + ", disk " + u.Target
		if u.Active {
			text += ", running"
		}
		if u.ReadOnly {
			text += ", read-only"
		}
		f.add([2]string{"used by", ""}[min(n, 1)], text)
	}
	if i.Orphan() {
		f.add("used by", "no VM and no image that this host knows: an orphan")
	}
	f.add("snapshots", strings.Join(i.Snapshots, ", "))
	if !i.Modified.IsZero() {
		f.add("changed", stamp(i.Modified, now)+", "+Duration(max(0, now.Sub(i.Modified)))+" ago")
	}
	return f.lines
}

package model

import (
	"fmt"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

var (
	onImages       = []ScreenID{ScreenImages}
	onPools        = []ScreenID{ScreenPools}
	onImageScreens = []ScreenID{ScreenImages, ScreenPools}
)

// ImageTabs are the screens that tab turns through.
func ImageTabs() []ScreenID { return onImageScreens }

func imageActions() []Action {
	pool := func(id string, v *poolVerb, hint int, help string, keys ...string) Action {
		return Action{ID: id, Keys: keys, Label: v.label, Help: help, Group: GroupImage, On: onPools, Hint: hint,
			Why: func(a *App) string { return a.poolWhy(v) }, Run: func(a *App) tea.Cmd { return a.poolDo(v) }}
	}
	return []Action{
		{ID: "image-tab", Keys: []string{"tab"}, Label: "Images/pools", Help: "From the images to the pools, and back", Group: GroupImage, On: onImageScreens, Hint: 2, Silent: true, Run: (*App).turnImages},
		{ID: "image-copy", Keys: []string{"c"}, Label: "Copy to", Help: "Copy the image to one or several places, each verified", Group: GroupImage, On: onImages, Hint: 5, Why: (*App).copyImageWhy, Run: func(a *App) tea.Cmd { return a.transferImage(backend.TransferCopy) }},
		{ID: "image-convert", Keys: []string{"C"}, Label: "Convert", Help: "Convert between raw and qcow2, or compress", Group: GroupImage, On: onImages, Hint: 6, Why: (*App).copyImageWhy, Run: func(a *App) tea.Cmd { return a.transferImage(backend.TransferConvert) }},
		{ID: "image-create", Keys: []string{"n"}, Label: "New image", Help: "Create an image", Group: GroupImage, On: onImages, Hint: 7, Why: (*App).newStorageWhy, Run: func(a *App) tea.Cmd { return a.newImage(nil) }},
		{ID: "image-overlay", Keys: []string{"o"}, Label: "Overlay", Help: "Create an overlay on the image", Group: GroupImage, On: onImages, Hint: 11, Why: (*App).overlayWhy, Run: (*App).overlay},
		{ID: "image-resize", Keys: []string{"s"}, Label: "Resize", Help: "Make the image larger, or smaller, which loses what is beyond", Group: GroupImage, On: onImages, Hint: 8, Why: func(a *App) string { return a.imageWhy(resizable) }, Run: (*App).resizeImage},
		{ID: "image-delete", Keys: []string{"D"}, Label: "Delete", Help: "Delete images that nothing uses; type the name", Group: GroupImage, On: onImages, Hint: 9, Why: func(a *App) string { return a.imageWhy(deletable) }, Run: (*App).deleteImages},
		{ID: "image-refresh", Keys: []string{"R"}, Label: "Refresh pools", Help: "Have the pools look at their folders anew", Group: GroupImage, On: onImages, Why: (*App).newStorageWhy, Run: (*App).refreshPools},
		{ID: "image-tree", Keys: []string{"t"}, Label: "Tree", Help: "Backing chains as trees, or a plain list", Group: GroupImage, On: onImages, Hint: 10, Run: (*App).toggleTree},
		{ID: "image-vm", Keys: []string{"V"}, Label: "Its VM", Help: "Open the detail of the VM that uses the image", Group: GroupImage, On: onImages, Why: (*App).imageVMWhy, Run: (*App).openImageVM},
		{ID: "image-sort", Keys: []string{">"}, Label: "Sort by next", Help: "Images: by name, format, virtual or real size, age, use, pool or host", Group: GroupImage, On: onImages, Run: func(a *App) tea.Cmd { return a.sortImages(1) }},
		{ID: "image-sort-back", Keys: []string{"<"}, Label: "Sort by previous", Help: "The same the other way round", Group: GroupImage, On: onImages, Silent: true, Run: func(a *App) tea.Cmd { return a.sortImages(-1) }},
		{ID: "image-invert", Keys: []string{"I"}, Label: "Invert order", Help: "Images: turn the order round", Group: GroupImage, On: onImages, Run: (*App).invertImages},
		pool("pool-start", &poolStart, 5, "Start a pool", "s"),
		pool("pool-stop", &poolStop, 6, "Stop a pool; nothing is deleted", "S"),
		pool("pool-refresh", &poolRefresh, 7, "Have a pool look at its folder anew", "r"),
		{ID: "pool-new", Keys: []string{"n"}, Label: "New pool", Help: "Make a pool of a folder", Group: GroupImage, On: onPools, Hint: 8, Why: (*App).newStorageWhy, Run: (*App).newPool},
		{ID: "pool-autostart", Keys: []string{"A"}, Label: "Autostart", Help: "Start the pool with its host, or no longer", Group: GroupImage, On: onPools, Hint: 9, Why: func(a *App) string { return a.poolWhy(&poolAutoOn) }, Run: (*App).toggleAutostart},
		pool("pool-forget", &poolForget, 10, "Have the host forget a stopped pool; its images stay", "U"),
	}
}

// imageList is the list of the screen of images that is shown.
func (a *App) imageList() pickList {
	if a.Screen == ScreenPools {
		return &a.Images.Pools.picker
	}
	return &a.Images.list.picker
}

// SetImagePage tells how many lines of the screen's list there is room for.
func (a *App) SetImagePage(n int) { a.imageList().setPage(n) }

// ImageList is the place of the list of the screen of images that is shown,
// and its filter as typed.
func (a *App) ImageList() (ListView, string) {
	text, _ := a.imageFilter().Filter()
	return a.imageList(), text
}

func (a *App) turnImages() tea.Cmd {
	if a.Screen == ScreenImages {
		return a.ShowBackupTab(ScreenPools)
	}
	return a.ShowBackupTab(ScreenImages)
}

// peelImages removes the marks or the filter of a screen of images; it reports
// whether there was one.
func (a *App) peelImages() bool {
	l := a.imageList()
	if all, _ := l.Marks(); all > 0 {
		l.ClearMarks()
		return true
	}
	if text, _ := a.imageFilter().Filter(); text != "" {
		_ = a.imageFilter().TypeFilter("") // the empty filter has no error
		return true
	}
	return false
}

func (a *App) imageFilter() filtered { return imageFilter{a, a.Screen} }

type imageFilter struct {
	a      *App
	screen ScreenID
}

// TypeFilter implements filtered.
func (f imageFilter) TypeFilter(text string) (err error) {
	s := f.a.Images
	if f.screen == ScreenPools {
		err = s.Pools.filter.set(text, poolKeys, poolTexts)
	} else {
		err = s.list.filter.set(text, imageKeys, imageTexts)
	}
	s.rebuild()
	return err
}

// Filter implements filtered.
func (f imageFilter) Filter() (string, error) {
	if s := f.a.Images; f.screen == ScreenPools {
		return s.Pools.filter.text, s.Pools.filter.err
	}
	return f.a.Images.list.filter.text, f.a.Images.list.filter.err
}

// Move implements filtered.
func (f imageFilter) Move(n int) { f.a.imageList().Move(n) }

// openImage shows all that is known of what is selected.
func (a *App) openImage() tea.Cmd {
	if a.Screen == ScreenPools {
		if p := a.Images.Pools.Selected(); p != nil {
			a.Push(&Notice{Title: "Pool " + p.Name, Text: strings.Join(PoolFacts(p), "\n")})
		}
		return nil
	}
	if r := a.Images.Selected(); r != nil {
		a.Push(&Notice{Title: r.Name, Text: strings.Join(ImageFacts(r.Image, a.clock.Now()), "\n")})
	}
	return nil
}

func (a *App) toggleTree() tea.Cmd {
	a.Images.list.Tree = !a.Images.list.Tree
	a.Images.rebuildImages()
	return nil
}

func (a *App) sortImages(step int) tea.Cmd {
	l := &a.Images.list
	at := 0
	for i := range imageOrders {
		if imageOrders[i].name == l.SortBy {
			at = i
		}
	}
	o := imageOrders[(at+step+len(imageOrders))%len(imageOrders)]
	l.SortBy, l.Desc = o.name, o.desc
	a.Images.rebuildImages()
	return a.Info("by " + o.name)
}

func (a *App) invertImages() tea.Cmd {
	a.Images.list.Desc = !a.Images.list.Desc
	a.Images.rebuildImages()
	return nil
}

// imageTargets are the images that an action is meant for.
func (a *App) imageTargets() []*backend.Image {
	l := &a.Images.list
	var out []*backend.Image
	for _, k := range l.targets() {
		if r := l.rows[k]; r != nil {
			out = append(out, r.Image)
		}
	}
	return out
}

// imageCan says why something cannot be done to an image, or nil.
func (a *App) imageCan(i *backend.Image, can func(*backend.Image) error) error {
	if err := a.hostStores(i.Host); err != nil {
		return err
	}
	if doing := a.Images.pending[ImageKey{i.Host, i.Path}]; doing != "" {
		return fmt.Errorf("it is %s already", doing)
	}
	return can(i)
}

func imageName(i *backend.Image) string { return i.Name }

func (a *App) imageWhy(can func(*backend.Image) error) string {
	return noneCan(a.imageTargets(), "no image is selected", "marked images", func(i *backend.Image) error { return a.imageCan(i, can) })
}

func (a *App) imageSlid() (tea.Cmd, bool) {
	l := &a.Images.list
	if !l.slid() {
		return nil, false
	}
	l.Move(0)
	return a.Warn("the selected image is gone; this is " + a.Images.Selected().Name + ": the same key again acts on it"), true
}

// refreshPools refreshes the pools of the targets, or all where they are in
// none.
func (a *App) refreshPools() tea.Cmd {
	want := map[PoolKey]bool{}
	for _, i := range a.imageTargets() {
		if i.Pool != "" {
			want[PoolKey{i.Host, i.Pool}] = true
		}
	}
	var cmds []tea.Cmd
	for _, p := range a.Images.Pools.all {
		k := PoolKey{p.Host, p.Name}
		if (len(want) == 0 || want[k]) && a.poolCan(&poolRefresh, p) == nil {
			cmds = append(cmds, a.askStorage(poolRequest(&poolRefresh, k)))
		}
	}
	if len(cmds) == 0 {
		return a.Warn("no pool runs that could be refreshed")
	}
	return tea.Batch(cmds...)
}

// imageRow is the row of a VM that uses the selected image, or nil.
func (a *App) imageRow() *Row {
	if r := a.Images.Selected(); r != nil && a.Screen == ScreenImages {
		for _, u := range r.Users {
			if row := a.Fleet.Row(backend.Key{Host: r.Host, UUID: u.VM}); row != nil {
				return row
			}
		}
	}
	return nil
}

// ImageVM is the row of a VM that uses the selected image, or nil.
func (a *App) ImageVM() *Row { return a.imageRow() }

func (a *App) imageVMWhy() string {
	if a.imageRow() == nil {
		return "no VM uses it"
	}
	return ""
}

func (a *App) openImageVM() tea.Cmd { return a.openDetail(a.imageRow().Key(), TabOverview) }

package model

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
	"berth/model/config"
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

func (a *App) imageWhy(can func(*backend.Image) error) string {
	is := a.imageTargets()
	var first error
	for _, i := range is {
		err := a.imageCan(i, can)
		if err == nil {
			return ""
		}
		if first == nil {
			first = err
		}
	}
	switch {
	case len(is) == 0:
		return "no image is selected"
	case len(is) > 1:
		return fmt.Sprintf("none of the %d marked images can: %v", len(is), first)
	}
	return first.Error()
}

func (a *App) imageSlid() (tea.Cmd, bool) {
	l := &a.Images.list
	if !l.slid() {
		return nil, false
	}
	l.Move(0)
	return a.Warn("the selected image is gone; this is " + a.Images.Selected().Name + ": the same key again acts on it"), true
}

var errMissing = errors.New("it is not there")

// deletable says why an image must not be deleted.
func deletable(i *backend.Image) error {
	switch {
	case i.Missing:
		return errMissing
	case len(i.Users) > 0:
		return fmt.Errorf("in use: %s has it as %s", i.Users[0].Name, i.Users[0].Target)
	case len(i.BackedBy) > 0:
		return fmt.Errorf("in use: it is the backing file of %s", lastPart(i.BackedBy[0]))
	}
	return nil
}

// resizable says why an image cannot be resized.
func resizable(i *backend.Image) error {
	switch {
	case i.Missing:
		return errMissing
	case i.Format != "raw" && i.Format != "qcow2":
		return fmt.Errorf("only raw and qcow2 can be resized, not %s", i.Format)
	case len(i.BackedBy) > 0:
		return fmt.Errorf("it is the backing file of %s", lastPart(i.BackedBy[0]))
	}
	return nil
}

// copyable says why an image cannot be copied as it lies there.
func copyable(i *backend.Image) error {
	if i.Missing {
		return errMissing
	}
	if u := writer(i); u != nil {
		return fmt.Errorf("%s runs and writes to it: back the VM up instead, or shut it down", u.Name)
	}
	return nil
}

func (a *App) copyImageWhy() string {
	if why := a.backupsRefuse(); why != "" {
		return why
	}
	return a.imageWhy(copyable)
}

// deleteImages asks for the name before images are deleted.
func (a *App) deleteImages() tea.Cmd {
	if cmd, slid := a.imageSlid(); slid {
		return cmd
	}
	c := Confirm{Yes: "Delete", Danger: true, Body: []string{"What is in them is gone for good. No VM and no other image that the host knows uses them; berth cannot know of what uses them from outside libvirt."}}
	var keys []ImageKey
	var left []string
	for _, i := range a.imageTargets() {
		if err := a.imageCan(i, deletable); err != nil {
			left = append(left, fmt.Sprintf("left out: %s: %v", i.Name, err))
			continue
		}
		keys = append(keys, ImageKey{i.Host, i.Path})
		c.Names = append(c.Names, fmt.Sprintf("%s on %s, %s %s", i.Path, i.Host, Bytes(float64(i.Real)), i.Format))
	}
	if len(keys) == 0 {
		return a.Warn("nothing is left that could be deleted")
	}
	c.Names = append(c.Names, left...)
	c.Type = lastPart(keys[0].Path)
	c.Title = "Delete " + backend.Clean(c.Type) + "?"
	if len(keys) > 1 {
		c.Type = fmt.Sprintf("%d images", len(keys))
		c.Title = "Delete " + c.Type + "?"
	}
	c.OnYes = func(a *App, _ *Confirm) tea.Cmd { return a.deleteNow(keys) }
	a.Push(newConfirm(c))
	return nil
}

func (a *App) deleteNow(keys []ImageKey) tea.Cmd {
	var cmds []tea.Cmd
	for _, k := range keys {
		i := a.Images.Find(k.Host, k.Path)
		if i == nil {
			continue
		}
		if err := a.imageCan(i, deletable); err != nil {
			cmds = append(cmds, a.Warn(i.Name+": "+err.Error()))
			continue
		}
		cmds = append(cmds, a.askStorage(&storageRequest{host: k.Host, image: k, doing: "deleting", done: backend.Clean(i.Name) + ": deleted",
			audit: auditLine{key: backend.Key{Host: k.Host}, verb: "image delete", detail: k.Path},
			do:    func(ctx context.Context, s backend.Storage) error { return s.DeleteImage(ctx, k.Path) }}))
	}
	a.Images.list.ClearMarks()
	return tea.Batch(cmds...)
}

// parseNewSize reads a size, or what is to be added to one: "20G", "+5G".
func parseNewSize(text string, now uint64) (uint64, error) {
	more, grow := strings.CutPrefix(strings.TrimSpace(text), "+")
	n, err := config.ParseSize(more)
	switch {
	case err != nil:
		return 0, err
	case grow:
		n += now
	}
	if n == 0 || n%512 != 0 {
		return 0, errors.New("a size is a multiple of 512 bytes, and not nothing")
	}
	return n, nil
}

// resizeImage asks for the new size; a smaller one wants the name typed.
func (a *App) resizeImage() tea.Cmd {
	if cmd, slid := a.imageSlid(); slid {
		return cmd
	}
	r := a.Images.Selected()
	if err := a.imageCan(r.Image, resizable); err != nil {
		return a.Warn(err.Error())
	}
	k, now := r.Key(), r.Virtual
	help := "20G, or +5G. It has " + Bytes(float64(now)) + "."
	if u := writer(r.Image); u != nil {
		help += " " + backend.Clean(u.Name) + " runs: its QEMU does it, and the guest sees it at once."
	}
	p := newPrompt("Resize "+backend.Clean(r.Name), help, exactSize(int64(now)), func(a *App, text string) tea.Cmd {
		n, err := parseNewSize(text, now)
		if err != nil {
			return a.Warn(err.Error())
		}
		return a.confirmResize(k, n)
	})
	p.Check = func(text string) error { _, err := parseNewSize(text, now); return err }
	a.Push(p)
	return nil
}

func (a *App) confirmResize(k ImageKey, n uint64) tea.Cmd {
	i := a.Images.Find(k.Host, k.Path)
	switch {
	case i == nil:
		return a.Warn("the image is gone")
	case n == i.Virtual:
		return a.Info("it has that size")
	case n > i.Virtual:
		return a.resizeNow(k, n, false)
	}
	if u := writer(i); u != nil {
		return a.Warn(u.Name + " runs: an image in use cannot be made smaller")
	}
	c := Confirm{Title: "Make " + backend.Clean(i.Name) + " smaller?", Yes: "Shrink", Danger: true, Type: i.Name,
		Body:  []string{fmt.Sprintf("From %s to %s: whatever lies in the last %s is lost. Make the file system and the partition in it smaller first.", Bytes(float64(i.Virtual)), Bytes(float64(n)), Bytes(float64(i.Virtual-n)))},
		Names: []string{i.Path + " on " + i.Host}}
	for _, u := range i.Users {
		c.Names = append(c.Names, "disk "+u.Target+" of "+u.Name)
	}
	c.OnYes = func(a *App, _ *Confirm) tea.Cmd { return a.resizeNow(k, n, true) }
	a.Push(newConfirm(c))
	return nil
}

func (a *App) resizeNow(k ImageKey, n uint64, shrink bool) tea.Cmd {
	return a.askStorage(&storageRequest{host: k.Host, image: k, doing: "resizing", done: backend.Clean(lastPart(k.Path)) + ": " + Bytes(float64(n)) + " now",
		audit: auditLine{key: backend.Key{Host: k.Host}, verb: "image resize", detail: fmt.Sprintf("%s to %d", k.Path, n)},
		do:    func(ctx context.Context, s backend.Storage) error { return s.ResizeImage(ctx, k.Path, n, shrink) }})
}

func (a *App) overlayWhy() string {
	if why := a.newStorageWhy(); why != "" {
		return why
	}
	return a.imageWhy(func(i *backend.Image) error {
		if u := writer(i); u != nil {
			return fmt.Errorf("%s runs and writes to it: what lies on it would be broken", u.Name)
		}
		if i.Missing {
			return errMissing
		}
		return nil
	})
}

func (a *App) overlay() tea.Cmd {
	if cmd, slid := a.imageSlid(); slid {
		return cmd
	}
	return a.newImage(a.Images.Selected().Image)
}

// newImage opens the form of an image that is not there yet, an overlay on
// another where one is given.
func (a *App) newImage(on *backend.Image) tea.Cmd {
	var places []string
	at := ""
	for _, p := range a.Images.Pools.all {
		if !p.Active || a.hostStores(p.Host) != nil || (on != nil && p.Host != on.Host) {
			continue
		}
		places = append(places, p.Host+"/"+p.Name)
		if on != nil && on.Pool == p.Name || on == nil && at == "" {
			at = p.Host + "/" + p.Name
		}
	}
	if len(places) == 0 {
		return a.Warn("no pool runs where it could be made")
	}
	if at == "" {
		at = places[0]
	}
	f := &Form{Title: "New image", Yes: "Create", Fields: []Field{
		choiceField("pool", "pool", places, at, "host/pool that it is made in"),
		textField("name", "name", "", "disk.qcow2", "of the volume", checkVolumeName),
		choiceField("format", "format", []string{"qcow2", "raw"}, "qcow2", "qcow2 knows snapshots, bitmaps and backing files"),
		textField("size", "size", "", "20G", "what the guest sees", optional(func(s string) error { _, err := parseNewSize(s, 0); return err })),
	}}
	backing := ""
	if on != nil {
		backing = on.Path
		f.Title = "New overlay on " + backend.Clean(on.Name)
		f.Fields[1].Input.SetValue(strings.TrimSuffix(on.Name, path.Ext(on.Name)) + "-overlay.qcow2")
		f.Fields[2].Values, f.Fields[2].Helps = []string{"qcow2"}, map[string]string{"qcow2": "an overlay is always qcow2"}
		f.Fields[3].Input.Placeholder = "as large as that: " + Bytes(float64(on.Virtual))
		f.Intro = []string{on.Path + " must not be written to any more once something lies on it."}
	}
	f.Filled = func(f *Form) error { _, _, err := a.imageSpec(f, backing); return err }
	f.Foresee = func(a *App, f *Form) []PreviewLine { return a.newImageLines(f, backing) }
	f.OnYes = func(a *App, f *Form) tea.Cmd {
		host, spec, err := a.imageSpec(f, backing)
		if err != nil {
			return a.Warn(err.Error())
		}
		detail := spec.Pool + "/" + spec.Name + " " + spec.Format + " " + Bytes(float64(spec.Size))
		return a.askStorage(&storageRequest{host: host, done: backend.Clean(spec.Name) + ": created in pool " + backend.Clean(spec.Pool),
			audit: auditLine{key: backend.Key{Host: host}, verb: "image create", detail: strings.TrimSpace(detail + " " + backing)},
			do:    func(ctx context.Context, s backend.Storage) error { return s.CreateImage(ctx, spec) }})
	}
	a.Push(f)
	return a.foresee(f)
}

func (a *App) imageSpec(f *Form, backing string) (string, backend.ImageSpec, error) {
	host, pool, _ := strings.Cut(f.Field("pool").Chosen(), "/")
	s := backend.ImageSpec{Pool: pool, Name: f.Field("name").Text(), Format: f.Field("format").Chosen(), Backing: backing}
	err := checkVolumeName(s.Name)
	if text := f.Field("size").Text(); text != "" || backing == "" {
		var e error
		s.Size, e = parseNewSize(text, 0)
		err = errors.Join(err, e)
	}
	if p := a.Images.Pools.byKey[PoolKey{host, pool}]; p == nil {
		err = errors.Join(err, errors.New("the pool is gone"))
	} else if p.Path != "" && a.Images.Find(host, path.Join(p.Path, s.Name)) != nil {
		err = errors.Join(err, fmt.Errorf("the pool has an image of that name"))
	}
	return host, s, err
}

func (a *App) newImageLines(f *Form, backing string) []PreviewLine {
	host, pool, _ := strings.Cut(f.Field("pool").Chosen(), "/")
	p := a.Images.Pools.byKey[PoolKey{host, pool}]
	if p == nil {
		return nil
	}
	out := []PreviewLine{{LevelInfo, fmt.Sprintf("The pool has %s free of %s.", Bytes(float64(p.Available)), Bytes(float64(p.Capacity)))}}
	if _, s, err := a.imageSpec(f, backing); err == nil && s.Size > p.Available {
		out = append(out, PreviewLine{LevelWarn, "It is larger than what is free: it fits as long as the guest does not fill it."})
	}
	return out
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

// transferImage opens the form that copies or converts images.
func (a *App) transferImage(kind backend.TransferKind) tea.Cmd {
	if cmd, slid := a.imageSlid(); slid {
		return cmd
	}
	var keys []ImageKey
	var left, names []string
	var first *backend.Image
	for _, i := range a.imageTargets() {
		if err := a.imageCan(i, copyable); err != nil {
			left = append(left, fmt.Sprintf("left out: %s: %v", i.Name, err))
			continue
		}
		if first == nil {
			first = i
		}
		keys, names = append(keys, ImageKey{i.Host, i.Path}), append(names, i.Name)
	}
	if first == nil {
		return a.Warn("nothing is left that it could be done to")
	}
	dir, ext := path.Dir(first.Path), path.Ext(first.Path)
	to := strings.TrimSuffix(first.Path, ext) + "-copy" + ext
	help := "one or several paths, with commas; a folder ends in /"
	f := &Form{Title: "Copy " + backend.Clean(first.Name), Yes: "Copy"}
	if kind == backend.TransferConvert {
		f.Title, f.Yes = "Convert "+backend.Clean(first.Name), "Convert"
		to = strings.TrimSuffix(first.Path, ext) + "-converted.qcow2"
	}
	if len(keys) > 1 {
		to = dir + "/copies/"
		f.Title = strings.Replace(f.Title, backend.Clean(first.Name), fmt.Sprintf("%d images", len(keys)), 1)
		f.Intro = []string{backend.Clean(strings.Join(names, ", "))}
	}
	f.Intro = append(f.Intro, left...)
	f.Fields = []Field{textField("to", "to", to, "/path/to/image", help, func(s string) error { _, err := parseTargets(s, keys); return err })}
	if kind == backend.TransferConvert {
		f.Fields = append(f.Fields,
			choiceField("format", "format", []string{"qcow2", "raw"}, "qcow2", "of the new image"),
			switchField("compress", "compress", true, "qcow2 with zstd: smaller, and read-only in speed"))
	}
	f.Fields = append(f.Fields, textField("limit", "limit", limitText(a.opt.BackupLimit), "none", "bytes read a second, as 50M", optional(func(s string) error { _, err := parseLimit(s); return err })))
	f.Filled = func(f *Form) error { _, err := a.copySpecs(f, kind, keys); return err }
	f.Foresee = func(a *App, f *Form) []PreviewLine { return a.copyLines(f, kind, keys) }
	f.OnYes = func(a *App, f *Form) tea.Cmd {
		specs, err := a.copySpecs(f, kind, keys)
		if err != nil {
			return a.Warn(err.Error())
		}
		a.Images.list.ClearMarks()
		return a.order(specs, fmt.Sprintf("%s: ordered (%s shows it)", f.Title, a.KeyFor("backups")))
	}
	a.Push(f)
	return a.foresee(f)
}

// parseTargets reads where images go: for each image a path for every place
// named.
func parseTargets(text string, images []ImageKey) ([][]string, error) {
	out := make([][]string, len(images))
	n := 0
	for _, to := range strings.Split(text, ",") {
		if to = strings.TrimSpace(to); to == "" {
			continue
		}
		n++
		folder := strings.HasSuffix(to, "/")
		switch {
		case !path.IsAbs(to):
			return nil, fmt.Errorf("%s: a path from / on", to)
		case len(images) > 1 && !folder:
			return nil, errors.New("several images go to a folder: its path ends in /")
		}
		for i, k := range images {
			target := to
			if folder {
				target = path.Join(to, lastPart(k.Path))
			}
			if path.Clean(target) == path.Clean(k.Path) {
				return nil, errors.New("that is the image itself")
			}
			if slices.Contains(out[i], target) {
				return nil, fmt.Errorf("%s is named twice", target)
			}
			out[i] = append(out[i], target)
		}
	}
	if n == 0 {
		return nil, errors.New("say where to")
	}
	return out, nil
}

func (a *App) copySpecs(f *Form, kind backend.TransferKind, keys []ImageKey) ([]backend.TransferSpec, error) {
	targets, err := parseTargets(f.Field("to").Text(), keys)
	if err != nil {
		return nil, err
	}
	limit, err := parseLimit(f.Field("limit").Text())
	var out []backend.TransferSpec
	for n, k := range keys {
		i := a.Images.Find(k.Host, k.Path)
		if i == nil {
			err = errors.Join(err, fmt.Errorf("%s is gone", k.Path))
			continue
		}
		for _, t := range targets[n] {
			if a.Images.Find(k.Host, t) != nil {
				err = errors.Join(err, fmt.Errorf("%s is there already", t))
			}
		}
		s := backend.TransferSpec{Kind: kind, VM: backend.Key{Host: k.Host}, Name: i.Name, Limit: limit,
			Image: backend.CopySpec{Source: k.Path, Format: i.Format, Targets: targets[n]}}
		if kind == backend.TransferConvert {
			s.Image.To, s.Image.Compress = f.Field("format").Chosen(), f.Field("compress").On
			if s.Image.Compress && s.Image.To != "qcow2" {
				err = errors.Join(err, errors.New("raw cannot be compressed: choose qcow2"))
			}
		}
		out = append(out, s)
	}
	return out, err
}

// copyLines say how much is copied, and whether the pools there have room.
func (a *App) copyLines(f *Form, kind backend.TransferKind, keys []ImageKey) []PreviewLine {
	specs, err := a.copySpecs(f, kind, keys)
	if err != nil {
		return nil
	}
	need := map[PoolKey]uint64{}
	var total uint64
	for _, s := range specs {
		i := a.Images.Find(s.VM.Host, s.Image.Source)
		for _, t := range s.Image.Targets {
			total += i.Real
			for _, p := range a.Images.Pools.all {
				if p.Host == s.VM.Host && p.Active && p.Path != "" && path.Dir(t) == path.Clean(p.Path) {
					need[PoolKey{p.Host, p.Name}] += i.Real
				}
			}
		}
	}
	out := []PreviewLine{{LevelInfo, "Up to " + Bytes(float64(total)) + " are written and verified; holes stay holes."}}
	for _, p := range a.Images.Pools.all {
		if n, ok := need[PoolKey{p.Host, p.Name}]; ok {
			out = append(out, roomLine(int64(n), p.Available, "pool "+backend.Clean(p.Name)))
		}
	}
	return out
}

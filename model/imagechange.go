package model

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
	"berth/model/config"
)

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
	able, left := ableOf(a.imageTargets(), imageName, func(i *backend.Image) error { return a.imageCan(i, deletable) })
	for _, i := range able {
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

package model

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// transferImage opens the form that copies or converts images.
func (a *App) transferImage(kind backend.TransferKind) tea.Cmd {
	if cmd, slid := a.imageSlid(); slid {
		return cmd
	}
	var keys []ImageKey
	var names []string
	able, left := ableOf(a.imageTargets(), imageName, func(i *backend.Image) error { return a.imageCan(i, copyable) })
	for _, i := range able {
		keys, names = append(keys, ImageKey{i.Host, i.Path}), append(names, i.Name)
	}
	if len(able) == 0 {
		return a.Warn("nothing is left that it could be done to")
	}
	first := able[0]
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

package model

import (
	"errors"
	"fmt"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
	"berth/model/config"
)

// Fate is what a retention does to a point.
type Fate struct {
	Point *backend.Point
	Keep  bool
	Why   string // which rule keeps it
}

// Retain says of the points of one VM, the latest first, why each is kept: a
// reason for every one that is. It is what forgetting itself goes by.
type Retain func(points []backend.Point, keep backend.Retention) map[string]string

func (a *App) forgetWhy() string {
	if why := a.verifyWhy(); why != "" {
		return "there is no point to forget"
	}
	if a.Screen == ScreenCatalogue && len(a.forgetVMs()) == 0 {
		return "the VM has no points"
	}
	return ""
}

// forgetVMs are the VMs whose points a forgetting is meant for.
func (a *App) forgetVMs() []*VMBackup {
	s := a.Backups
	ids := s.Catalogue.targets()
	if a.Screen == ScreenPoints {
		ids = []backend.UUID{s.Points.VM}
	}
	var out []*VMBackup
	for _, id := range ids {
		if v := s.Catalogue.vms[id]; v != nil && len(v.Points) > 0 {
			out = append(out, v)
		}
	}
	return out
}

// forget opens the form that forgets points by a retention, and shows which.
func (a *App) forget() tea.Cmd {
	if cmd, slid := a.catalogueSlid(); slid {
		return cmd
	}
	vms := a.forgetVMs()
	ids := make([]backend.UUID, len(vms))
	for i, v := range vms {
		ids[i] = v.UUID
	}
	keep := a.opt.BackupKeep
	if keep.IsZero() {
		keep = backend.Retention{Last: 3, Daily: 7, Weekly: 4, Monthly: 6}
	}
	f := &Form{Title: "Forget old points of " + backend.Clean(vms[0].Name), Yes: "Forget…",
		Intro:  []string{"A point that any rule keeps is kept. What no point needs any more is deleted from the repository, after a time of grace."},
		Fields: append(a.repoFields(vms[0].Points[0].Repo), keepFields(keep)...)}
	if len(vms) > 1 {
		f.Title = fmt.Sprintf("Forget old points of %d VMs", len(vms))
	}
	f.Focus = 3 // the first rule
	f.Foresee = func(a *App, f *Form) []PreviewLine { return a.forgetLines(f, ids) }
	f.Filled = func(f *Form) error {
		keep, err := keepOf(f)
		if err == nil && keep.IsZero() {
			err = errors.New("without a rule nothing is forgotten")
		}
		_, e := a.repoOf(f)
		return errors.Join(err, e)
	}
	f.OnYes = func(a *App, f *Form) tea.Cmd { return a.confirmForget(f, ids) }
	a.Push(f)
	return a.foresee(f)
}

// Fates are what a retention would do to a VM's points in a repository; ok is
// false where this session cannot tell.
func (a *App) Fates(id backend.UUID, repo string, keep backend.Retention) (out []Fate, ok bool) {
	v := a.Backups.Catalogue.vms[id]
	if v == nil || a.opt.Retain == nil {
		return nil, false
	}
	var points []backend.Point
	for _, p := range v.Points {
		if p.Repo == repo {
			points = append(points, *p)
		}
	}
	kept := a.opt.Retain(points, keep)
	for i := range points {
		why, on := kept[points[i].ID]
		out = append(out, Fate{&points[i], on, why})
	}
	return out, true
}

// fates are those of all VMs meant.
func (a *App) fates(f *Form, ids []backend.UUID) (all []Fate, gone int, ok bool) {
	repo, _ := a.repoOf(f)
	keep, err := keepOf(f)
	if err != nil {
		return nil, 0, false
	}
	for _, id := range ids {
		fates, known := a.Fates(id, repo.URL, keep)
		if !known {
			return nil, 0, false
		}
		for _, x := range fates {
			if !x.Keep {
				gone++
			}
		}
		all = append(all, fates...)
	}
	return all, gone, true
}

// forgetLines say which points would go, and which stay and why.
func (a *App) forgetLines(f *Form, ids []backend.UUID) []PreviewLine {
	all, gone, ok := a.fates(f, ids)
	if !ok {
		return []PreviewLine{{LevelInfo, "Which points would go is worked out by the engine; berth backup forget --dry-run shows it."}}
	}
	head := PreviewLine{LevelInfo, fmt.Sprintf("%d of %s would be forgotten, %d kept.", gone, count(len(all), "point"), len(all)-gone)}
	if gone == len(all) && gone > 0 {
		head.Level = LevelBad
	} else if gone > 0 {
		head.Level = LevelWarn
	}
	out := []PreviewLine{head}
	for _, x := range all {
		text := x.Point.At.Format("2006-01-02 15:04")
		if len(ids) > 1 {
			text = backend.Clean(x.Point.Name) + " " + text
		}
		if x.Keep {
			out = append(out, PreviewLine{LevelOK, "keep   " + text + "  " + x.Why})
			continue
		}
		out = append(out, PreviewLine{LevelBad, "forget " + text})
	}
	return out
}

// confirmForget asks once more, with every point that goes.
func (a *App) confirmForget(f *Form, ids []backend.UUID) tea.Cmd {
	repo, err := a.repoOf(f)
	keep, e := keepOf(f)
	if err = errors.Join(err, e); err != nil {
		return a.Warn(err.Error())
	}
	all, gone, known := a.fates(f, ids)
	if known && gone == 0 {
		return a.Info("all points are kept: nothing to forget")
	}
	c := Confirm{Title: "Forget points?", Yes: "Forget", Danger: true,
		Body: []string{"Keeps " + config.RetentionText(keep) + " in " + repo.URL + ". What is forgotten cannot be restored any more."}}
	if known {
		c.Title = fmt.Sprintf("Forget %s?", count(gone, "point"))
		if gone == len(all) {
			c.Body = append(c.Body, "No point is left then.")
			c.Type = "forget"
		}
	}
	for _, x := range all {
		if !x.Keep {
			c.Names = append(c.Names, x.Point.Name+" "+x.Point.At.Format("2006-01-02 15:04:05"))
		}
	}
	var specs []backend.TransferSpec
	for _, id := range ids {
		if v := a.Backups.Catalogue.vms[id]; v != nil {
			specs = append(specs, backend.TransferSpec{Kind: backend.TransferForget, VM: backend.Key{Host: v.Host, UUID: v.UUID}, Name: v.Name, Repo: repo, Keep: keep})
		}
	}
	c.OnYes = func(a *App, _ *Confirm) tea.Cmd {
		a.Backups.Catalogue.ClearMarks()
		return a.order(specs, "forgetting ordered ("+a.KeyFor("backups")+" shows it)")
	}
	a.Push(newConfirm(c))
	return nil
}

package model

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// verifyWhy says why nothing can be verified here.
func (a *App) verifyWhy() string {
	if why := a.backupsRefuse(); why != "" {
		return why
	}
	if len(a.Backups.State.Points) == 0 {
		return "there is no point to verify"
	}
	return ""
}

// verifyTargets are the points that a verification is meant for on this
// screen: of the marked or selected ones, or of those VMs; none means whole
// repositories.
func (a *App) verifyTargets() []*backend.Point {
	s := a.Backups
	var out []*backend.Point
	switch a.Screen {
	case ScreenPoints:
		for _, k := range s.Points.targets() {
			if p := s.Points.points[k]; p != nil {
				out = append(out, p)
			}
		}
	case ScreenCatalogue:
		for _, id := range s.Catalogue.targets() {
			if v := s.Catalogue.vms[id]; v != nil {
				out = append(out, v.Points...)
			}
		}
	}
	return out
}

// verify opens the form that has points read back.
func (a *App) verify() tea.Cmd {
	if cmd, slid := a.catalogueSlid(); slid {
		return cmd
	}
	points := a.verifyTargets()
	what := []string{"the whole repository"}
	repo := ""
	if len(points) > 0 {
		what, repo = append(what, verifyWords(points)), points[0].Repo
	}
	now := what[len(what)-1]
	fields := append([]Field{choiceField("what", "what", what, now, "what is read back and compared")}, a.repoFields(repo)...)
	fields = append(fields,
		textField("sample", "sample", "", "100%", "percent of the chunks, chosen at random; all unless told", optional(func(s string) error { _, err := parseSample(s); return err })),
		textField("limit", "limit", "", "none", "bytes read a second, as 50M", optional(func(s string) error { _, err := parseLimit(s); return err })))
	f := &Form{Title: "Verify", Yes: "Verify", Fields: fields, Intro: []string{"Reads what the repository stores, decrypts and decompresses it, and compares it with its checksums. What is damaged is named and marked in the catalogue."}}
	ids := make([]PointKey, len(points))
	for i, p := range points {
		ids[i] = keyOf(p)
	}
	f.Foresee = func(a *App, f *Form) []PreviewLine { return a.repoLines(f) }
	f.Filled = func(f *Form) error { _, err := a.verifySpec(f, ids); return err }
	f.OnYes = func(a *App, f *Form) tea.Cmd {
		spec, err := a.verifySpec(f, ids)
		if err != nil {
			return a.Warn(err.Error())
		}
		return a.order([]backend.TransferSpec{spec}, "verification ordered ("+a.KeyFor("backups")+" shows it)")
	}
	a.Push(f)
	return a.foresee(f)
}

func verifyWords(points []*backend.Point) string {
	if len(points) == 1 {
		return points[0].Name + " of " + points[0].At.Format("2006-01-02 15:04")
	}
	same := true
	for _, p := range points {
		same = same && p.VM == points[0].VM
	}
	if same {
		return fmt.Sprintf("%d points of %s", len(points), points[0].Name)
	}
	return fmt.Sprintf("%d points", len(points))
}

// parseSample reads a percentage; nothing is all.
func parseSample(s string) (float64, error) {
	s = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s), "%"))
	if s == "" {
		return 0, nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v > 0 && v <= 100) {
		return 0, errors.New("a percentage above 0, at most 100")
	}
	if v == 100 {
		return 0, nil
	}
	return v, nil
}

func (a *App) verifySpec(f *Form, points []PointKey) (backend.TransferSpec, error) {
	repo, err := a.repoOf(f)
	spec := backend.TransferSpec{Kind: backend.TransferVerify, Repo: repo}
	var e error
	spec.Verify.Sample, e = parseSample(f.Field("sample").Text())
	err = errors.Join(err, e)
	spec.Limit, e = parseLimit(f.Field("limit").Text())
	err = errors.Join(err, e)
	if f.Field("what").Value == 0 {
		return spec, err
	}
	for _, k := range points {
		if k.Repo == repo.URL {
			spec.Verify.Points = append(spec.Verify.Points, k.ID)
		}
	}
	if len(spec.Verify.Points) == 0 {
		err = errors.Join(err, errors.New("none of the points lies in that repository"))
	}
	spec.Name = f.Field("what").Chosen()
	return spec, err
}

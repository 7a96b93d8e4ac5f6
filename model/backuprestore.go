package model

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// restoreKind is what becomes of what is restored.
type restoreKind uint8

const (
	restoreCopy    restoreKind = iota // a VM of its own, beside the old one
	restoreInPlace                    // the VM as it was, its disks set aside
	restoreDisks                      // images alone
)

// asItWas is the choice of a pool or a format where none is asked for.
const asItWas = "as it was"

// restorePlan is a restore that is being put together, step by step: which
// point, what becomes of it, on which host, the form, the summary.
type restorePlan struct {
	point PointKey
	kind  restoreKind
	host  string
	pools []backend.Pool

	screen ScreenID // that it was begun on
}

// left reports whether the person has turned to something else while a host
// was asked: then the wizard must not come up again.
func (r *restorePlan) left(a *App) bool {
	return a.Screen != r.screen || len(a.Overlays) > 0 || a.Palette != nil || a.Line != nil
}

// restoreVM is the VM, and the point where one is chosen, that a restore
// is meant for on this screen.
func (a *App) restoreVM() (*VMBackup, *backend.Point) {
	s := a.Backups
	switch a.Screen {
	case ScreenPoints:
		return s.Catalogue.vms[s.Points.VM], s.Points.Selected()
	case ScreenCatalogue:
		return s.Catalogue.Selected(), nil
	case ScreenVMs, ScreenDetail:
		if r := a.one(); r != nil {
			return s.Catalogue.vms[r.UUID], nil
		}
	}
	return nil, nil
}

func (a *App) restoreWhy() string {
	if why := a.backupsRefuse(); why != "" {
		return why
	}
	v, _ := a.restoreVM()
	switch {
	case v == nil:
		return "no VM is selected"
	case len(v.Points) == 0:
		return v.Name + " has no backup"
	}
	return ""
}

// restore begins the wizard.
func (a *App) restore() tea.Cmd {
	if cmd, slid := a.catalogueSlid(); slid {
		return cmd
	}
	v, p := a.restoreVM()
	if a.Screen == ScreenPoints && a.Backups.Points.slid() {
		a.Backups.Points.Move(0)
		return a.Warn("the selected point is gone; the same key again acts on the one that is selected now")
	}
	if p != nil {
		return a.chooseRestore(&restorePlan{point: keyOf(p), screen: a.Screen})
	}
	m := &Menu{Title: "Restore " + backend.Clean(v.Name) + ": as of when?"}
	now := a.clock.Now()
	for _, p := range v.Points {
		k := keyOf(p)
		it := MenuItem{Label: p.At.In(now.Location()).Format("Mon 2006-01-02 15:04"), Note: pointNote(p, now),
			Run: func(a *App) tea.Cmd { return a.chooseRestore(&restorePlan{point: k, screen: a.Screen}) }}
		m.Items = append(m.Items, it)
	}
	a.Push(m)
	return nil
}

// pointNote tells a point from another in few words.
func pointNote(p *backend.Point, now time.Time) string {
	parts := []string{Duration(max(0, now.Sub(p.At))) + " ago", pointIs(p)[0], Bytes(float64(p.Data))}
	switch {
	case p.Damaged != "":
		parts = append(parts, "DAMAGED: "+p.Damaged)
	case !p.Verified.IsZero():
		parts = append(parts, "verified "+Duration(max(0, now.Sub(p.Verified)))+" ago")
	}
	if len(p.Tags) > 0 {
		parts = append(parts, strings.Join(p.Tags, " "))
	}
	return backend.Clean(strings.Join(parts, ", "))
}

// chooseRestore asks what becomes of what is restored.
func (a *App) chooseRestore(r *restorePlan) tea.Cmd {
	p := a.Backups.Point(r.point)
	if p == nil {
		return a.Warn("that point is gone")
	}
	step := func(kind restoreKind) func(*App) tea.Cmd {
		return func(a *App) tea.Cmd {
			next := *r
			next.kind = kind
			return a.chooseRestoreHost(&next)
		}
	}
	a.Push(&Menu{Title: "Restore " + backend.Clean(p.Name) + " of " + p.At.In(a.clock.Now().Location()).Format("2006-01-02 15:04") + ": as what?", Items: []MenuItem{
		{Key: "c", Label: "a copy", Note: "a VM with a new name, UUID and MACs, beside the old one", Run: step(restoreCopy)},
		{Key: "i", Label: "in place", Note: "the VM as it was then; its disks of today are set aside", Why: a.inPlaceWhy(p), Run: step(restoreInPlace)},
		{Key: "d", Label: "disks only", Note: "image files, and nothing is defined", Run: step(restoreDisks)},
	}})
	return nil
}

// inPlaceWhy says why a point cannot take the place of its VM, or "".
func (a *App) inPlaceWhy(p *backend.Point) string {
	v := a.Backups.Catalogue.vms[p.VM]
	if v == nil || v.Row == nil {
		return "no connected host has the VM: a copy brings it back"
	}
	row := a.Fleet.Row(v.Row.Key())
	switch {
	case row == nil:
		return "no connected host has the VM: a copy brings it back"
	case row.State.Active():
		return "it is " + row.State.String() + ": it must be off"
	case row.Pending != "":
		return "it is " + row.Pending.Info().Doing
	}
	if t := a.Backups.Active(p.VM); t != nil {
		return "a " + string(t.Spec.Kind) + " of it is under way"
	}
	return ""
}

// chooseRestoreHost asks which host it goes to, where that is a question.
func (a *App) chooseRestoreHost(r *restorePlan) tea.Cmd {
	p := a.Backups.Point(r.point)
	if p == nil {
		return a.Warn("that point is gone")
	}
	if r.kind == restoreInPlace {
		if why := a.inPlaceWhy(p); why != "" {
			return a.Warn("in place: " + why)
		}
		r.host = a.Backups.Catalogue.vms[p.VM].Row.Host
		return a.restoreRoom(r)
	}
	m := &Menu{Title: "Restore " + backend.Clean(p.Name) + ": on which host?"}
	for _, h := range a.Fleet.hosts {
		name := h.Host.Name()
		it := MenuItem{Label: name, Run: func(a *App) tea.Cmd {
			next := *r
			next.host = name
			return a.restoreRoom(&next)
		}}
		switch {
		case h.Host.ReadOnly():
			it.Why = errReadOnly.Error()
		case h.Err != nil:
			it.Why = "does not answer"
		}
		if name == p.Host {
			it.Note, m.Index = "where it was", len(m.Items)
		}
		m.Items = append(m.Items, it)
	}
	if len(m.Items) == 1 && m.Items[0].Why == "" {
		return m.Items[0].Run(a)
	}
	if len(m.Items) == 0 {
		return a.Warn("no host is connected")
	}
	a.Push(m)
	return nil
}

// restoreDeadline is how long a host may take to say what room it has.
const restoreDeadline = 15 * time.Second

// restoreRoom asks the host for its pools, then opens the form.
func (a *App) restoreRoom(r *restorePlan) tea.Cmd {
	h := a.Fleet.HostState(r.host)
	if h == nil {
		return a.Warn(r.host + " is not connected any more")
	}
	store, ok := h.Host.(backend.Storage)
	if !ok || r.kind == restoreInPlace {
		return a.openRestore(r)
	}
	parent := a.ctx
	return tea.Batch(a.Info("asking "+r.host+" what room it has"), func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, restoreDeadline)
		defer cancel()
		pools, err := store.Pools(ctx)
		return result(func(a *App) tea.Cmd {
			if r.left(a) {
				return nil
			}
			if err != nil {
				return a.Bad(err.Error())
			}
			r.pools = pools
			return a.openRestore(r)
		})
	})
}

// openRestore opens the form of the last choices.
func (a *App) openRestore(r *restorePlan) tea.Cmd {
	p := a.Backups.Point(r.point)
	if p == nil {
		return a.Warn("that point is gone")
	}
	f := &Form{Title: "Restore " + backend.Clean(p.Name) + " of " + p.At.In(a.clock.Now().Location()).Format("2006-01-02 15:04"), Yes: "Summary…", Fields: a.restoreFields(r, p)}
	f.Intro = []string{restoreIntro(r, p)}
	f.Foresee = func(a *App, f *Form) []PreviewLine { return a.restoreLines(f, r) }
	f.Filled = func(f *Form) error { _, err := a.restoreSpec(f, r); return err }
	f.OnYes = func(a *App, f *Form) tea.Cmd { return a.checkRoom(f, r) }
	a.Push(f)
	return a.foresee(f)
}

func restoreIntro(r *restorePlan, p *backend.Point) string {
	switch r.kind {
	case restoreInPlace:
		return "Takes the place of " + p.Name + " on " + r.host + ", which must stay off meanwhile."
	case restoreDisks:
		return "Writes images on " + r.host + ". A disk without a path is left out."
	}
	return "Makes a new VM on " + r.host + "."
}

func (a *App) restoreFields(r *restorePlan, p *backend.Point) []Field {
	var fields []Field
	pools := []string{asItWas}
	dir := ""
	for i := range r.pools {
		if x := &r.pools[i]; x.Active {
			pools = append(pools, x.Name)
			if dir == "" && x.Type == "dir" {
				dir = x.Path
			}
		}
	}
	switch r.kind {
	case restoreCopy:
		fields = append(fields,
			textField("name", "name", a.freeName(r.host, p.Name+"-restored"), "", "of the new VM", func(s string) error { return a.nameFree(r.host, s) }),
			choiceField("pool", "pool", pools, r.defaultPool(p), "where its disks go"))
	case restoreDisks:
		for _, d := range p.Disks {
			value := ""
			if dir != "" {
				value = path.Join(dir, p.Name+"-"+d.Target+"-"+p.At.UTC().Format("20060102-150405")+"."+imageSuffix(d.Format))
			}
			fields = append(fields, textField("disk-"+d.Target, d.Target, value, "left out", Bytes(float64(d.Size))+" disk, "+Bytes(float64(d.Data))+" of data", optional(checkAbsolute)))
		}
	}
	if r.kind != restoreInPlace {
		fields = append(fields, choiceField("format", "format", []string{asItWas, "qcow2", "raw"}, asItWas, "of the images"))
	}
	if r.kind != restoreDisks {
		fields = append(fields, switchField("start", "start", false, "start it then"))
	}
	fields = append(fields, textField("limit", "limit", "", "none", "bytes a second, as 50M", optional(func(s string) error { _, err := parseLimit(s); return err })))
	if repo := a.Backups.Repo(p.Repo); repo == nil || repo.Encrypted {
		secret := ""
		if ref := a.refOf(p.Repo); ref.PassphraseFile != "" {
			secret = ref.PassphraseFile
		}
		fields = append(fields, textField("secret", "passphrase", secret, "its file, where it is not known", "path of a file that holds the passphrase of the repository", optional(checkAbsolute)))
	}
	return fields
}

// defaultPool is where a copy's disks go unless somebody says otherwise: the
// pool that held the first of them, else the one that is called default, else
// the one with the most room.
func (r *restorePlan) defaultPool(p *backend.Point) string {
	best, room := asItWas, uint64(0)
	rank := 0
	for i := range r.pools {
		x := &r.pools[i]
		n := 1
		switch {
		case !x.Active:
			continue
		case r.host == p.Host && len(p.Disks) > 0 && x.Path != "" && path.Dir(p.Disks[0].Path) == path.Clean(x.Path):
			n = 3
		case x.Name == "default":
			n = 2
		}
		if n > rank || n == rank && x.Available > room {
			best, room, rank = x.Name, x.Available, n
		}
	}
	return best
}

func imageSuffix(format string) string {
	if format == "" || format == "raw" {
		return "img"
	}
	return format
}

// refOf is the repository of that URL, with what is known of its secret.
func (a *App) refOf(url string) backend.RepoRef {
	for _, r := range a.repoRefs() {
		if r.URL == url {
			return r
		}
	}
	return backend.RepoRef{URL: url}
}

// nameFree says why a VM cannot be called so on a host, or nil.
func (a *App) nameFree(host, name string) error {
	if name == "" {
		return errors.New("a name is missing")
	}
	if strings.ContainsAny(name, "/\n\x00") || backend.Clean(name) != name {
		return errors.New("a name holds no / and no control character")
	}
	for _, r := range a.Fleet.rows {
		if r.Host == host && r.Name == name {
			return fmt.Errorf("%s has a VM of that name", host)
		}
	}
	return nil
}

// freeName is name, or name with a number that no VM of the host has.
func (a *App) freeName(host, name string) string {
	for n := 2; a.nameFree(host, name) != nil && n < 1000; n++ {
		base, _, _ := strings.Cut(name, "-restored")
		name = fmt.Sprintf("%s-restored-%d", base, n)
	}
	return name
}

// restoreSpec is what the form asks for.
func (a *App) restoreSpec(f *Form, r *restorePlan) (backend.TransferSpec, error) {
	p := a.Backups.Point(r.point)
	if p == nil {
		return backend.TransferSpec{}, errors.New("that point is gone")
	}
	s := backend.TransferSpec{Kind: backend.TransferRestore, VM: backend.Key{Host: r.host}, Name: p.Name, Repo: a.refOf(p.Repo)}
	s.Restore.Point = p.ID
	var err error
	s.Limit, err = parseLimit(f.Field("limit").Text())
	if x := f.Field("secret"); x != nil && x.Text() != "" {
		s.Repo.PassphraseFile, s.Repo.IdentityFile = x.Text(), ""
	}
	if x := f.Field("format"); x != nil && x.Value > 0 {
		s.Restore.Format = x.Chosen()
	}
	if x := f.Field("start"); x != nil {
		s.Restore.Start = x.On
	}
	switch r.kind {
	case restoreInPlace:
		s.VM.UUID = p.VM
		if why := a.inPlaceWhy(p); why != "" {
			err = errors.Join(err, errors.New(why))
		}
	case restoreCopy:
		s.Restore.NewName = f.Field("name").Text()
		err = errors.Join(err, a.nameFree(r.host, s.Restore.NewName))
		if x := f.Field("pool"); x.Chosen() != asItWas {
			s.Restore.Pool = x.Chosen()
		}
	case restoreDisks:
		s.Restore.DisksOnly, s.Restore.Disks = true, map[string]string{}
		for _, d := range p.Disks {
			if to := f.Field("disk-" + d.Target).Text(); to != "" {
				s.Restore.Disks[d.Target] = to
			}
		}
		if len(s.Restore.Disks) == 0 {
			err = errors.Join(err, errors.New("no disk has a path: nothing would be restored"))
		}
	}
	return s, err
}

// summary says all that will happen, and asks for the last time.
func (a *App) summary(s backend.TransferSpec, r *restorePlan, room []string) tea.Cmd {
	p := a.Backups.Point(r.point)
	if p == nil {
		return a.Warn("that point is gone")
	}
	now := a.clock.Now()
	c := Confirm{Title: "Restore " + backend.Clean(p.Name) + "?", Yes: "Restore", Danger: r.kind == restoreInPlace}
	c.Body = append(c.Body, fmt.Sprintf("From %s: %s, %s.", p.Repo, p.At.In(now.Location()).Format("2006-01-02 15:04:05"), pointNote(p, now)))
	switch r.kind {
	case restoreCopy:
		c.Body = append(c.Body, fmt.Sprintf("A new VM %s is defined on %s, with a new UUID and new MAC addresses. The old one is not touched.", s.Restore.NewName, r.host))
	case restoreInPlace:
		c.Body = append(c.Body, fmt.Sprintf("%s on %s becomes what it was then: its disks of today are set aside first and stay there under another name; its definition is replaced.", p.Name, r.host))
		c.Type = p.Name
	default:
		c.Body = append(c.Body, "Images are written on "+r.host+"; nothing is defined.")
	}
	plans := diskPlans(&s, p)
	for _, d := range plans {
		format := d.disk.Format
		if s.Restore.Format != "" {
			format = s.Restore.Format
		}
		c.Names = append(c.Names, fmt.Sprintf("%s: %s %s, %s of data, to %s", d.disk.Target, Bytes(float64(d.disk.Size)), format, Bytes(float64(d.disk.Data)), d.to))
	}
	c.Body = append(c.Body, fmt.Sprintf("%s are written, and verified on the way.", Bytes(float64(written(plans)))))
	c.Body = append(c.Body, room...)
	if p.Damaged != "" {
		c.Danger = true
		c.Body = append(c.Body, "THE POINT IS DAMAGED: "+p.Damaged+". What is damaged is not restored, and is named.")
	} else if p.Verified.IsZero() {
		c.Body = append(c.Body, "It was never verified since it was made.")
	}
	if s.Restore.Start {
		c.Body = append(c.Body, "It is started then.")
	}
	c.OnYes = func(a *App, _ *Confirm) tea.Cmd {
		if p := a.Backups.Point(r.point); p == nil {
			return a.Warn("that point is gone")
		} else if r.kind == restoreInPlace && a.inPlaceWhy(p) != "" {
			return a.Warn("in place: " + a.inPlaceWhy(p))
		}
		return a.order([]backend.TransferSpec{s}, fmt.Sprintf("%s: restore ordered (%s shows it)", backend.Clean(p.Name), a.KeyFor("backups")))
	}
	a.Push(newConfirm(c))
	return nil
}

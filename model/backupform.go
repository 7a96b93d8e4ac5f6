package model

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// elsewhere is the choice of a repository that is not known yet.
const elsewhere = "another, as below"

// repoRefs are the repositories that are known: from the config, from what was
// used, from schedules; each once.
func (a *App) repoRefs() []backend.RepoRef {
	var out []backend.RepoRef
	add := func(r backend.RepoRef) {
		if r.URL == "" {
			return
		}
		for i := range out {
			if out[i].URL != r.URL {
				continue
			}
			if out[i].PassphraseFile == "" && out[i].IdentityFile == "" {
				out[i] = r
			}
			return
		}
		out = append(out, r)
	}
	for _, r := range a.opt.BackupRepos {
		add(r)
	}
	for i := range a.Backups.State.Repos {
		add(a.Backups.State.Repos[i].Ref)
	}
	for i := range a.Backups.State.Schedules {
		add(a.Backups.State.Schedules[i].Repo)
	}
	return out
}

// repoFields ask for a repository; now is the one in force, or "".
func (a *App) repoFields(now string) []Field {
	refs := a.repoRefs()
	values := make([]string, 0, len(refs)+1)
	for _, r := range refs {
		values = append(values, r.URL)
	}
	if now == "" && len(values) > 0 {
		now = values[0]
	}
	if !slices.Contains(values, now) {
		now = elsewhere
	}
	values = append(values, elsewhere)
	choice := choiceField("repo", "repository", values, now, "where it is kept")
	choice.Helps = map[string]string{elsewhere: "one that is not known here yet: say where below"}
	return []Field{choice,
		textField("where", "or where", "", "/backup or sftp://user@host/path", "a folder, or sftp://[user@]host[:port]/path; berth backup init makes one", optional(checkRepoURL)),
		textField("secret", "passphrase", "", "its file, where it is not known", "path of a file that holds the passphrase of an encrypted repository", optional(checkAbsolute)),
	}
}

func checkRepoURL(s string) error {
	if strings.HasPrefix(s, "/") {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "sftp" || u.Host == "" || u.Path == "" {
		return errors.New("a folder's path from / on, or sftp://[user@]host[:port]/path")
	}
	return nil
}

func checkAbsolute(s string) error {
	if !path.IsAbs(s) {
		return errors.New("a path from / on")
	}
	return nil
}

// repoOf is the repository that a form's fields name.
func (a *App) repoOf(f *Form) (backend.RepoRef, error) {
	x, where, secret := f.Field("repo"), f.Field("where"), f.Field("secret")
	ref := backend.RepoRef{URL: where.Text()}
	if x.Chosen() != elsewhere {
		for _, r := range a.repoRefs() {
			if r.URL == x.Chosen() {
				ref = r
			}
		}
	}
	if ref.URL == "" {
		return ref, errors.New("which repository? say where it lies; berth backup init makes one")
	}
	if secret.Text() != "" {
		ref.PassphraseFile, ref.IdentityFile = secret.Text(), ""
	}
	return ref, errors.Join(where.Err, secret.Err)
}

// repoLines say what is known of the repository that a form names.
func (a *App) repoLines(f *Form) []PreviewLine {
	ref, err := a.repoOf(f)
	if err != nil {
		return nil
	}
	r := a.Backups.Repo(ref.URL)
	switch {
	case r == nil:
		return []PreviewLine{{LevelInfo, "The repository has not been read here yet."}}
	case r.Trouble != "":
		return []PreviewLine{{LevelWarn, "The repository could not be read last time: " + backend.Clean(r.Trouble)}}
	}
	text := fmt.Sprintf("The repository holds %s in %s", count(r.Points, "point"), Bytes(float64(r.Stored)))
	if r.Room > 0 {
		text += fmt.Sprintf(", %s are free there", Bytes(float64(r.Room)))
	}
	out := []PreviewLine{{LevelInfo, text + "."}}
	if r.Encrypted && ref.PassphraseFile == "" && ref.IdentityFile == "" {
		out = append(out, PreviewLine{LevelWarn, "It is encrypted: without the file of its passphrase this waits until somebody tells the secret."})
	}
	return out
}

// backupTargets are the VMs that a backup is meant for on this screen.
func (a *App) backupTargets() []*Row {
	switch a.Screen {
	case ScreenVMs, ScreenDetail:
		return a.targets()
	case ScreenQueue, ScreenJob:
		if r := a.JobRow(); r != nil {
			return []*Row{r}
		}
	case ScreenCatalogue:
		return a.rowsOf(a.Backups.Catalogue.targets())
	case ScreenPoints:
		return a.rowsOf([]backend.UUID{a.Backups.Points.VM})
	case ScreenBackups:
		var ids []backend.UUID
		for _, r := range a.Backups.rowTargets() {
			id := r.Key().VM
			if r.Transfer != nil {
				id = r.Transfer.Spec.VM.UUID
			}
			if !id.IsZero() && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		return a.rowsOf(ids)
	}
	return nil
}

// rowsOf are the rows of VMs that a host still has.
func (a *App) rowsOf(ids []backend.UUID) []*Row {
	var out []*Row
	for _, id := range ids {
		if v := a.Backups.Catalogue.vms[id]; v != nil && v.Row != nil {
			if r := a.Fleet.Row(v.Row.Key()); r != nil {
				out = append(out, r)
			}
		}
	}
	return out
}

// canBackUp says why a VM cannot be backed up now, or nil.
func (a *App) canBackUp(r *Row) error {
	h := a.Fleet.HostState(r.Host)
	switch {
	case h == nil || r.HostDown:
		return fmt.Errorf("%s does not answer", r.Host)
	case h.Host.ReadOnly():
		return errReadOnly
	}
	if t := a.Backups.Active(r.UUID); t != nil && t.Spec.Kind == backend.TransferBackup {
		return fmt.Errorf("%s is being backed up already", r.Name)
	}
	return nil
}

// backupWhy says why none of the targets can be backed up.
func (a *App) backupWhy() string {
	if why := a.backupsRefuse(); why != "" {
		return why
	}
	return noneCan(a.backupTargets(), "no VM is selected that a host has", "VMs", a.canBackUp)
}

// backUp opens the form that backs the targets up.
func (a *App) backUp() tea.Cmd {
	if a.Screen == ScreenVMs {
		if was, is, ok := a.slid(); ok {
			return a.Warn(fmt.Sprintf("%s left the list; this is %s: the same key again acts on it", was, is))
		}
	}
	if cmd, slid := a.catalogueSlid(); slid {
		return cmd
	}
	vms, left := ableOf(a.backupTargets(), nil, a.canBackUp)
	if len(vms) == 0 {
		return a.Warn("nothing is left that could be backed up")
	}
	f := a.backupForm(vms)
	f.Intro = append(f.Intro, left...)
	a.Push(f)
	return a.foresee(f)
}

func (a *App) backupForm(vms []*Row) *Form {
	repo := ""
	if v := a.Backups.Catalogue.vms[vms[0].UUID]; v != nil && len(v.Points) > 0 {
		repo = v.Points[0].Repo
	}
	fields := append(a.repoFields(repo),
		switchField("full", "full", false, "read all of it again, though an incremental one would do"),
		switchField("quiesce", "quiesce", true, "have the guest's agent freeze its file systems for the instant"),
		textField("tags", "tags", "", "none", "words to find it by, and to keep it by", nil),
		textField("limit", "limit", limitText(a.opt.BackupLimit), "none", "bytes read a second, as 50M", optional(func(s string) error { _, err := parseLimit(s); return err })))
	f := &Form{Title: "Back up " + backend.Clean(vms[0].Name), Yes: "Back up", Fields: fields}
	if len(vms) > 1 {
		f.Title = fmt.Sprintf("Back up %d VMs", len(vms))
		f.Intro = []string{backend.Clean(namesOf(vms))}
	}
	keys := keys(vms)
	f.Foresee = func(a *App, f *Form) []PreviewLine {
		return append(a.backupLines(keys, f.Field("full").On), a.repoLines(f)...)
	}
	f.Filled = func(f *Form) error {
		_, err := a.backupSpecs(f, keys)
		return err
	}
	f.OnYes = func(a *App, f *Form) tea.Cmd {
		specs, err := a.backupSpecs(f, keys)
		if err != nil {
			return a.Warn(err.Error())
		}
		name := backend.Clean(specs[0].Name)
		if len(specs) > 1 {
			name = fmt.Sprintf("%d VMs", len(specs))
			a.VMs.ClearMarks()
			a.Backups.Catalogue.ClearMarks()
		}
		return a.order(specs, fmt.Sprintf("%s: backup ordered (%s shows it)", name, a.KeyFor("backups")))
	}
	return f
}

func namesOf(rows []*Row) string {
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.Name
	}
	return strings.Join(names, ", ")
}

// backupSpecs is what a filled form asks for each VM that is still there.
func (a *App) backupSpecs(f *Form, vms []backend.Key) ([]backend.TransferSpec, error) {
	repo, err := a.repoOf(f)
	limit, e := parseLimit(f.Field("limit").Text())
	err = errors.Join(err, e)
	var out []backend.TransferSpec
	for _, k := range vms {
		if r := a.Fleet.Row(k); r != nil {
			out = append(out, backend.TransferSpec{Kind: backend.TransferBackup, VM: k, Name: r.Name, Repo: repo, Limit: limit,
				Backup: backend.BackupSpec{Full: f.Field("full").On, NoQuiesce: !f.Field("quiesce").On, Tags: words(f.Field("tags").Text())}})
		}
	}
	if len(out) == 0 {
		err = errors.Join(err, errors.New("the VM is gone"))
	}
	return out, err
}

// backupLines say what a backup of VMs would be, as far as is known before.
func (a *App) backupLines(vms []backend.Key, full bool) []PreviewLine {
	var first, again int
	var data int64
	for _, k := range vms {
		v := a.Backups.Catalogue.vms[k.UUID]
		switch {
		case v == nil || v.Good == nil:
			first++
		default:
			again++
			data += v.Good.Data
		}
	}
	var out []PreviewLine
	if first > 0 {
		out = append(out, PreviewLine{LevelInfo, oneOrMany(first, "%d VM has", "%d VMs have") + " no backup yet: a full one is made."})
	}
	switch {
	case again > 0 && full:
		out = append(out, PreviewLine{LevelWarn, fmt.Sprintf("Full: some %s are read again, of %s. What the repository has is not stored twice.", Bytes(float64(data)), oneOrMany(again, "%d VM", "%d VMs"))})
	case again > 0:
		out = append(out, PreviewLine{LevelInfo, "Incremental where the checkpoint is still good; a full one where it is lost, and it says why."})
	}
	return out
}

// oneOrMany is a number in one of two sentences.
func oneOrMany(n int, one, many string) string {
	if n == 1 {
		return strings.Replace(one, "%d", "1", 1)
	}
	return strings.Replace(many, "%d", strconv.Itoa(n), 1)
}

// foresee works out what would follow from a form, where it can be told at
// once.
func (a *App) foresee(f *Form) tea.Cmd {
	if f.Foresee != nil {
		f.Preview.Lines, f.Preview.Known = f.Foresee(a, f), true
	}
	return nil
}

// catalogueSlid refuses once when another VM than the person selected is under
// the catalogue's cursor.
func (a *App) catalogueSlid() (tea.Cmd, bool) {
	c := &a.Backups.Catalogue
	if a.Screen != ScreenCatalogue || !c.slid() {
		return nil, false
	}
	c.Move(0)
	return a.Warn("the selected VM left the list; this is " + c.Selected().Name + ": the same key again acts on it"), true
}

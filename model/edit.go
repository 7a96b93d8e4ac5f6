package model

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// xmlEdit is one edit of a definition, from the fetched XML to the defined
// one. The person's text lives in a file until libvirt has taken it.
type xmlEdit struct {
	key    backend.Key
	name   string
	host   backend.Host
	editor []string
	before string
	after  string
	path   string
}

func (a *App) editDisabled() string {
	r := a.one()
	if r == nil {
		return "no VM is selected"
	}
	if err := a.hostRefuses(r); err != nil {
		return err.Error()
	}
	if _, ok := a.Fleet.HostState(r.Host).Host.(backend.Definer); !ok {
		return "this host cannot define VMs"
	}
	switch {
	case !r.Persistent:
		return r.Name + " is transient: it has no stored definition"
	case len(a.opt.Editor) == 0:
		return "no editor: set EDITOR, or editor in the config"
	}
	return ""
}

// edit fetches the stored definition and opens it in the editor.
func (a *App) edit() tea.Cmd {
	r := a.one()
	e := &xmlEdit{key: r.Key(), name: r.Name, host: a.Fleet.HostState(r.Host).Host, editor: a.opt.Editor}
	parent := a.ctx
	return func() tea.Msg {
		err := e.fetch(parent)
		return result(func(a *App) tea.Cmd {
			if err != nil {
				return a.Bad(fmt.Sprintf("edit %s: %v", e.name, err))
			}
			return a.openEditor(e)
		})
	}
}

func (e *xmlEdit) fetch(parent context.Context) error {
	ctx, cancel := context.WithTimeout(parent, detailDeadline)
	defer cancel()
	x, err := e.host.XML(ctx, e.key.UUID, true)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp("", "berth-"+fileName(e.name)+"-*.xml")
	if err != nil {
		return err
	}
	_, werr := io.WriteString(f, x)
	e.before, e.path = x, f.Name()
	return errors.Join(werr, f.Close())
}

func (a *App) openEditor(e *xmlEdit) tea.Cmd {
	cmd := exec.CommandContext(a.ctx, e.editor[0], append(append([]string{}, e.editor[1:]...), e.path)...)
	return a.term.Exec(execCommand{cmd}, func(err error) tea.Msg {
		if err == nil {
			err = e.read()
		} else {
			err = fmt.Errorf("%s: %w", e.editor[0], err)
		}
		return result(func(a *App) tea.Cmd { return a.edited(e, err) })
	})
}

// read takes the edited text and refuses what would not be an edit of this
// domain.
func (e *xmlEdit) read() error {
	b, err := os.ReadFile(e.path)
	if err != nil {
		return err
	}
	e.after = string(b)
	if e.after == e.before {
		return nil
	}
	if strings.TrimSpace(e.after) == "" {
		return errors.New("the file is empty")
	}
	return checkEdited(e.before, e.after)
}

// checkEdited looks whether the text is well-formed and still the same
// domain: another UUID or name would define a second one.
func checkEdited(before, after string) error {
	old, err := identity(before)
	if err != nil {
		return err
	}
	now, err := identity(after)
	switch {
	case err != nil:
		return err
	case old.UUID != now.UUID:
		return fmt.Errorf("the UUID was changed from %s: that would make another VM", old.UUID)
	case old.Name != now.Name:
		return fmt.Errorf("the name was changed from %s: rename it instead", old.Name)
	}
	return nil
}

type domainIdentity struct {
	XMLName xml.Name `xml:"domain"`
	Name    string   `xml:"name"`
	UUID    string   `xml:"uuid"`
}

func identity(text string) (id domainIdentity, err error) {
	d := xml.NewDecoder(strings.NewReader(text))
	if err := d.Decode(&id); err != nil {
		return id, err
	}
	for { // a second element, or rubbish, after the domain
		t, err := d.Token()
		if err == io.EOF {
			return id, nil
		}
		if err != nil {
			return id, err
		}
		if c, ok := t.(xml.CharData); ok && strings.TrimSpace(string(c)) == "" {
			continue
		}
		if _, ok := t.(xml.Comment); ok {
			continue
		}
		return id, errors.New("there is more after </domain>")
	}
}

// edited shows the difference and asks, or says what is wrong and offers the
// editor again.
func (a *App) edited(e *xmlEdit, err error) tea.Cmd {
	switch {
	case err != nil && e.untouched():
		e.discard()
		return a.Bad(fmt.Sprintf("edit %s: %v; nothing was changed", e.name, err))
	case err != nil && e.after == "":
		return a.Bad(fmt.Sprintf("edit %s: %v; your text is in %s", e.name, err, e.path))
	case err != nil:
		return a.askAgain(e, err)
	case e.after == e.before:
		e.discard()
		return a.Info(e.name + ": nothing was changed")
	}
	a.Push(newConfirm(Confirm{Title: "Define " + e.name + " so?", Yes: "Define", Diff: Diff(e.before, e.after),
		Body:  []string{"It takes effect at the next start. Your text is in " + e.path + " until it is defined."},
		OnNo:  func(a *App) tea.Cmd { return a.Info(e.name + ": not defined; your text is in " + e.path) },
		OnYes: func(a *App, _ *Confirm) tea.Cmd { return a.define(e) }}))
	return nil
}

// untouched reports whether the file still holds what was fetched, as when
// the editor could not be started.
func (e *xmlEdit) untouched() bool {
	b, err := os.ReadFile(e.path)
	return err == nil && string(b) == e.before
}

// define stores the edited definition, unless the stored one has changed
// since it was fetched.
func (a *App) define(e *xmlEdit) tea.Cmd {
	parent := a.ctx
	record := a.recorder(e.key, e.name, "define", "")
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, 40*time.Second)
		defer cancel()
		err := e.define(ctx)
		auditErr := record(err)
		return result(func(a *App) tea.Cmd { return tea.Batch(a.defined(e, err), a.auditFailed(auditErr)) })
	}
}

var errChangedMeanwhile = errors.New("somebody else changed the stored definition since you began; define again to overwrite it")

func (e *xmlEdit) define(ctx context.Context) error {
	stored, err := e.host.XML(ctx, e.key.UUID, true)
	if err != nil {
		return err
	}
	if stored != e.before {
		e.before = stored // the next diff is against theirs
		return errChangedMeanwhile
	}
	_, err = e.host.(backend.Definer).Define(ctx, e.after)
	return err
}

func (a *App) defined(e *xmlEdit, err error) tea.Cmd {
	log := LogEntry{At: a.clock.Now(), Host: e.key.Host, VM: e.name, Key: e.key, Kind: "action", Level: LevelOK, Text: "definition changed"}
	if err != nil {
		log.Level, log.Text = LevelBad, "definition refused: "+err.Error()
		a.Events.Add(log)
		return a.askAgain(e, err)
	}
	a.Events.Add(log)
	e.discard()
	return tea.Batch(a.OK(e.name+": defined; it takes effect at the next start"), a.Fleet.PollHost(e.key.Host), a.Detail.Changed(e.key))
}

// askAgain keeps the person's text and offers to go on with it.
func (a *App) askAgain(e *xmlEdit, err error) tea.Cmd {
	c := newConfirm(Confirm{Title: "Edit " + e.name + " again?", Yes: "Edit again",
		Body:  append(wrapError(err), "Nothing was changed. Your text is kept in "+e.path),
		OnYes: func(a *App, _ *Confirm) tea.Cmd { return a.openEditor(e) }})
	c.Focus = FocusYes // going back to one's own text risks nothing
	a.Push(c)
	return a.bad(fmt.Sprintf("edit %s: %v", e.name, err))
}

var spaces = regexp.MustCompile(`\s+`)

// wrapError makes one line of each line of an error.
func wrapError(err error) []string {
	var out []string
	for _, l := range strings.Split(backend.CleanLines(err.Error()), "\n") {
		if l = strings.TrimSpace(spaces.ReplaceAllString(l, " ")); l != "" {
			out = append(out, l)
		}
	}
	return out
}

// discard removes the file once its text is of no more use. A file that stays
// behind does no harm: it is the person's own, in their temporary folder.
func (e *xmlEdit) discard() { _ = os.Remove(e.path) }

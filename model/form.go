package model

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// FieldKind is how a field of a Form is filled in.
type FieldKind uint8

// The kinds of fields.
const (
	FieldText   FieldKind = iota
	FieldSwitch           // yes or no
	FieldChoice           // one of Values
)

// Field is one line of a Form.
type Field struct {
	ID, Label, Help string
	Kind            FieldKind
	Input           textinput.Model // of FieldText
	On              bool            // of FieldSwitch
	Values          []string        // of FieldChoice
	Value           int
	Was             int               // the value in force; -1 for none
	Helps           map[string]string // of a choice: what each value means, instead of Help
	// Check says what is wrong with the text; nil when anything goes.
	Check func(string) error
	Err   error
}

// Text is what a text field holds, without blanks around it.
func (f *Field) Text() string { return strings.TrimSpace(f.Input.Value()) }

// Hint is what the field is for, or what its value means.
func (f *Field) Hint() string {
	if text := f.Helps[f.Chosen()]; text != "" {
		return text
	}
	return f.Help
}

// Chosen is the value of a choice.
func (f *Field) Chosen() string {
	if f.Value < len(f.Values) {
		return f.Values[f.Value]
	}
	return ""
}

// Form asks for several things at once and shows beforehand what would follow
// from them. Its answer is No unless the person moves to Yes.
type Form struct {
	Title  string
	Intro  []string
	Fields []Field
	Focus  int // an index of Fields, FocusNo or FocusYes
	Yes    string
	// Filled says why Yes cannot be pressed as the form stands; may be nil.
	Filled func(*Form) error
	OnYes  func(*App, *Form) tea.Cmd

	Preview Preview
	// Think makes the hypothesis whose outcome the form shows; false when the
	// form stands for none.
	Think func(*Form) (backend.Hypothesis, bool)
	// Foresee says at once what would follow from the form as it stands; instead
	// of Think.
	Foresee func(*App, *Form) []PreviewLine

	Top      int // first line shown
	Lines    int // written through layout
	Page     int
	Scrolled bool // a person scrolled: the focus need not show
}

// Preview is what would follow from a form as it stands.
type Preview struct {
	Version int // of the form: rises with every change
	Busy    bool
	Err     error
	Known   bool // Base and Next are of this version's question, or the last one's
	Lines   []PreviewLine
	Shifts  []Shift
	asked   int // the version that is being asked about; 0 when none is
	base    *backend.QueueState
}

// PreviewLine is one sentence of a preview.
type PreviewLine struct {
	Level Level
	Text  string
}

func textField(id, label, value, placeholder, help string, check func(string) error) Field {
	f := Field{ID: id, Label: label, Help: help, Input: newInput(placeholder), Check: check, Was: -1}
	f.Input.SetValue(value)
	f.Input.CursorEnd()
	return f
}

func switchField(id, label string, on bool, help string) Field {
	return Field{ID: id, Label: label, Kind: FieldSwitch, On: on, Help: help, Was: -1}
}

// choiceField offers values; the one in force is chosen, and offered though it
// be unknown.
func choiceField(id, label string, values []string, now, help string) Field {
	values = slices.Clone(values)
	at := slices.Index(values, now)
	if at < 0 {
		values = append(values, now)
		at = len(values) - 1
	}
	return Field{ID: id, Label: label, Kind: FieldChoice, Values: values, Value: at, Was: at, Help: help}
}

// Field returns the field of that ID, or nil.
func (f *Form) Field(id string) *Field {
	for i := range f.Fields {
		if f.Fields[i].ID == id {
			return &f.Fields[i]
		}
	}
	return nil
}

// Wrong says what is wrong with the form as it stands, or nil.
func (f *Form) Wrong() error {
	for i := range f.Fields {
		if f.Fields[i].Err != nil {
			return errors.New(f.Fields[i].Label + ": " + f.Fields[i].Err.Error())
		}
	}
	if f.Filled != nil {
		return f.Filled(f)
	}
	return nil
}

func (f *Form) step(n int) {
	order := make([]int, len(f.Fields), len(f.Fields)+2)
	for i := range order {
		order[i] = i
	}
	order = append(order, FocusNo, FocusYes)
	i := slices.Index(order, f.Focus)
	f.Focus = order[((i+n)%len(order)+len(order))%len(order)]
	f.Scrolled = false
}

// Key implements Overlay.
func (f *Form) Key(a *App, k tea.KeyMsg) (bool, tea.Cmd) {
	switch k.String() {
	case "esc", "ctrl+g":
		return true, a.Info(f.left())
	case "tab", "down":
		f.step(1)
		return false, nil
	case "shift+tab", "up":
		f.step(-1)
		return false, nil
	case "pgdown", "pgup", "ctrl+d", "ctrl+u":
		f.Scrolled = true
		f.Top = scrolled(f.Top, f.Lines, f.Page, k)
		return false, nil
	case "enter":
		return f.enter(a)
	}
	if f.Focus < 0 {
		return f.buttonKey(a, k.String())
	}
	return false, f.fieldKey(a, k)
}

func (f *Form) enter(a *App) (bool, tea.Cmd) {
	switch f.Focus {
	case FocusYes:
		return f.yes(a)
	case FocusNo:
		return true, a.Info(f.left())
	}
	f.step(1)
	return false, nil
}

func (f *Form) yes(a *App) (bool, tea.Cmd) {
	if err := f.Wrong(); err != nil {
		return false, a.Warn(err.Error())
	}
	a.pop(f)
	return false, f.OnYes(a, f)
}

func (f *Form) buttonKey(a *App, key string) (bool, tea.Cmd) {
	switch key {
	case "y", "Y":
		return f.yes(a)
	case "n", "N", "q":
		return true, a.Info(f.left())
	case "left", "right", "h", "l":
		f.Focus = FocusNo + FocusYes - f.Focus
	case "j", "k", "g", "G":
		f.Scrolled = true
		f.Top = scrolled(f.Top, f.Lines, f.Page, tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(key)})
	}
	return false, nil
}

func (f *Form) fieldKey(a *App, k tea.KeyMsg) tea.Cmd {
	x := &f.Fields[f.Focus]
	s := k.String()
	switch x.Kind {
	case FieldSwitch:
		if s != " " && s != "left" && s != "right" && s != "x" {
			return nil
		}
		x.On = !x.On
	case FieldChoice:
		n := len(x.Values)
		switch s {
		case "right", " ", "l":
			x.Value = (x.Value + 1) % n
		case "left", "h":
			x.Value = (x.Value + n - 1) % n
		default:
			return nil
		}
	default:
		before := x.Input.Value()
		x.Input, _ = x.Input.Update(k)
		if x.Input.Value() == before {
			return nil
		}
		x.Err = nil
		if x.Check != nil {
			x.Err = x.Check(x.Text())
		}
	}
	return a.formChanged(f)
}

// PressForm presses a button of a form with the mouse: 0 is No, 1 is Yes.
func (a *App) PressForm(f *Form, button int) tea.Cmd {
	switch button {
	case 0:
		a.pop(f)
		return a.Info(f.left())
	case 1:
		_, cmd := f.yes(a)
		return cmd
	}
	return nil
}

// previewPause joins what is typed fast into one question.
const previewPause = 150 * time.Millisecond

// left is what is said when the form is left without Yes.
func (f *Form) left() string { return strings.TrimSuffix(f.Title, "?") + ": not done" }

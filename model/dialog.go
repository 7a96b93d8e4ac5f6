package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"
)

// Choice is one switch in a Confirm.
type Choice struct {
	Label string
	On    bool
}

// Confirm asks before something risky is done. Its answer is No unless the
// person moves to Yes or presses y; what destroys data wants the VM's name
// typed as well.
type Confirm struct {
	Title   string
	Body    []string // what will happen
	Names   []string // on what, all of it
	Choices []Choice
	Diff    []DiffLine // shown instead of Body when there is one
	Type    string     // the name to type; empty when none is asked for
	Yes     string     // the label of the button that does it
	Danger  bool
	// Unasked marks a question that came up by itself. A key may have been on
	// its way to what was there before, so letters answer nothing: only moving
	// to Yes and pressing enter does.
	Unasked bool

	Input textinput.Model // for Type
	Focus int             // see the focus constants and Choices' indices
	Top   int             // first line shown of a long Names or Diff
	Lines int             // lines that scroll; Page of them fit. Written by SetScroll.
	Page  int

	OnYes func(*App, *Confirm) tea.Cmd
	OnNo  func(*App) tea.Cmd // instead of the usual message; may be nil
}

// What Focus means when it is not the index of a Choice.
const (
	FocusNo    = -1
	FocusYes   = -2
	FocusInput = -3
)

// newConfirm has No in focus, or the field for the name where one is asked.
func newConfirm(c Confirm) *Confirm {
	c.Input = newInput(c.Type)
	c.Focus = FocusNo
	if c.Type != "" {
		c.Focus = FocusInput
	}
	return &c
}

func newInput(placeholder string) textinput.Model {
	in := textinput.New()
	in.Prompt = ""
	in.Placeholder = placeholder
	in.Focus() // its command only blinks the cursor, which berth draws itself
	return in
}

// Armed reports whether Yes may be pressed: the name is typed where one is
// asked for.
func (c *Confirm) Armed() bool { return c.Type == "" || c.Input.Value() == c.Type }

// order is the order in which tab visits the parts.
func (c *Confirm) order() []int {
	var o []int
	for i := range c.Choices {
		o = append(o, i)
	}
	if c.Type != "" {
		o = append(o, FocusInput)
	}
	return append(o, FocusNo, FocusYes)
}

func (c *Confirm) step(n int) {
	o := c.order()
	i := slices.Index(o, c.Focus)
	c.Focus = o[((i+n)%len(o)+len(o))%len(o)]
}

// Key implements Overlay.
func (c *Confirm) Key(a *App, k tea.KeyMsg) (bool, tea.Cmd) {
	s := k.String()
	switch s {
	case "esc", "ctrl+g":
		return true, c.declined(a)
	case "tab":
		c.step(1)
		return false, nil
	case "shift+tab":
		c.step(-1)
		return false, nil
	case "down", "up":
		if c.Lines > c.Page {
			c.Top = scrolled(c.Top, c.Lines, c.Page, k)
		} else if s == "down" {
			c.step(1)
		} else {
			c.step(-1)
		}
		return false, nil
	case "pgdown", "pgup", "ctrl+d", "ctrl+u":
		c.Top = scrolled(c.Top, c.Lines, c.Page, k)
		return false, nil
	case "enter":
		return c.enter(a)
	}
	if c.Focus == FocusInput {
		c.Input, _ = c.Input.Update(k)
		return false, nil
	}
	return c.letter(a, s)
}

func (c *Confirm) enter(a *App) (bool, tea.Cmd) {
	switch {
	case c.Focus == FocusInput:
		if !c.Armed() {
			return false, a.Warn(fmt.Sprintf("type %s to go on, esc to leave", c.Type))
		}
		c.Focus = FocusYes
		return false, nil
	case c.Focus == FocusYes:
		return c.yes(a)
	case c.Focus >= 0:
		c.Choices[c.Focus].On = !c.Choices[c.Focus].On
		return false, nil
	}
	return true, c.declined(a)
}

func (c *Confirm) letter(a *App, s string) (bool, tea.Cmd) {
	if c.Unasked && s != "left" && s != "right" {
		return false, a.Info("tab and enter answer, esc leaves")
	}
	switch s {
	case "y", "Y":
		return c.yes(a)
	case "n", "N", "q":
		return true, c.declined(a)
	case "left", "right", "h", "l":
		if c.Focus == FocusNo {
			c.Focus = FocusYes
		} else {
			c.Focus = FocusNo
		}
	case " ":
		if c.Focus >= 0 {
			c.Choices[c.Focus].On = !c.Choices[c.Focus].On
		}
	case "j", "k":
		c.Top = scrolled(c.Top, c.Lines, c.Page, tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(s)})
	}
	return false, nil
}

func (c *Confirm) declined(a *App) tea.Cmd {
	if c.OnNo != nil {
		return c.OnNo(a)
	}
	return a.Info(strings.TrimSuffix(c.Title, "?") + ": not done")
}

func (c *Confirm) yes(a *App) (bool, tea.Cmd) {
	if !c.Armed() {
		c.Focus = FocusInput
		return false, a.Warn(fmt.Sprintf("type %s to go on, esc to leave", c.Type))
	}
	a.pop(c)
	return false, c.OnYes(a, c)
}

// PressButton presses a button of a question with the mouse: 0 is No, 1 is
// Yes, anything else is none.
func (a *App) PressButton(c *Confirm, button int) tea.Cmd {
	switch button {
	case 0:
		a.pop(c)
		return c.declined(a)
	case 1:
		_, cmd := c.yes(a)
		return cmd
	}
	return nil
}

// Prompt asks for one line of text.
type Prompt struct {
	Title string
	Help  string
	Input textinput.Model
	Err   error
	// Check tells what is wrong with the text, while it is typed; may be nil.
	Check func(string) error
	OnOK  func(*App, string) tea.Cmd
}

func newPrompt(title, help, value string, onOK func(*App, string) tea.Cmd) *Prompt {
	p := &Prompt{Title: title, Help: help, Input: newInput(""), OnOK: onOK}
	p.Input.SetValue(value)
	p.Input.CursorEnd()
	return p
}

// Key implements Overlay.
func (p *Prompt) Key(a *App, k tea.KeyMsg) (bool, tea.Cmd) {
	switch k.String() {
	case "esc", "ctrl+g":
		return true, nil
	case "enter":
		if p.check(); p.Err != nil {
			return false, nil
		}
		a.pop(p)
		return false, p.OnOK(a, p.Input.Value())
	}
	p.Input, _ = p.Input.Update(k)
	p.check()
	return false, nil
}

func (p *Prompt) check() {
	p.Err = nil
	if p.Check != nil {
		p.Err = p.Check(p.Input.Value())
	}
}

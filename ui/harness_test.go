package ui

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"berth/backend"
	"berth/backend/demo"
	"berth/model"
	"berth/themes"
)

var update = flag.Bool("update", false, "write the golden files anew")

// console drives a Root over the demo fleet, with a clock that moves when the
// test says so and no terminal.
type console struct {
	t     testing.TB
	root  *Root
	app   *model.App
	clock *demo.ManualClock
	due   []timer
}

type timer struct {
	at  time.Time
	msg tea.Msg
}

var start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func newConsole(t testing.TB, w, h int, change func(*model.Options, *Look)) *console {
	t.Helper()
	c := &console{t: t, clock: demo.NewManualClock(start)}
	fleet := demo.New(demo.Options{Seed: 7, Clock: c.clock, Start: start})
	t.Cleanup(func() { _ = fleet.Close() })
	opt := model.Options{Hosts: fleet.Hosts(), Demo: true, Version: "test", Editor: []string{"vi"}, Themes: themes.Source{}.Names(),
		Settings: model.Settings{Mouse: true}, Terminal: noTerminal{}}
	t.Setenv("TMPDIR", t.TempDir()) // edits leave a person's text there
	opt.PicDir = t.TempDir()
	look := Look{Profile: themes.NoColor, Glyphs: themes.Unicode}
	if change != nil {
		change(&opt, &look)
	}
	for i, h := range opt.Hosts {
		if _, deaf := h.(storingHost); !deaf {
			opt.Hosts[i] = deafHost{h.(ableHost)}
		}
	}
	opt.Clock = model.Clock{Now: c.clock.Now, After: func(d time.Duration, m tea.Msg) tea.Cmd {
		c.due = append(c.due, timer{c.clock.Now().Add(d), m})
		return nil
	}}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	c.app = model.NewApp(ctx, opt)
	c.root = NewRoot(c.app, noOutput{}, look)
	c.run(c.app.Init())
	c.send(tea.WindowSizeMsg{Width: w, Height: h})
	c.pass(3 * time.Second)
	return c
}

func (c *console) send(m tea.Msg) {
	_, cmd := c.root.Update(m)
	c.root.View()
	c.run(cmd)
}

// run carries out commands, one after the other.
func (c *console) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch m := cmd().(type) {
	case nil, tea.QuitMsg:
	case tea.BatchMsg:
		for _, x := range m {
			c.run(x)
		}
	default:
		c.send(m)
	}
}

// ableHost is a host with everything a host can have.
type ableHost interface {
	backend.Host
	backend.Definer
	backend.Consoler
	backend.Screenshotter
	backend.LogTailer
}

// deafHost is one that tells no events, which a test without goroutines could
// not wait for.
type deafHost struct{ ableHost }

func (deafHost) Watch(context.Context) (<-chan backend.Event, error) {
	return nil, backend.ErrUnsupported
}

// pass lets time go by in the model and in the fleet.
func (c *console) pass(d time.Duration) {
	end := c.clock.Now().Add(d)
	for {
		sort.SliceStable(c.due, func(i, j int) bool { return c.due[i].at.Before(c.due[j].at) })
		if len(c.due) == 0 || c.due[0].at.After(end) {
			break
		}
		next := c.due[0]
		c.due = c.due[1:]
		if wait := next.at.Sub(c.clock.Now()); wait > 0 {
			c.clock.Advance(wait)
		}
		c.send(next.msg)
	}
	if wait := end.Sub(c.clock.Now()); wait > 0 {
		c.clock.Advance(wait)
	}
	c.send(tea.WindowSizeMsg{Width: c.root.w, Height: c.root.h})
}

func (c *console) keys(names ...string) {
	for _, n := range names {
		c.send(key(n))
	}
}

var keyTypes = map[string]tea.KeyType{"enter": tea.KeyEnter, "esc": tea.KeyEsc, "tab": tea.KeyTab, "up": tea.KeyUp, "down": tea.KeyDown, "pgdown": tea.KeyPgDown,
	"ctrl+a": tea.KeyCtrlA, "ctrl+d": tea.KeyCtrlD, "ctrl+u": tea.KeyCtrlU, "backspace": tea.KeyBackspace, " ": tea.KeySpace, "left": tea.KeyLeft, "right": tea.KeyRight, "shift+tab": tea.KeyShiftTab}

func key(name string) tea.KeyMsg {
	if k, ok := keyTypes[name]; ok {
		m := tea.KeyMsg{Type: k}
		if k == tea.KeySpace {
			m.Runes = []rune{' '}
		}
		return m
	}
	return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(name)}
}

// frame is what is on the screen, checked to be exactly as large as it.
func (c *console) frame() string {
	c.t.Helper()
	f := c.root.Frame()
	if err := exact(f, c.root.w, c.root.h); err != nil {
		c.t.Fatalf("%v\n%s", err, f)
	}
	return f
}

func exact(frame string, w, h int) error {
	lines := strings.Split(frame, "\n")
	if len(lines) != h {
		return fmt.Errorf("the frame has %d lines, the screen %d", len(lines), h)
	}
	for i, l := range lines {
		if n := ansi.StringWidth(l); n != w {
			return fmt.Errorf("line %d is %d cells wide, the screen %d: %q", i, n, w, l)
		}
	}
	return nil
}

// golden compares the screen with a file.
func (c *console) golden(name string) {
	c.t.Helper()
	path := filepath.Join("testdata", name+".txt")
	got := c.frame() + "\n"
	if c.root.look.Profile == themes.NoColor {
		got = ansi.Strip(got)
	}
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			c.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	if got != string(want) {
		c.t.Errorf("%s differs; go test ./ui -update writes it anew. Got:\n%s\nwant:\n%s", path, got, want)
	}
}

func (c *console) want(parts ...string) {
	c.t.Helper()
	f := ansi.Strip(c.frame())
	for _, p := range parts {
		if !strings.Contains(f, p) {
			c.t.Fatalf("%q is not on the screen:\n%s", p, f)
		}
	}
}

type noOutput struct{}

func (noOutput) Show(string, int, int) {}
func (noOutput) SetBase(themes.Style)  {}

type noTerminal struct{}

func (noTerminal) Exec(tea.ExecCommand, tea.ExecCallback) tea.Cmd { return nil }
func (noTerminal) Write(string)                                   {}
func (noTerminal) SetMouse(bool)                                  {}
func (noTerminal) Repaint()                                       {}

package screen

import (
	"reflect"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
)

// faulty panics where it is told to.
type faulty struct{ in string }

func (f faulty) Init() tea.Cmd { return func() tea.Msg { f.boom("init command"); return nil } }

func (f faulty) Update(tea.Msg) (tea.Model, tea.Cmd) {
	f.boom("update")
	boom := func() tea.Msg { f.boom("command"); return nil }
	fine := func() tea.Msg { return nil }
	if f.in == "sequence" {
		f.in = "command"
		return f, tea.Sequence(fine, func() tea.Msg { panic("bug") })
	}
	return f, tea.Batch(fine, boom)
}

func (f faulty) View() string { f.boom("view"); return "" }

func (f faulty) boom(where string) {
	if f.in == where {
		panic("bug")
	}
}

// commands runs what a command leads to, as Bubble Tea does.
func commands(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	msg := cmd()
	if list, ok := msg.(tea.BatchMsg); ok {
		for _, c := range list {
			commands(c)
		}
		return
	}
	for _, c := range sequenceOf(msg) {
		commands(c)
	}
}

func TestPanicGivesTerminalBack(t *testing.T) {
	for _, where := range []string{"init command", "update", "view", "command", "sequence"} {
		t.Run(where, func(t *testing.T) {
			s, out := newTestScreen(t, 10, 2)
			s.Show("x", 10, 2)
			waitDrawn(t, s)
			func() {
				defer func() {
					if recover() != "bug" {
						t.Error("the panic was swallowed")
					}
				}()
				var m tea.Model = guard{faulty{where}, s}
				commands(m.Init())
				m, cmd := m.Update(nil)
				_ = m.View()
				commands(cmd)
			}()
			if out.to.modes[1049] {
				t.Error("still on the alternate screen when the panic is printed")
			}
		})
	}
}

// sequenceOf is the commands of Bubble Tea's own, unexported sequence message.
func sequenceOf(msg tea.Msg) []tea.Cmd {
	v := reflect.ValueOf(msg)
	if v.Kind() != reflect.Slice || !v.Type().ConvertibleTo(reflect.TypeFor[[]tea.Cmd]()) {
		return nil
	}
	list, _ := v.Convert(reflect.TypeFor[[]tea.Cmd]()).Interface().([]tea.Cmd)
	return list
}

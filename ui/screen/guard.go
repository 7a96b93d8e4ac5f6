package screen

import (
	"reflect"

	tea "github.com/charmbracelet/bubbletea"
)

// guard gives the terminal back before a panic of the model, or of one of its
// commands, goes on to Bubble Tea, which prints it. Otherwise it would be
// printed on the alternate screen, and vanish with it.
type guard struct {
	model  tea.Model
	screen *Screen
}

// Init starts the model.
func (g guard) Init() tea.Cmd {
	defer g.stopOnPanic()
	return g.guarded(g.model.Init())
}

// Update passes a message on.
func (g guard) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	defer g.stopOnPanic()
	model, cmd := g.model.Update(msg)
	g.model = model
	return g, g.guarded(cmd)
}

// View lets the model draw; it shows its frame itself.
func (g guard) View() string {
	defer g.stopOnPanic()
	return g.model.View()
}

func (g guard) stopOnPanic() {
	if r := recover(); r != nil {
		g.screen.Stop()
		panic(r)
	}
}

// guarded is cmd, and whatever commands it leads to, with the guard.
func (g guard) guarded(cmd tea.Cmd) tea.Cmd {
	if cmd == nil {
		return nil
	}
	return func() tea.Msg {
		defer g.stopOnPanic()
		msg := cmd()
		g.guardAll(msg)
		return msg
	}
}

// guardAll guards the commands of a batch or a sequence; Bubble Tea does not
// export the latter's type, so it goes by what it is made of.
func (g guard) guardAll(msg tea.Msg) {
	v := reflect.ValueOf(msg)
	if v.Kind() != reflect.Slice || v.Type().Elem() != reflect.TypeFor[tea.Cmd]() {
		return
	}
	for i := range v.Len() {
		if cmd, ok := v.Index(i).Interface().(tea.Cmd); ok && cmd != nil {
			v.Index(i).Set(reflect.ValueOf(g.guarded(cmd)))
		}
	}
}

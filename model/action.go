package model

import (
	"fmt"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// Group gathers actions on the help page.
type Group uint8

// The groups, in the help page's order.
const (
	GroupMove Group = iota
	GroupVM
	GroupMore
	GroupQueue
	GroupBackup
	GroupImage
	GroupMarks
	GroupView
	GroupProgram
	groupCount
)

var groupNames = [...]string{"Moving", "VM: power", "VM: more", "Queue", "Backups", "Images", "Marks", "View", "Program"}

// String is the group's title.
func (g Group) String() string { return groupNames[g] }

// Groups returns every group in order.
func Groups() []Group {
	out := make([]Group, groupCount)
	for i := range out {
		out[i] = Group(i)
	}
	return out
}

// Action is one thing a person can do. The key map, the key hints, the help
// page, the action menu, the palette and the README's key list all come from
// the one table of them.
type Action struct {
	ID     string
	Keys   []string // in Bubble Tea's names; the first is the one shown
	Label  string   // in hints, menus and the palette
	Help   string   // on the help page
	Group  Group
	Verb   backend.Verb // set when it is a verb on VMs
	Hint   int          // place among the key hints, from 1; 0 is not there
	On     []ScreenID   // where it acts; everywhere when empty
	Silent bool         // not in menus or the palette: movement

	// Why says why it cannot be done now; nil or "" when it can.
	Why func(*App) string
	Run func(*App) tea.Cmd
	// Key, when set, runs instead of Run and learns which key was pressed.
	Key func(*App, tea.KeyMsg) tea.Cmd
}

// on reports whether the action acts on a screen.
func (x *Action) on(s ScreenID) bool {
	if len(x.On) == 0 {
		return true
	}
	for _, o := range x.On {
		if o == s {
			return true
		}
	}
	return false
}

// Disabled says why the action cannot be done now, or "".
func (x *Action) Disabled(a *App) string {
	if !x.on(a.Screen) {
		return "not on this screen"
	}
	if x.Why == nil {
		return ""
	}
	return x.Why(a)
}

// Actions returns the table. The slice is the App's own.
func (a *App) Actions() []Action { return a.actions }

// bindKeys makes the key map from the table; overrides are from the config,
// by action ID.
func (a *App) bindKeys(overrides map[string]string) {
	for i := range a.actions {
		if k := overrides[a.actions[i].ID]; k != "" {
			a.takeKey(&a.actions[i], keyFromConfig(k))
		}
	}
	a.byKey = map[string][]*Action{}
	for i := range a.actions {
		x := &a.actions[i]
		for _, k := range x.Keys {
			a.byKey[k] = append(a.byKey[k], x)
		}
	}
}

// takeKey gives an action a key of the person's choice, and takes it from
// those that had it on the same screens: a key must not do what it did before
// as well.
func (a *App) takeKey(x *Action, key string) {
	for i := range a.actions {
		other := &a.actions[i]
		if other != x && other.overlaps(x) {
			other.Keys = slices.DeleteFunc(slices.Clone(other.Keys), func(k string) bool { return k == key })
		}
	}
	x.Keys = []string{key}
}

// overlaps reports whether two actions act on a common screen.
func (x *Action) overlaps(y *Action) bool {
	for s := ScreenVMs; s <= ScreenConnect; s++ {
		if x.on(s) && y.on(s) {
			return true
		}
	}
	return false
}

// keyFromConfig is Bubble Tea's name for a key as the config writes it.
func keyFromConfig(k string) string {
	switch k {
	case "space":
		return " "
	case "ctrl+space":
		return "ctrl+@"
	}
	return k
}

// ActionIDs returns the ID of every action whose key the config can change.
func ActionIDs() []string {
	var ids []string
	for _, x := range actionTable() {
		ids = append(ids, x.ID)
	}
	return ids
}

// KeyFor is how an action's key is written for people, or ":id" when it has
// none.
func (a *App) KeyFor(id string) string {
	for i := range a.actions {
		if x := &a.actions[i]; x.ID == id {
			return x.KeyName()
		}
	}
	return ":" + id
}

// KeyName is the action's first key as written for people.
func (x *Action) KeyName() string {
	if len(x.Keys) == 0 {
		return ":" + x.ID
	}
	return KeyName(x.Keys[0])
}

// KeyName writes a Bubble Tea key name for people: "^D", "space", "↑".
func KeyName(k string) string {
	switch k {
	case " ":
		return "space"
	case "ctrl+@":
		return "^space"
	case "pgdown":
		return "PgDn"
	case "pgup":
		return "PgUp"
	}
	if rest, ok := strings.CutPrefix(k, "ctrl+"); ok && len(rest) == 1 {
		return "^" + strings.ToUpper(rest)
	}
	return k
}

// dispatch runs the action that a key stands for on this screen, or says why
// it cannot act.
func (a *App) dispatch(k tea.KeyMsg) tea.Cmd {
	var elsewhere *Action
	for _, x := range a.byKey[k.String()] {
		if x.on(a.Screen) {
			return a.run(x, k)
		}
		elsewhere = x
	}
	if elsewhere != nil {
		return a.Info(fmt.Sprintf("%s: not on this screen", elsewhere.Label))
	}
	if k.Type == tea.KeyRunes && !k.Paste {
		return a.Info(fmt.Sprintf("%s does nothing here: %s shows the keys", backend.Clean(k.String()), a.KeyFor("help")))
	}
	return nil
}

func (a *App) run(x *Action, k tea.KeyMsg) tea.Cmd {
	if why := x.Disabled(a); why != "" {
		return a.Warn(fmt.Sprintf("%s: %s", x.Label, why))
	}
	if a.Screen == ScreenVMs && (x.Group == GroupVM || x.Group == GroupMore || x.ID == "open") && !a.VMs.chosen {
		a.VMs.adopt() // the row that the person sees selected, from now on
	}
	if x.Key != nil {
		return x.Key(a, k)
	}
	return x.Run(a)
}

// RunID runs an action by its ID, as the palette does.
func (a *App) RunID(id string) tea.Cmd {
	for i := range a.actions {
		if a.actions[i].ID == id {
			return a.run(&a.actions[i], tea.KeyMsg{})
		}
	}
	return a.Warn(fmt.Sprintf("no action is called %q", id))
}

// Hints are the actions to show at the foot of the screen, most useful first.
func (a *App) Hints() []*Action {
	var out []*Action
	for place := 1; place < 40; place++ {
		for i := range a.actions {
			x := &a.actions[i]
			if x.Hint == place && x.on(a.Screen) && x.Disabled(a) == "" {
				out = append(out, x)
			}
		}
	}
	return out
}

// targets are the rows an action is meant for on this screen.
func (a *App) targets() []*Row {
	if a.Screen == ScreenDetail {
		if r := a.Detail.Row(); r != nil {
			return []*Row{r}
		}
		return nil
	}
	return a.VMs.Targets()
}

// one is the row that an action on a single VM is meant for.
func (a *App) one() *Row {
	if a.Screen == ScreenDetail {
		return a.Detail.Row()
	}
	return a.VMs.Selected()
}

package model

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/sahilm/fuzzy"

	"berth/backend"
)

// Palette is the ":" line with its completions.
type Palette struct {
	Input   textinput.Model
	Matches []Completion
	Index   int
	back    int // how many commands back in the history
}

// Completion is one way to go on with what is typed.
type Completion struct {
	Text string // the whole line it would make
	Help string
}

// maxCompletions is how many are offered.
const maxCompletions = 8

// command is a palette command that takes an argument; every action of the
// table is one too, without.
type command struct {
	name, arg, help string
	complete        func(*App) []string
	run             func(*App, string) tea.Cmd
}

func commands() []command {
	return []command{
		{"sort", "COLUMN [asc|desc]", "Sort by a column", func(*App) []string { return ColumnIDs() }, (*App).cmdSort},
		{"filter", "EXPR", "Filter the list; nothing shows all", filterHeads, (*App).filter},
		{"columns", "ID,ID,…", "Show these columns", func(*App) []string { return ColumnIDs() }, (*App).cmdColumns},
		{"theme", "NAME", "Use a theme", func(a *App) []string { return a.opt.Themes }, (*App).setTheme},
		{"refresh", "DURATION", "How often hosts are asked, 200ms or more", func(*App) []string { return []string{"500ms", "1s", "2s", "5s", "10s"} }, (*App).cmdRefresh},
		{"connect", "URI", "Connect to one more host", func(*App) []string {
			return []string{"qemu:///system", "qemu:///session", "qemu+ssh://", "qemu+tcp://", "qemu+tls://", "test:///default"}
		}, (*App).tryURI},
		{"vm", "NAME", "Open a VM", (*App).vmNames, (*App).cmdVM},
		{"q", "", "Quit", nil, func(a *App, _ string) tea.Cmd { return a.Quit() }},
	}
}

func filterHeads(a *App) []string {
	heads := []string{"state:running", "state:shutoff", "state:paused", "cpu>50", "mem>=80%", "tag:", "!"}
	for _, h := range a.hostNames() {
		heads = append(heads, "host:"+quoteTerm(h))
	}
	return heads
}

func (a *App) vmNames() []string {
	seen := map[string]int{}
	for _, r := range a.VMs.visible {
		seen[r.Name]++
	}
	var out []string
	for _, r := range a.VMs.visible {
		if seen[r.Name] > 1 {
			out = append(out, r.Host+"/"+r.Name)
		} else {
			out = append(out, r.Name)
		}
	}
	return out
}

func (a *App) openPalette() tea.Cmd {
	a.Palette = &Palette{Input: newInput("")}
	a.Palette.complete(a)
	return nil
}

func (p *Palette) key(a *App, k tea.KeyMsg) tea.Cmd {
	switch k.String() {
	case "esc", "ctrl+g":
		a.Palette = nil
		return nil
	case "enter":
		a.Palette = nil
		a.remember(p.Input.Value())
		return a.Command(p.Input.Value())
	case "tab":
		p.take()
		p.complete(a)
		return nil
	case "down", "ctrl+n":
		if p.back > 0 {
			p.recall(a, -1)
			return nil
		}
		p.Index = min(p.Index+1, max(0, len(p.Matches)-1))
		return nil
	case "up":
		if p.Index == 0 || p.back > 0 {
			p.recall(a, 1)
			return nil
		}
		p.Index--
		return nil
	case "ctrl+p", "shift+tab":
		p.Index = max(0, p.Index-1)
		return nil
	case "backspace":
		if p.Input.Value() == "" {
			a.Palette = nil
			return nil
		}
	}
	p.Input, _ = p.Input.Update(k)
	p.back = 0
	p.complete(a)
	return nil
}

// keptCommands is how many commands the palette remembers.
const keptCommands = 100

func (a *App) remember(line string) {
	if line = strings.TrimSpace(line); line == "" {
		return
	}
	a.history = append(slices.DeleteFunc(a.history, func(s string) bool { return s == line }), line)
	if drop := len(a.history) - keptCommands; drop > 0 {
		a.history = a.history[drop:]
	}
}

// recall goes n commands back in the history, or forth when n is negative.
func (p *Palette) recall(a *App, n int) {
	p.back = max(0, min(p.back+n, len(a.history)))
	text := ""
	if p.back > 0 {
		text = a.history[len(a.history)-p.back]
	}
	p.Input.SetValue(text)
	p.Input.CursorEnd()
	p.Matches, p.Index = a.completions(text), 0
}

// take makes the line the chosen completion.
func (p *Palette) take() {
	if p.Index < len(p.Matches) {
		p.Input.SetValue(p.Matches[p.Index].Text)
		p.Input.CursorEnd()
	}
}

// complete works out what could follow.
func (p *Palette) complete(a *App) {
	p.Matches, p.Index = a.completions(p.Input.Value()), 0
}

// completions offers command names first, then the command's argument.
func (a *App) completions(line string) []Completion {
	name, arg, hasArg := strings.Cut(strings.TrimLeft(line, " "), " ")
	if !hasArg {
		return ranked(name, a.commandNames(), "")
	}
	for _, c := range commands() {
		if c.name == name && c.complete != nil {
			head, last := splitArg(arg, c.name == "columns")
			var all []Completion
			for _, s := range c.complete(a) {
				all = append(all, Completion{Text: s})
			}
			return ranked(last, all, name+" "+head)
		}
	}
	return nil
}

// splitArg parts what is finished of an argument from the word being typed.
func splitArg(arg string, commas bool) (head, last string) {
	seps := " "
	if commas {
		seps = ", "
	}
	i := strings.LastIndexAny(arg, seps)
	return arg[:i+1], arg[i+1:]
}

// ranked returns the candidates that match typed, the best first, each with
// head before it.
func ranked(typed string, all []Completion, head string) []Completion {
	var out []Completion
	add := func(c Completion) {
		if len(out) < maxCompletions {
			out = append(out, Completion{Text: head + c.Text, Help: c.Help})
		}
	}
	if typed == "" {
		for _, c := range all {
			add(c)
		}
		return out
	}
	var rest []Completion
	for _, c := range all {
		if strings.HasPrefix(c.Text, typed) {
			add(c)
		} else {
			rest = append(rest, c)
		}
	}
	texts := make([]string, len(rest))
	for i, c := range rest {
		texts[i] = c.Text
	}
	for _, m := range fuzzy.Find(typed, texts) {
		add(rest[m.Index])
	}
	return out
}

func (a *App) commandNames() []Completion {
	var out []Completion
	seen := map[string]bool{}
	for _, c := range commands() {
		seen[c.name] = true
		text := c.name
		if c.arg != "" {
			text += " "
		}
		out = append(out, Completion{Text: text, Help: strings.TrimSpace(c.arg + "  " + c.help)})
	}
	for i := range a.actions {
		x := &a.actions[i]
		if x.Silent || seen[x.ID] || !x.on(a.Screen) {
			continue
		}
		help := x.Help
		if len(x.Keys) > 0 {
			help = x.KeyName() + "  " + help
		}
		out = append(out, Completion{Text: x.ID, Help: help})
	}
	slices.SortStableFunc(out, func(x, y Completion) int { return strings.Compare(x.Text, y.Text) })
	return out
}

// Command runs a palette line.
func (a *App) Command(line string) tea.Cmd {
	name, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
	arg = strings.TrimSpace(arg)
	if name == "" {
		return nil
	}
	if name == "quit" || name == "q!" || name == "exit" {
		return a.Quit()
	}
	for _, c := range commands() {
		if c.name == name && (arg != "" || c.arg == "" || c.name == "filter") {
			return c.run(a, arg)
		}
	}
	for i := range a.actions {
		if a.actions[i].ID == name {
			if arg != "" {
				return a.Warn(fmt.Sprintf(":%s takes no argument: it acts on the marked VMs, or the selected one", name))
			}
			return a.RunID(name)
		}
	}
	if m := ranked(name, a.commandNames(), ""); len(m) > 0 {
		return a.Warn(fmt.Sprintf("no command %q; did you mean :%s?", name, strings.TrimSpace(m[0].Text)))
	}
	return a.Warn(fmt.Sprintf("no command %q; %s lists the keys, : and tab the commands", name, a.KeyFor("help")))
}

func (a *App) cmdSort(arg string) tea.Cmd {
	id, dir, _ := strings.Cut(arg, " ")
	if _, ok := ColumnByID(id); !ok {
		return a.Warn(fmt.Sprintf("no column %q; there are %s", id, strings.Join(ColumnIDs(), ", ")))
	}
	switch dir = strings.TrimSpace(dir); dir {
	case "":
		return a.sortBy(id)
	case "asc", "desc":
		a.VMs.SortBy, a.VMs.Desc = id, dir == "desc"
		a.VMs.Rebuild()
		a.want()
		return nil
	}
	return a.Warn(fmt.Sprintf("the order is asc or desc, not %q", dir))
}

func (a *App) cmdColumns(arg string) tea.Cmd {
	ids := strings.FieldsFunc(arg, func(r rune) bool { return r == ',' || r == ' ' })
	for _, id := range ids {
		if _, ok := ColumnByID(id); !ok {
			return a.Warn(fmt.Sprintf("no column %q; there are %s", id, strings.Join(ColumnIDs(), ", ")))
		}
	}
	if !slices.Contains(ids, "name") {
		ids = append([]string{"name"}, ids...)
	}
	a.VMs.choose(ids)
	return nil
}

func (a *App) cmdRefresh(arg string) tea.Cmd {
	d, err := time.ParseDuration(arg)
	if err != nil || d < 200*time.Millisecond {
		return a.Warn(fmt.Sprintf("%q is no duration of 200ms or more, such as 1s", arg))
	}
	a.Fleet.SetRefresh(d)
	return tea.Batch(a.Info("refresh every "+d.String()), a.Fleet.PollNow())
}

// cmdVM opens a VM by name, host/name or UUID.
func (a *App) cmdVM(name string) tea.Cmd {
	var found []backend.Key
	for k, r := range a.Fleet.rows {
		if r.Host+"/"+r.Name == name {
			return a.openDetail(k, TabOverview)
		}
		if r.Name == name || r.UUID.String() == name {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 0:
		return a.Warn(fmt.Sprintf("no VM is called %q", name))
	case 1:
		return a.openDetail(found[0], TabOverview)
	}
	return a.Warn(fmt.Sprintf("%d VMs are called %s: write host/%s", len(found), name, name))
}

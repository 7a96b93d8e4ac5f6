package model

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// harness runs an App with no program, no terminal and no time of its own:
// commands run at once, and time passes when the test says so.
type harness struct {
	t    *testing.T
	app  *App
	now  time.Time
	due  []timer
	term *fakeTerminal
	quit bool
}

type timer struct {
	at  time.Time
	msg tea.Msg
}

func newHarness(t *testing.T, opt Options) *harness {
	t.Helper()
	h := &harness{t: t, now: time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC), term: &fakeTerminal{}}
	opt.Terminal = h.term
	opt.Clock = Clock{Now: func() time.Time { return h.now }, After: func(d time.Duration, m tea.Msg) tea.Cmd {
		h.due = append(h.due, timer{h.now.Add(d), m})
		return nil
	}}
	h.app = NewApp(context.Background(), opt)
	for _, host := range opt.Hosts {
		host.(interface{ setClock(func() time.Time) }).setClock(func() time.Time { return h.now })
	}
	h.run(h.app.Init())
	return h
}

// send gives the App a message and carries out the commands that follow.
func (h *harness) send(m tea.Msg) { h.run(h.app.Update(m)) }

func (h *harness) run(c tea.Cmd) {
	if c == nil {
		return
	}
	switch m := c().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range m {
			h.run(c)
		}
	case tea.QuitMsg:
		h.quit = true
	default:
		h.send(m)
	}
}

// pass lets time go by, delivering what falls due in its order.
func (h *harness) pass(d time.Duration) {
	end := h.now.Add(d)
	for {
		sort.SliceStable(h.due, func(i, j int) bool { return h.due[i].at.Before(h.due[j].at) })
		if len(h.due) == 0 || h.due[0].at.After(end) {
			break
		}
		next := h.due[0]
		h.due = h.due[1:]
		h.now = next.at
		h.send(next.msg)
	}
	h.now = end
}

// keys types keys: names of one rune are typed as they are.
func (h *harness) keys(names ...string) {
	h.t.Helper()
	for _, n := range names {
		h.send(keyMsg(n))
	}
}

// text types a text.
func (h *harness) text(s string) {
	for _, r := range s {
		h.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}})
	}
}

var keyTypes = map[string]tea.KeyType{"enter": tea.KeyEnter, "esc": tea.KeyEsc, "tab": tea.KeyTab, "up": tea.KeyUp, "down": tea.KeyDown,
	"ctrl+a": tea.KeyCtrlA, "ctrl+d": tea.KeyCtrlD, "ctrl+c": tea.KeyCtrlC, "ctrl+@": tea.KeyCtrlAt, "backspace": tea.KeyBackspace, "f2": tea.KeyF2, " ": tea.KeySpace, "left": tea.KeyLeft, "right": tea.KeyRight, "shift+tab": tea.KeyShiftTab, "pgdown": tea.KeyPgDown}

func keyMsg(name string) tea.KeyMsg {
	if k, ok := keyTypes[name]; ok {
		m := tea.KeyMsg{Type: k}
		if k == tea.KeySpace {
			m.Runes = []rune{' '}
		}
		return m
	}
	return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(name)}
}

// status is the message shown.
func (h *harness) status() string { return h.app.Status.Text }

func (h *harness) wantStatus(part string) {
	h.t.Helper()
	if !strings.Contains(h.status(), part) {
		h.t.Fatalf("the status line reads %q, not %q", h.status(), part)
	}
}

func (h *harness) names() string {
	var out []string
	for _, r := range h.app.VMs.Visible() {
		out = append(out, r.Name)
	}
	return strings.Join(out, " ")
}

func (h *harness) confirm() *Confirm {
	h.t.Helper()
	if len(h.app.Overlays) == 0 {
		h.t.Fatalf("nothing is asked; status %q", h.status())
	}
	c, ok := h.app.Overlays[len(h.app.Overlays)-1].(*Confirm)
	if !ok {
		h.t.Fatalf("%T is on top, not a question", h.app.Overlays[0])
	}
	return c
}

// fakeTerminal runs what it is given at once.
type fakeTerminal struct {
	written strings.Builder
	exec    func(tea.ExecCommand) error
	mouse   bool
}

func (f *fakeTerminal) Exec(c tea.ExecCommand, done tea.ExecCallback) tea.Cmd {
	return func() tea.Msg {
		if f.exec == nil {
			return done(errors.New("nothing can be run in this test"))
		}
		return done(f.exec(c))
	}
}
func (f *fakeTerminal) Write(s string)   { f.written.WriteString(s) }
func (f *fakeTerminal) SetMouse(on bool) { f.mouse = on }
func (f *fakeTerminal) Repaint()         {}

// fakeHost is a host whose domains do what the test says, at once. It is a
// Definer.
type fakeHost struct {
	name     string
	readOnly bool
	clock    func() time.Time

	mu       sync.Mutex
	vms      []backend.VM
	pollErr  error
	polls    int
	done     []backend.Action
	doErr    error
	deaf     bool // guests ignore shutdown
	detail   backend.Detail
	xml      map[backend.UUID]string
	refuse   error // Define's answer
	defined  []string
	figureOf map[backend.UUID]backend.Figures
	asked    []backend.UUID
}

func newFakeHost(name string, vms ...string) *fakeHost {
	h := &fakeHost{name: name, clock: time.Now, xml: map[backend.UUID]string{}, figureOf: map[backend.UUID]backend.Figures{}}
	for i, n := range vms {
		h.add(n, byte(i+1))
	}
	return h
}

// add makes a running domain; a name that begins with '-' is off.
func (h *fakeHost) add(name string, id byte) *backend.VM {
	vm := backend.VM{Host: h.name, Name: name, ID: int32(id), State: backend.Running, Reason: "booted", Persistent: true, FactsAt: time.Unix(1, 0), Disks: 1, VCPUs: 2, MemoryMax: 1 << 30}
	if rest, off := strings.CutPrefix(name, "-"); off {
		vm.Name, vm.State, vm.ID, vm.Reason = rest, backend.Shutoff, -1, "shutdown"
	}
	vm.UUID[0], vm.UUID[1] = id, h.name[len(h.name)-1]
	h.xml[vm.UUID] = fmt.Sprintf("<domain type='qemu'>\n  <name>%s</name>\n  <uuid>%s</uuid>\n  <memory>1024</memory>\n</domain>\n", vm.Name, vm.UUID)
	h.vms = append(h.vms, vm)
	return &h.vms[len(h.vms)-1]
}

func (h *fakeHost) setClock(now func() time.Time) { h.clock = now }

func (h *fakeHost) Name() string   { return h.name }
func (h *fakeHost) URI() string    { return "fake:///" + h.name }
func (h *fakeHost) ReadOnly() bool { return h.readOnly }
func (h *fakeHost) Close() error   { return nil }

func (h *fakeHost) Poll(context.Context) (backend.Poll, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.polls++
	if h.pollErr != nil {
		return backend.Poll{}, h.pollErr
	}
	return backend.Poll{At: h.clock(), VMs: append([]backend.VM(nil), h.vms...)}, nil
}

func (h *fakeHost) Figures(_ context.Context, ids []backend.UUID) ([]backend.Figures, error) {
	h.asked = ids
	var out []backend.Figures
	for _, id := range ids {
		if f, ok := h.figureOf[id]; ok {
			out = append(out, f)
		}
	}
	return out, nil
}

func (h *fakeHost) Sample(context.Context) (backend.HostSample, error) {
	return backend.HostSample{At: h.clock(), Hostname: h.name, CPUs: 4, MemTotal: 8 << 30, MemFree: 4 << 30}, nil
}

func (h *fakeHost) Watch(context.Context) (<-chan backend.Event, error) {
	return nil, backend.ErrUnsupported
}

func (h *fakeHost) vm(id backend.UUID) *backend.VM {
	for i := range h.vms {
		if h.vms[i].UUID == id {
			return &h.vms[i]
		}
	}
	return nil
}

func (h *fakeHost) Do(_ context.Context, a backend.Action) error {
	h.done = append(h.done, a)
	if h.doErr != nil {
		return h.doErr
	}
	vm := h.vm(a.UUID)
	switch a.Verb {
	case backend.VerbStart:
		vm.State, vm.ID = backend.Running, 77
	case backend.VerbShutdown:
		if !h.deaf {
			vm.State, vm.ID = backend.Shutoff, -1
		}
	case backend.VerbDestroy:
		vm.State, vm.ID = backend.Shutoff, -1
	case backend.VerbSuspend:
		vm.State = backend.Paused
	case backend.VerbResume:
		vm.State = backend.Running
	case backend.VerbRename:
		vm.Name = a.New
	case backend.VerbAutostartOn:
		vm.Autostart = true
	case backend.VerbUndefine:
		for i := range h.vms {
			if h.vms[i].UUID == a.UUID {
				h.vms = append(h.vms[:i], h.vms[i+1:]...)
				break
			}
		}
	}
	return nil
}

func (h *fakeHost) Detail(_ context.Context, id backend.UUID) (backend.Detail, error) {
	d := h.detail
	d.At, d.VM = h.clock(), *h.vm(id)
	return d, nil
}

func (h *fakeHost) Guest(context.Context, backend.UUID) (backend.Guest, error) {
	return backend.Guest{}, backend.ErrNoAgent
}

func (h *fakeHost) XML(_ context.Context, id backend.UUID, _ bool) (string, error) {
	return h.xml[id], nil
}

func (h *fakeHost) Define(_ context.Context, x string) (backend.UUID, error) {
	if h.refuse != nil {
		return backend.UUID{}, h.refuse
	}
	h.defined = append(h.defined, x)
	id, err := identity(x)
	if err != nil {
		return backend.UUID{}, err
	}
	return backend.ParseUUID(id.UUID)
}

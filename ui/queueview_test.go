package ui

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"berth/backend"
	"berth/model"
	"berth/themes"
)

func queueConsole(t testing.TB, w, h int, change func(*fakeQueue, *model.Options, *Look)) (*console, *fakeQueue) {
	q := livingQueue(start.Add(3e9))
	c := newConsole(t, w, h, func(o *model.Options, l *Look) {
		o.Queue = q
		if change != nil {
			change(q, o, l)
		}
	})
	c.keys("4")
	return c, q
}

// selectJob selects the job of a VM.
func (c *console) selectJob(name string) {
	c.t.Helper()
	for i := range c.app.Queue.State.Jobs {
		if j := &c.app.Queue.State.Jobs[i]; j.Name == name {
			c.app.Queue.SelectJob(j.ID)
			return
		}
	}
	c.t.Fatalf("no job is called %s", name)
}

func TestQueueAtEverySize(t *testing.T) {
	for _, s := range [][2]int{{40, 10}, {80, 24}, {120, 40}, {200, 50}} {
		t.Run(fmt.Sprintf("%dx%d", s[0], s[1]), func(t *testing.T) {
			c, _ := queueConsole(t, s[0], s[1], nil)
			c.golden(fmt.Sprintf("queue-%dx%d", s[0], s[1]))
			c.keys("tab")
			c.golden(fmt.Sprintf("queue-gantt-%dx%d", s[0], s[1]))
			c.keys("tab")
			c.selectJob("train-resnet")
			c.keys("enter")
			c.golden(fmt.Sprintf("queue-why-%dx%d", s[0], s[1]))
			c.keys("w", "right")
			c.pass(1e9)
			c.golden(fmt.Sprintf("queue-whatif-%dx%d", s[0], s[1]))
		})
	}
}

func TestQueueForms(t *testing.T) {
	for _, s := range [][2]int{{40, 10}, {80, 24}, {120, 40}} {
		c, _ := queueConsole(t, s[0], s[1], nil)
		c.keys("j", "e")
		c.golden(fmt.Sprintf("queue-change-%dx%d", s[0], s[1]))
		c.keys("esc", "1")
		for c.root.selected().State.Active() {
			c.keys("j")
		}
		c.keys("Q", "tab", "2", "h", "tab", "x")
		c.pass(time.Second)
		c.golden(fmt.Sprintf("queue-submit-%dx%d", s[0], s[1]))
	}
}

func TestQueueInColoursAndASCII(t *testing.T) {
	for _, theme := range []string{"sixteen", "dark", "light"} {
		c, _ := queueConsole(t, 120, 40, func(_ *fakeQueue, o *model.Options, l *Look) { o.Settings.Theme, l.Profile = theme, themes.ANSI256 })
		c.golden("queue-256-" + theme)
		c.keys("tab")
		c.golden("queue-gantt-256-" + theme)
	}
	c, q := queueConsole(t, 80, 24, func(_ *fakeQueue, _ *model.Options, l *Look) { l.Glyphs = themes.ASCII })
	for i := range q.state.Jobs {
		if strings.HasPrefix(q.state.Jobs[i].Name, "publish") {
			q.state.Jobs[i].Name = "publish"
		}
	}
	for _, keys := range [][]string{nil, {"tab"}, {"tab", "enter"}, {"w", "right"}} {
		c.keys(keys...)
		c.pass(time.Second)
		for _, r := range c.frame() {
			if r > 126 && r != '…' && r != '–' {
				t.Fatalf("%q is no ASCII:\n%s", r, c.frame())
			}
		}
	}
}

func TestQueueSaysWhatIsMissing(t *testing.T) {
	c, _ := queueConsole(t, 80, 24, func(_ *fakeQueue, o *model.Options, _ *Look) {
		o.Queue, o.QueueErr = nil, fmt.Errorf("open /var/lib/berth/berth.db: permission denied; run berth as root")
	})
	c.want("There is no queue here.", "permission denied; run berth as root")
	c.golden("queue-none")
	c, _ = queueConsole(t, 80, 24, func(q *fakeQueue, _ *model.Options, _ *Look) { q.err = fmt.Errorf("database is locked") })
	c.want("The queue does not answer.", "database is locked")
	c, q := queueConsole(t, 80, 24, func(q *fakeQueue, _ *model.Options, _ *Look) { q.state.Engine = backend.EngineState{} })
	c.want("no engine: E starts it")
	q.state.Engine.Trouble = "lost the lease to hv9"
	q.state.Revision++
	c.pass(20 * time.Second)
	c.keys("ctrl+r")
	c, _ = queueConsole(t, 80, 24, func(q *fakeQueue, _ *model.Options, _ *Look) { q.state.Jobs = nil })
	c.want("The queue is empty. Q on the list of VMs puts one in it.")
}

// TestJobStatesAreToldWithoutColour looks that every state has its own word,
// and that states that mean different things to a person differ in shape too.
func TestJobStatesAreToldWithoutColour(t *testing.T) {
	c, q := queueConsole(t, 170, 60, nil)
	q.edit(func(st *backend.QueueState) {
		for i, s := range backend.JobStates() {
			j := st.Jobs[i%len(st.Jobs)]
			j.ID, j.Name, j.State, j.Cancel = backend.JobID(500+i), fmt.Sprintf("state-%02d", i), s, false
			st.Jobs = append(st.Jobs, j)
		}
	})
	c.pass(time.Second)
	lines := strings.Split(ansi.Strip(c.frame()), "\n")
	for i, s := range backend.JobStates() {
		j := c.app.Queue.Job(backend.JobID(500 + i))
		glyph, word, _ := c.root.jobState(j)
		found := false
		for _, l := range lines {
			found = found || strings.Contains(l, j.Name) && strings.Contains(l, " "+glyph+" ") && strings.Contains(l, string(s)) && word == string(s)
		}
		if !found {
			t.Errorf("%s is not told by shape and word", s)
		}
	}
}

func TestManyHostsAreCompact(t *testing.T) {
	for _, n := range []int{7, 30, 300} {
		c, q := queueConsole(t, 100, 30, nil)
		q.edit(func(st *backend.QueueState) {
			st.Hosts = nil
			for i := range n {
				st.Hosts = append(st.Hosts, backend.QueueHost{Name: fmt.Sprintf("hv%03d", i), Capacity: backend.Resources{VCPU: 64, Memory: 256 * gib}, Used: backend.Resources{VCPU: i % 64, Memory: uint64(i%256) * gib}, Drained: i%9 == 4})
			}
		})
		c.pass(time.Second)
		c.want("hv000", "drained")
		if n == 300 {
			c.want("more hosts:")
		}
		if lines := c.root.queueHostLines(c.root.bodyHeight()); lines > 7 || lines < len(c.root.queueHosts(100, c.root.bodyHeight())) {
			t.Errorf("%d hosts take %d lines", n, lines)
		}
	}
}

// TestEveryQueueFrameIsExact types at random on the queue's screens, at every
// size, over a queue that changes and holds hostile names.
func TestEveryQueueFrameIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	names := []string{"enter", "esc", "tab", "up", "down", "pgdown", "ctrl+a", "ctrl+d", "ctrl+u", "backspace", " ", "left", "right", "4", "4", "4", "w", "e"}
	for k := '!'; k <= '~'; k++ {
		if !strings.ContainsRune("qco", k) {
			names = append(names, string(k))
		}
	}
	hostile := []string{"\x1b[31mred\x1b[0m", "a\u0301\u0301\u0301", "👩‍👩‍👧‍👦-vm", "仮想マシン", "\u202eevil", "tab\there", strings.Repeat("x", 300), ""}
	c, q := queueConsole(t, 80, 24, func(_ *fakeQueue, _ *model.Options, l *Look) { l.Profile = themes.ANSI256 })
	var typed []string
	for i := range 1500 {
		if i%20 == 0 {
			q.edit(func(st *backend.QueueState) {
				j := &st.Jobs[rng.IntN(len(st.Jobs))]
				states := backend.JobStates()
				j.State = states[rng.IntN(len(states))]
				j.Name = backend.Clean(hostile[rng.IntN(len(hostile))])
				j.Words, j.Owner, j.ETAHost = j.Name, j.Name, j.Name
				j.ETA = start.Add(time.Duration(rng.IntN(1<<20)-1<<18) * time.Second)
				j.Expected = time.Duration(rng.IntN(3)) * time.Hour * time.Duration(rng.IntN(1000))
				st.Hosts[0].Trouble = []string{"", j.Name}[rng.IntN(2)]
				st.Hosts[1].Used.VCPU = rng.IntN(90)
			})
			c.pass(time.Second)
			c.send(tea.WindowSizeMsg{Width: 1 + rng.IntN(210), Height: 1 + rng.IntN(60)})
		}
		n := names[rng.IntN(len(names))]
		typed = append(typed, n)
		c.keys(n)
		f := c.root.Frame()
		if err := exact(f, c.root.w, c.root.h); err != nil {
			t.Fatalf("after %q: %v", typed[max(0, len(typed)-30):], err)
		}
		for _, r := range ansi.Strip(f) {
			if r != '\n' && (r < 0x20 || (r >= 0x7f && r < 0xa0) || r == '\u202e') {
				t.Fatalf("%U reached the screen", r)
			}
		}
	}
}

func TestQueueMouse(t *testing.T) {
	c, _ := queueConsole(t, 120, 40, nil)
	click := func(y int) {
		c.send(tea.MouseMsg{X: 10, Y: y, Button: tea.MouseButtonLeft, Action: tea.MouseActionPress})
	}
	at := func(name string) int {
		for i, l := range strings.Split(ansi.Strip(c.frame()), "\n") {
			if strings.Contains(l, name) {
				return i
			}
		}
		t.Fatalf("%s is not on the screen", name)
		return 0
	}
	click(at("etl-orders"))
	if j := c.app.Queue.Selected(); j.Name != "etl-orders" {
		t.Fatalf("a click selected %s", j.Name)
	}
	click(at("7 waiting")) // a heading
	if j := c.app.Queue.Selected(); j.Name != "etl-orders" {
		t.Fatalf("a click on a heading selected %s", j.Name)
	}
	click(at("etl-orders"))
	if c.app.Screen != model.ScreenJob {
		t.Fatal("a click on the selected job does not open it")
	}
}

func TestSelectedJobAndGanttBarCanBeSeenWithoutColour(t *testing.T) {
	c, _ := queueConsole(t, 120, 40, nil)
	c.keys("tab", "j", "j")
	name := c.app.Queue.Selected().Name
	n := 0
	for _, l := range strings.Split(ansi.Strip(c.frame()), "\n") {
		if strings.HasPrefix(l, "▸") {
			n++
			if !strings.Contains(l[3:], "▸") {
				t.Errorf("the bar is not marked: %q", l)
			}
		}
	}
	if n != 1 {
		t.Fatalf("%d lanes are marked for %s:\n%s", n, name, ansi.Strip(c.frame()))
	}
}

func BenchmarkQueueScroll(b *testing.B) {
	for _, gantt := range []bool{false, true} {
		b.Run(map[bool]string{false: "list", true: "gantt"}[gantt], func(b *testing.B) {
			c, _ := queueConsole(b, 200, 50, func(q *fakeQueue, _ *model.Options, _ *Look) { q.state.Jobs = manyJobs(10000) })
			if gantt {
				c.keys("tab")
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if i%1000 < 500 {
					c.root.Update(key("j"))
				} else {
					c.root.Update(key("k"))
				}
				c.root.View()
			}
		})
	}
}

func BenchmarkQueueMarked(b *testing.B) {
	c, _ := queueConsole(b, 200, 50, func(q *fakeQueue, _ *model.Options, _ *Look) { q.state.Jobs = manyJobs(10000) })
	c.keys("ctrl+a")
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		c.root.Update(clockTick{})
		c.root.View()
	}
}

func manyJobs(n int) []backend.Job {
	jobs := livingQueue(start).state.Jobs
	var out []backend.Job
	for i := range n {
		j := jobs[i%len(jobs)]
		if i > 60 {
			j = jobs[7]
			j.Position = i
			j.ETA = start.Add(time.Duration(i) * time.Minute)
			j.ETAHost = []string{"ams-hv1", "fra-hv1", "sto-hv1"}[i%3]
		}
		j.ID, j.Name = backend.JobID(i+1), fmt.Sprintf("vm-%05d", i)
		out = append(out, j)
	}
	return out
}

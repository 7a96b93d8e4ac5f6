package ui

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"berth/backend/demo"
	"berth/model"
	"berth/themes"
)

func TestListAtEverySize(t *testing.T) {
	for _, s := range [][2]int{{40, 10}, {80, 24}, {120, 40}, {200, 50}} {
		c := newConsole(t, s[0], s[1], nil)
		c.keys("j", " ", " ")
		c.golden(fmt.Sprintf("list-%dx%d", s[0], s[1]))
	}
}

func TestListInColours(t *testing.T) {
	for _, theme := range []string{"sixteen", "dark", "light"} {
		c := newConsole(t, 80, 24, func(o *model.Options, l *Look) { o.Settings.Theme, l.Profile = theme, themes.ANSI256 })
		c.golden("list-256-" + theme)
	}
}

func TestListInASCII(t *testing.T) {
	c := newConsole(t, 80, 24, func(_ *model.Options, l *Look) { l.Glyphs = themes.ASCII })
	f := c.frame()
	for _, r := range f {
		if r > 126 && r != '…' && r != '–' {
			t.Fatalf("%q is no ASCII:\n%s", r, f)
		}
	}
}

func TestEveryScreenAt80x24(t *testing.T) {
	for _, s := range []struct {
		name string
		keys []string
	}{
		{"detail-overview", []string{"enter"}},
		{"detail-devices", []string{"enter", "tab"}},
		{"detail-history", []string{"enter", "tab", "tab"}},
		{"detail-xml", []string{"x"}},
		{"detail-snapshots", []string{"enter", "left", "left"}},
		{"hosts", []string{"2"}},
		{"events", []string{"3"}},
		{"help", []string{"?"}},
		{"menu", []string{"a"}},
		{"confirm", []string{"D"}},
		{"confirm-bulk", []string{"ctrl+a", "S"}},
		{"columns", []string{"C"}},
		{"palette", []string{":", "so"}},
		{"filter", []string{"/", "state:running cpu>50"}},
		{"filter-error", []string{"/", "nosuch:1"}},
		{"sort", []string{"O"}},
	} {
		t.Run(s.name, func(t *testing.T) {
			c := newConsole(t, 80, 24, nil)
			c.keys(s.keys...)
			c.golden(s.name)
		})
	}
}

func TestTooSmall(t *testing.T) {
	c := newConsole(t, 39, 9, nil)
	c.want("berth needs 40x10", "This is 39x9")
	c.send(tea.WindowSizeMsg{Width: 1, Height: 1})
	c.frame()
}

func TestConnectPageSaysWhatFailedAndWhatCanBeDone(t *testing.T) {
	c := newConsole(t, 80, 24, func(o *model.Options, _ *Look) {
		o.Hosts = nil
		o.Attempts = []model.Attempt{{URI: "qemu:///system", Err: fmt.Errorf("connect qemu:///system: no socket; is libvirtd running?")}}
	})
	c.want("qemu:///system", "is libvirtd running?", "try the same again", "simulated fleet", "another URI")
	c.golden("connect")
}

// TestEveryFrameIsExact types at random, at every size a terminal may have,
// and looks at each frame.
func TestEveryFrameIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	names := []string{"enter", "esc", "tab", "up", "down", "pgdown", "ctrl+a", "ctrl+d", "ctrl+u", "backspace", " ", "left", "right"}
	for k := '!'; k <= '~'; k++ {
		if !strings.ContainsRune("qco", k) { // quit, and what leaves for another program
			names = append(names, string(k))
		}
	}
	c := newConsole(t, 80, 24, func(_ *model.Options, l *Look) { l.Profile = themes.ANSI256 })
	var typed []string
	for i := range 1500 {
		if i%20 == 0 {
			c.send(tea.WindowSizeMsg{Width: 1 + rng.IntN(210), Height: 1 + rng.IntN(60)})
		}
		n := names[rng.IntN(len(names))]
		typed = append(typed, n)
		c.keys(n)
		if err := exact(c.root.Frame(), c.root.w, c.root.h); err != nil {
			t.Fatalf("after %q: %v", typed[max(0, len(typed)-30):], err)
		}
	}
}

func TestHostileStringsNeverReachTheScreen(t *testing.T) {
	c := newConsole(t, 120, 40, func(o *model.Options, _ *Look) { o.Settings.Columns = []string{"name", "title", "note", "os", "tags"} })
	for range c.app.VMs.Visible() {
		c.keys("enter")
		for range model.Tabs() {
			for _, r := range ansi.Strip(c.frame()) {
				if r != '\n' && (r < 0x20 || (r >= 0x7f && r < 0xa0) || r == '\u202e') {
					t.Fatalf("%U reached the screen:\n%q", r, c.frame())
				}
			}
			c.keys("tab")
		}
		c.keys("esc", "j")
	}
}

func TestMouse(t *testing.T) {
	c := newConsole(t, 120, 30, nil)
	click := func(x, y int) {
		c.send(tea.MouseMsg{X: x, Y: y, Button: tea.MouseButtonLeft, Action: tea.MouseActionPress})
	}
	click(10, linesAbove+1+4)
	if c.app.VMs.Index() != 4 {
		t.Fatalf("a click on the fifth row selected row %d", c.app.VMs.Index())
	}
	header := strings.Split(ansi.Strip(c.frame()), "\n")[linesAbove]
	click(len([]rune(header[:strings.Index(header, "CPU%")]))+1, linesAbove)
	if c.app.VMs.SortBy != "cpu" || !c.app.VMs.Desc {
		t.Fatalf("a click on CPU%% sorts by %s", c.app.VMs.SortBy)
	}
	c.keys("g")
	c.send(tea.WindowSizeMsg{Width: 120, Height: 12})
	c.send(tea.MouseMsg{X: 10, Y: 5, Button: tea.MouseButtonWheelDown, Action: tea.MouseActionPress})
	if c.app.VMs.Top() != 3 {
		t.Fatalf("the wheel scrolled to %d", c.app.VMs.Top())
	}
	c.keys("m")
	click(10, linesAbove+3)
	if c.app.VMs.Index() == c.app.VMs.Top()+2 {
		t.Fatal("a click acted while the mouse is the terminal's")
	}
}

func TestAHostsThemeFramesTheScreen(t *testing.T) {
	c := newConsole(t, 80, 24, func(o *model.Options, l *Look) {
		l.Profile = themes.ANSI256
		o.HostThemes = map[string]string{o.Hosts[0].Name(): "light"}
	})
	first := ""
	for i, r := range c.app.VMs.Visible() {
		c.app.VMs.Select(i)
		if r.Host == c.app.Fleet.Hosts()[0].Host.Name() {
			first = strings.SplitN(c.root.Frame(), "\n", 2)[0]
			break
		}
	}
	for i, r := range c.app.VMs.Visible() {
		if r.Host != c.app.Fleet.Hosts()[0].Host.Name() {
			c.app.VMs.Select(i)
			break
		}
	}
	other := strings.SplitN(c.root.Frame(), "\n", 2)[0]
	if ansi.Strip(first) != ansi.Strip(other) || first == other {
		t.Fatalf("the frame does not change with the host:\n%q\n%q", first, other)
	}
}

func TestAConnectionsFrameShowsWhichHostItIs(t *testing.T) {
	c := newConsole(t, 80, 24, func(o *model.Options, l *Look) {
		l.Profile = themes.ANSI16
		o.HostFrames = map[string]string{o.Hosts[0].Name(): "white on red"}
	})
	red := 0
	for i, r := range c.app.VMs.Visible() {
		c.app.VMs.Select(i)
		lines := strings.Split(c.frame(), "\n")
		framed := strings.Contains(lines[0], "41m") && strings.Contains(lines[23], "41m")
		if framed != (r.Host == c.app.Fleet.Hosts()[0].Host.Name()) {
			t.Fatalf("%s on %s: framed %t\n%q", r.Name, r.Host, framed, lines[0])
		}
		if framed {
			red++
		}
	}
	if red == 0 {
		t.Fatal("no VM is on the host in question")
	}
}

func TestStateIsToldWithoutColour(t *testing.T) {
	c := newConsole(t, 170, 40, nil)
	for _, r := range c.app.VMs.Visible() {
		glyph, _ := c.root.stateGlyph(r)
		line := ""
		for _, l := range strings.Split(ansi.Strip(c.frame()), "\n") {
			if strings.Contains(l, " "+r.Name+" ") {
				line = l
			}
		}
		if !strings.Contains(line, glyph) || !strings.Contains(line, r.State.String()[:4]) {
			t.Errorf("%s (%s): %q", r.Name, r.State, line)
		}
	}
}

func BenchmarkScroll(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprintf("%d VMs", n), func(b *testing.B) {
			r := benchRoot(b, n)
			b.ReportAllocs()
			for i := range b.N {
				if i%1000 < 500 {
					r.Update(key("j"))
				} else {
					r.Update(key("k"))
				}
				r.View()
			}
		})
	}
}

func BenchmarkRefresh(b *testing.B) {
	r := benchRoot(b, 10000)
	b.ReportAllocs()
	for range b.N {
		r.app.VMs.Rebuild()
		r.Update(clockTick{})
		r.View()
	}
}

func benchRoot(b *testing.B, vms int) *Root {
	c := newConsole(b, 200, 50, func(o *model.Options, _ *Look) {
		fleet := demo.New(demo.Options{Seed: 7, VMs: vms})
		b.Cleanup(func() { _ = fleet.Close() })
		o.Hosts = fleet.Hosts()
	})
	if n := c.app.Fleet.Len(); n < vms {
		b.Fatalf("%d VMs are listed, not %d", n, vms)
	}
	b.ResetTimer()
	return c.root
}

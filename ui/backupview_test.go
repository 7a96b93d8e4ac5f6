package ui

import (
	"context"
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

// backupsConsole shows a living fleet's backups and storage.
func backupsConsole(t testing.TB, w, h int, change func(*fakeBackups, *fakeStore, *model.Options, *Look)) (*console, *fakeBackups, *fakeStore) {
	t.Helper()
	var b *fakeBackups
	var s *fakeStore
	c := newConsole(t, w, h, func(o *model.Options, l *Look) {
		var vms []backend.VM
		for _, h := range o.Hosts {
			p, err := h.Poll(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			vms = append(vms, p.VMs...)
		}
		host := o.Hosts[0]
		b, s = livingBackups(start.Add(3*time.Second), vms), livingStore(start.Add(3*time.Second), host.Name(), vms)
		o.Hosts[0] = storingHost{deafHost{host.(ableHost)}, s}
		o.Backups, o.Retain = b, retainLast
		if change != nil {
			change(b, s, o, l)
		}
	})
	return c, b, s
}

// backupScreens are the screens, and the keys that lead to each.
var backupScreens = []struct {
	name string
	keys []string
}{
	{"transfers", []string{"5"}},
	{"catalogue", []string{"5", "tab"}},
	{"points", []string{"5", "tab", "G", "enter"}},
	{"schedules", []string{"5", "shift+tab"}},
	{"images", []string{"6"}},
	{"images-tree", []string{"6", "t"}},
	{"pools", []string{"6", "tab"}},
}

func TestBackupScreensAtEverySize(t *testing.T) {
	for _, s := range [][2]int{{40, 10}, {80, 24}, {120, 40}, {200, 50}} {
		for _, x := range backupScreens {
			t.Run(fmt.Sprintf("%s-%dx%d", x.name, s[0], s[1]), func(t *testing.T) {
				c, _, _ := backupsConsole(t, s[0], s[1], nil)
				c.keys(x.keys...)
				c.golden(fmt.Sprintf("backup-%s-%dx%d", x.name, s[0], s[1]))
			})
		}
	}
}

func TestBackupFormsAndWizard(t *testing.T) {
	for _, s := range [][2]int{{40, 10}, {80, 24}, {120, 40}} {
		for _, x := range []struct {
			name string
			keys []string
		}{
			{"form", []string{"b"}},
			{"verify", []string{"5", "v"}},
			{"schedule-form", []string{"5", "shift+tab", "n"}},
			{"restore-when", []string{"5", "tab", "G", "r"}},
			{"restore-what", []string{"5", "tab", "G", "enter", "r"}},
			{"restore-form", []string{"5", "tab", "G", "enter", "r", "c", "enter"}},
			{"restore-summary", []string{"5", "tab", "G", "enter", "r", "c", "enter", "shift+tab", "y"}},
			{"forget", []string{"5", "tab", "G", "enter", "f", "3"}},
			{"image-copy", []string{"6", "j", "j", "c"}},
			{"image-delete", []string{"6", "/", "forgotten", "enter", "D"}},
		} {
			c, _, _ := backupsConsole(t, s[0], s[1], nil)
			c.keys(x.keys...)
			c.golden(fmt.Sprintf("backup-%s-%dx%d", x.name, s[0], s[1]))
		}
	}
}

func TestBackupsInColoursAndASCII(t *testing.T) {
	for _, theme := range []string{"sixteen", "dark", "light"} {
		for _, x := range backupScreens {
			c, _, _ := backupsConsole(t, 120, 40, func(_ *fakeBackups, _ *fakeStore, o *model.Options, l *Look) {
				o.Settings.Theme, l.Profile = theme, themes.ANSI256
			})
			c.keys(x.keys...)
			c.golden("backup-" + x.name + "-256-" + theme)
		}
	}
	for _, x := range backupScreens {
		c, _, _ := backupsConsole(t, 80, 24, func(b *fakeBackups, s *fakeStore, _ *model.Options, l *Look) {
			l.Glyphs = themes.ASCII
			b.state.Schedules[2].Name = "monthly"
			s.images[len(s.images)-1].Name, s.images[len(s.images)-1].Path = "plain.qcow2", "/plain.qcow2"
		})
		c.keys(x.keys...)
		for _, r := range c.frame() {
			if r > 126 && r != '…' && r != '–' {
				t.Fatalf("%s: %q is no ASCII:\n%s", x.name, r, c.frame())
			}
		}
	}
}

func TestBackupsSayWhatIsMissing(t *testing.T) {
	c, _, _ := backupsConsole(t, 80, 24, func(_ *fakeBackups, s *fakeStore, o *model.Options, _ *Look) {
		o.Backups, o.BackupsErr, s.jobs = nil, fmt.Errorf("open /var/lib/berth/berth.db: permission denied; run berth as root"), nil
	})
	c.keys("5")
	c.want("There are no backups here.", "permission denied; run berth as root")
	c, _, _ = backupsConsole(t, 80, 24, func(_ *fakeBackups, _ *fakeStore, o *model.Options, _ *Look) { o.Backups = nil })
	c.keys("5")
	c.want("migration", "others'", "2 of others") // what others do shows all the same
	c, _, _ = backupsConsole(t, 80, 24, func(b *fakeBackups, _ *fakeStore, _ *model.Options, _ *Look) {
		b.err = fmt.Errorf("database is locked")
	})
	c.keys("5")
	c.want("✗ database is locked", "2 of others")
	c.keys("tab")
	c.want("The backups do not answer.", "database is locked")
	c, _, _ = backupsConsole(t, 80, 24, func(b *fakeBackups, s *fakeStore, _ *model.Options, _ *Look) {
		s.jobs, b.state = nil, backend.BackupsState{Revision: 1}
	})
	c.keys("5")
	c.want("Nothing is under way.", "Nothing was transferred yet.")
	c.keys("shift+tab")
	c.want("Nothing is scheduled.", "n adds a schedule")
	c, _, s := backupsConsole(t, 80, 24, func(_ *fakeBackups, s *fakeStore, _ *model.Options, _ *Look) { s.err = backend.ErrTimeout })
	c.keys("6")
	c.want("no answer in time")
	if s.answered != 1 {
		t.Errorf("a host that fails was asked %d times at once", s.answered)
	}
}

// TestTransferStatesAreToldWithoutColour looks that every state has a word of
// its own, and that states that mean different things differ in shape too.
func TestTransferStatesAreToldWithoutColour(t *testing.T) {
	c, _, _ := backupsConsole(t, 120, 40, nil)
	c.keys("5")
	lines := strings.Split(ansi.Strip(c.frame()), "\n")
	shapes := map[string]string{}
	for i := range c.app.Backups.State.Transfers {
		x := &c.app.Backups.State.Transfers[i]
		row := &model.TransferRow{Transfer: x, Section: model.TransferSection(x.State)}
		glyph, word, _ := c.root.transferState(row)
		found := false
		for _, l := range lines {
			found = found || strings.HasPrefix(l, " "+glyph) && strings.Contains(l, row.Name()) && strings.Contains(l, word)
		}
		if !found {
			t.Errorf("transfer %d (%s) is not told by shape and word %q", x.ID, x.State, word)
		}
		shapes[string(x.State)] = glyph
	}
	if shapes["running"] == shapes["failed"] || shapes["done"] == shapes["failed"] || shapes["paused"] == shapes["running"] {
		t.Errorf("shapes: %v", shapes)
	}
}

// TestVMsWithoutAFreshBackupStandOut looks that they do so by sign and word,
// in the catalogue, on the list of VMs, in the title and in the detail.
func TestVMsWithoutAFreshBackupStandOut(t *testing.T) {
	c, _, _ := backupsConsole(t, 160, 40, func(_ *fakeBackups, _ *fakeStore, o *model.Options, _ *Look) {
		o.Settings.Columns = []string{"name", "state", "backup"}
	})
	c.want("without a fresh backup (5)", "! none", "! 5d")
	c.keys("5", "tab")
	c.want("▲", "NONE", "OLD", "fresh", "1 bad")
	first := c.app.Backups.Catalogue.VM(0)
	if first.Fresh != model.FreshNone {
		t.Errorf("%s is first, though it is %s", first.Name, first.Fresh)
	}
	c.keys("V")
	c.want("last backup", "▲ none (NONE)")
}

// TestEveryBackupFrameIsExact types at random on the screens of backups and
// images, at every size, over a state that changes and holds hostile names.
func TestEveryBackupFrameIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	names := []string{"enter", "esc", "tab", "shift+tab", "up", "down", "pgdown", "ctrl+a", "ctrl+d", "ctrl+u", "backspace", " ", "left", "right", "5", "5", "6", "5", "b", "r", "n"}
	for k := '!'; k <= '~'; k++ {
		if !strings.ContainsRune("q", k) {
			names = append(names, string(k))
		}
	}
	hostile := []string{"\x1b[31mred\x1b[0m", "a\u0301\u0301\u0301", "👩‍👩‍👧‍👦-vm", "仮想マシン", "\u202eevil", "tab\there", strings.Repeat("x", 300), ""}
	c, b, s := backupsConsole(t, 80, 24, func(_ *fakeBackups, _ *fakeStore, _ *model.Options, l *Look) { l.Profile = themes.ANSI256 })
	pick := func() string { return hostile[rng.IntN(len(hostile))] }
	states := []backend.TransferState{backend.TransferQueued, backend.TransferRunning, backend.TransferPaused, backend.TransferWaiting, backend.TransferDone, backend.TransferFailed, backend.TransferCancelled}
	var typed []string
	for i := range 2500 {
		if i%20 == 0 {
			b.edit(func(st *backend.BackupsState) {
				x := &st.Transfers[rng.IntN(len(st.Transfers))]
				x.State = states[rng.IntN(len(states))]
				x.Spec.Name, x.Words, x.Owner, x.Progress.Disk, x.Progress.Waits, x.Progress.Why = pick(), pick(), pick(), pick(), pick(), pick()
				x.Progress.Done, x.Progress.Total, x.Progress.Rate = rng.Int64N(1<<62), rng.Int64N(1<<62)-1<<60, rng.Int64N(1<<62)-1<<60
				x.Progress.ETA, x.Progress.Spark = time.Duration(rng.Int64N(1<<62)), []int64{-1, 0, 1 << 62}
				p := &st.Points[rng.IntN(len(st.Points))]
				p.Name, p.Why, p.Damaged, p.Tags, p.At = pick(), pick(), pick(), []string{pick()}, start.Add(time.Duration(rng.IntN(1<<26)-1<<25)*time.Second)
				p.Data, p.Stored = rng.Int64N(1<<62)-1<<60, -1
				st.Schedules[0].Name, st.Schedules[0].LastBad, st.Schedules[0].Tag = pick(), pick(), pick()
				st.Repos[0].Trouble, st.Repos[0].Ref.URL = pick(), pick()
			})
			m := &s.images[rng.IntN(len(s.images))]
			m.Name, m.Path, m.Format, m.Trouble, m.Backing, m.Snapshots = pick(), pick(), pick(), pick(), []string{pick(), pick()}, []string{pick()}
			s.pools[rng.IntN(len(s.pools))].Trouble = pick()
			s.jobs[0].Name, s.jobs[0].Disk, s.jobs[0].Total = pick(), pick(), rng.Uint64()
			s.left = []backend.Leftover{{Host: c.app.Fleet.Hosts()[0].Host.Name(), Kind: "scratch", What: pick(), Name: pick()}}[:rng.IntN(2)]
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
				t.Fatalf("%U reached the screen after %q\n%s", r, typed[max(0, len(typed)-30):], f)
			}
		}
	}
}

func TestAPassphraseIsNotShown(t *testing.T) {
	c, _, _ := backupsConsole(t, 80, 24, func(b *fakeBackups, _ *fakeStore, o *model.Options, _ *Look) {
		b.state.Repos[0].Encrypted = true
		o.HandOver = func([]byte) (string, func() error, error) { return "/run/x", func() error { return nil }, nil }
	})
	c.keys("b", "shift+tab", "enter")
	for _, r := range "hunter2" {
		c.keys(string(r))
	}
	c.want("Passphrase of /backup/main", "*******")
	if strings.Contains(c.frame(), "hunter") {
		t.Fatal("the passphrase is on the screen")
	}
}

func TestBackupMouse(t *testing.T) {
	c, _, _ := backupsConsole(t, 120, 40, nil)
	click := func(x, y int) {
		c.send(tea.MouseMsg{X: x, Y: y, Button: tea.MouseButtonLeft, Action: tea.MouseActionPress})
	}
	at := func(name string) int {
		for i, l := range strings.Split(ansi.Strip(c.frame()), "\n") {
			if strings.Contains(l, name) {
				return i
			}
		}
		t.Fatalf("%s is not on the screen:\n%s", name, ansi.Strip(c.frame()))
		return 0
	}
	c.keys("5")
	click(10, at("golden.qcow2"))
	if r := c.app.Backups.SelectedRow(); r == nil || r.Name() != "golden.qcow2" {
		t.Fatalf("a click selected %+v", r)
	}
	click(12, linesAbove)
	if c.app.Screen != model.ScreenCatalogue {
		t.Fatalf("a click on a tab leads to %s", c.app.Screen)
	}
	name := c.app.Backups.Catalogue.VM(5).Name
	click(10, at(name))
	if v := c.app.Backups.Catalogue.Selected(); v.Name != name {
		t.Fatalf("a click on %s selected %s", name, v.Name)
	}
	click(10, at(name))
	if c.app.Screen != model.ScreenPoints {
		t.Fatal("a click on the selected VM does not open its points")
	}
	c.keys("6")
	click(10, at("forgotten-2019"))
	if i := c.app.Images.Selected(); i == nil || i.Name != "forgotten-2019.raw" {
		t.Fatalf("a click selected %+v", i)
	}
}

func BenchmarkCatalogueScroll(b *testing.B) {
	c, _, _ := backupsConsole(b, 200, 50, nil)
	c.keys("5", "tab")
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%40 < 20 {
			c.root.Update(key("j"))
		} else {
			c.root.Update(key("k"))
		}
		c.root.View()
	}
}

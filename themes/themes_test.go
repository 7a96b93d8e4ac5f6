package themes

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
)

func load(t *testing.T, name string) *Theme {
	t.Helper()
	theme, err := Source{}.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return theme
}

func TestEveryEmbeddedThemeIsListed(t *testing.T) {
	files, err := embedded.ReadDir("data")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, n := range (Source{}).Names() {
		listed[n] = true
		if d := load(t, n).Description; d == "" {
			t.Errorf("%s has no description", n)
		}
	}
	for _, f := range files {
		if n := strings.TrimSuffix(f.Name(), ".yaml"); !listed[n] {
			t.Errorf("%s is not listed by Names", n)
		}
	}
	if len(files) != len(listed) {
		t.Errorf("%d files, %d names", len(files), len(listed))
	}
}

func TestEveryThemeDefinesEveryRole(t *testing.T) {
	for _, n := range (Source{}).Names() {
		data, err := embedded.ReadFile("data/" + n + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		for _, role := range Roles() {
			if !regexp.MustCompile(`(?m)^  ` + role + `: `).Match(data) {
				t.Errorf("%s does not define %s", n, role)
			}
		}
	}
}

// minimum is the contrast that WCAG 2.1 asks of text (1.4.3, and 1.4.6 for
// high-contrast), and of lines and bars (1.4.11, which leaves out what only
// decorates, as frames do; a frame should still be visible).
func minimum(theme string, r Role) float64 {
	switch r {
	case RoleBorder, RoleFrame, RoleBarEmpty:
		return 1.8
	case RoleFocusBorder, RoleBarFull, RoleSpark:
		return 3
	}
	if theme == "high-contrast" {
		return 7
	}
	return 4.5
}

func TestContrast(t *testing.T) {
	checked := 0
	for _, n := range (Source{}).Names() {
		theme := load(t, n)
		for r := range RoleCount {
			look := theme.Role(r).On(theme.Base())
			if look.Fg&kindMask != kindRGB || look.Bg&kindMask != kindRGB {
				continue // the terminal's user chose these
			}
			checked++
			if got := contrast(look.Fg, look.Bg); got < minimum(n, r) {
				t.Errorf("%s: %s: %s on %s has a contrast of %.2f, want %.1f", n, r, look.Fg, look.Bg, got, minimum(n, r))
			}
		}
	}
	if checked < 150 {
		t.Errorf("only %d looks could be checked", checked)
	}
}

// What a theme tells apart by colour must stay apart with fewer colours.
func TestDegradedStaysLegible(t *testing.T) {
	for _, n := range (Source{}).Names() {
		for _, p := range []Profile{ANSI16, ANSI256} {
			s := load(t, n).Styles(p)
			for r := range RoleCount {
				look := s.Get(r).On(s.Base)
				if look.Bg != 0 && look.Bg != DefaultColor && look.Bg == look.Fg {
					t.Errorf("%s with %s colours: %s is %s on itself", n, p, r, look.Fg)
				}
			}
			if s.Get(RoleOK) == s.Get(RoleBad) || s.Get(RoleOK) == s.Get(RoleWarn) || s.Get(RoleCursor) == s.Get(RoleText) {
				t.Errorf("%s with %s colours: roles that matter look the same", n, p)
			}
		}
	}
}

// sgrColour finds parameters that set a colour.
var sgrColour = regexp.MustCompile(`\x1b\[([0-9;]*;)?(3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]`)

func TestNoColorGivesNoColor(t *testing.T) {
	p, err := ParseProfile("auto", env(map[string]string{"NO_COLOR": "1", "TERM": "xterm-256color", "COLORTERM": "truecolor"}), true)
	if err != nil || p != NoColor {
		t.Fatalf("profile %v, %v", p, err)
	}
	for _, n := range (Source{}).Names() {
		s := load(t, n).Styles(p)
		if !s.Base.IsPlain() {
			t.Errorf("%s paints a base", n)
		}
		for r := range RoleCount {
			if out := s.Get(r).Render("x"); sgrColour.MatchString(out) {
				t.Errorf("%s: %s gives %q", n, r, out)
			}
		}
		if s.Get(RoleCursor).IsPlain() || s.Get(RoleButtonFocus).IsPlain() || s.Get(RoleBad).IsPlain() {
			t.Errorf("%s: what matters cannot be told without colours", n)
		}
	}
	if !sgrColour.MatchString("\x1b[1;31mx") || !sgrColour.MatchString("\x1b[48;5;3mx") || sgrColour.MatchString("\x1b[1;4;7mx") {
		t.Error("the test itself is wrong")
	}
}

func TestSixteenUsesOnlySixteen(t *testing.T) {
	theme := load(t, Default)
	if !theme.Base().IsPlain() {
		t.Error("paints a base")
	}
	for r := range RoleCount {
		for _, c := range []Color{theme.Role(r).Fg, theme.Role(r).Bg} {
			if k := c & kindMask; k != kindNone && k != kindDefault && k != kindBasic {
				t.Errorf("%s uses %s", r, c)
			}
		}
	}
}

func TestStylesDegradeToProfile(t *testing.T) {
	for p, allowed := range map[Profile]Color{ANSI16: kindBasic, ANSI256: kindIndexed, TrueColor: kindRGB} {
		for _, n := range (Source{}).Names() {
			s := load(t, n).Styles(p)
			for r := range RoleCount {
				for _, c := range []Color{s.Get(r).Fg, s.Get(r).Bg, s.Base.Bg} {
					if c&kindMask > allowed {
						t.Errorf("%s with %s colours: %s has %s", n, p, r, c)
					}
				}
			}
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ yaml, want string }{
		{"roles:\n  txet: red\n", `my.yaml:2: roles: unknown role "txet": use one of text, muted`},
		{"description: x\nroles:\n  text: redd\n", `my.yaml:3: roles: text: "redd" is no colour: use default, a number from 0 to 255, #rrggbb, or one of black, red`},
		{"roles:\n  text: \"#12345\"\n", `my.yaml:2: roles: text: "#12345" is no colour`},
		{"roles:\n  text: 256\n", `my.yaml:2: roles: text: "256" is no colour`},
		{"roles:\n  text: red blue\n", `my.yaml:2: roles: text: "red blue": more than one colour`},
		{"roles:\n  text: red on\n", `my.yaml:2: roles: text: "red on": a colour must follow`},
		{"roles:\n  text:\n", `my.yaml:2: roles: text: empty`},
		{"roles:\n  text: {fg: red}\n", `my.yaml:2: roles: text: "(nested)" is no colour`},
		{"rolls:\n  text: red\n", `my.yaml:1: unknown key "rolls": use one of description, dark, base, palette, roles`},
		{"dark: maybe\n", `my.yaml:1: dark: "maybe": use true or false`},
		{"palette:\n  sky: bleu\n", `my.yaml:2: palette: sky: "bleu" is no colour`},
		{"base: red\npalette: 7\n", `my.yaml:2: palette must be a list of "key: value" lines`},
		{"- a\n- b\n", `my.yaml:1: the theme must be a list`},
		{"roles: [\n", `my.yaml: not valid YAML`},
	} {
		_, err := Parse("my", "my.yaml", []byte(c.yaml))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\n got %v\nwant %s…", c.yaml, err, c.want)
		}
	}
}

func TestParse(t *testing.T) {
	theme, err := Parse("my", "my.yaml", []byte("roles:\n  title: bold Sky on 17\n  bad: underline reverse\npalette:\n  sky: '#56b4e9'\nbase: default\ndark: false\ndescription: mine\n"))
	if err != nil {
		t.Fatal(err)
	}
	if theme.Dark || theme.Description != "mine" || theme.Name != "my" {
		t.Errorf("%+v", theme)
	}
	if got, want := theme.Role(RoleTitle).Render("x"), "\x1b[1;38;2;86;180;233;48;5;17mx\x1b[m"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := theme.Role(RoleBad).Render("x"), "\x1b[4;7mx\x1b[m"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if theme.Role(RoleMuted) != theme.Role(RoleText) {
		t.Error("a role that is not mentioned does not look like text")
	}
	if empty, err := Parse("e", "e.yaml", nil); err != nil || empty == nil {
		t.Errorf("an empty theme: %v", err)
	}
}

func TestUserThemes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("mine.yaml", "roles:\n  text: red\n")
	write("dark.yaml", "description: my dark\n")
	write("broken.yaml", "roles:\n  nothing: red\n")
	write(".hidden.yaml", "")
	write("README", "")
	s := Source{UserDir: dir}
	if names := strings.Join(s.Names(), " "); !strings.HasPrefix(names, "sixteen dark ") || !strings.HasSuffix(names, "broken mine") || strings.Count(names, "dark") != 1 {
		t.Errorf("names: %s", names)
	}
	if theme, err := s.Load("dark"); err != nil || theme.Description != "my dark" {
		t.Errorf("the user's theme does not win: %v", err)
	}
	if _, err := s.Load("broken"); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "broken.yaml")+":2:") {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"none", "../dark", "/etc/passwd", ".hidden"} {
		if _, err := s.Load(name); err == nil || !strings.Contains(err.Error(), "sixteen, dark") || !strings.Contains(err.Error(), dir) {
			t.Errorf("Load(%q): %v", name, err)
		}
	}
	if theme, err := (Source{UserDir: dir + "/missing"}).Load(""); err != nil || theme.Name != Default {
		t.Errorf("default: %v", err)
	}
}

func env(vars map[string]string) func(string) string {
	return func(k string) string { return vars[k] }
}

func TestParseProfile(t *testing.T) {
	for _, c := range []struct {
		flag string
		vars map[string]string
		tty  bool
		want Profile
	}{
		{"", map[string]string{"TERM": "xterm"}, true, ANSI16},
		{"auto", map[string]string{"TERM": "xterm-256color"}, true, ANSI256},
		{"auto", map[string]string{"TERM": "xterm-256color", "COLORTERM": "truecolor"}, true, TrueColor},
		{"auto", map[string]string{"TERM": "xterm-kitty"}, true, TrueColor}, // sshd dropped COLORTERM
		{"auto", map[string]string{"TERM": "alacritty"}, true, TrueColor},
		{"auto", map[string]string{"TERM": "xterm-direct"}, true, TrueColor},
		{"auto", map[string]string{"TERM": "linux"}, true, ANSI16},
		{"auto", map[string]string{"TERM": "vt220"}, true, NoColor},
		{"auto", map[string]string{"TERM": "dumb"}, true, NoColor},
		{"auto", map[string]string{}, true, NoColor},
		{"auto", map[string]string{"TERM": "xterm-256color"}, false, NoColor},
		{"auto", map[string]string{"TERM": "xterm-256color", "CLICOLOR_FORCE": "1"}, false, ANSI256},
		{"auto", map[string]string{"TERM": "xterm-256color", "NO_COLOR": ""}, true, ANSI256},
		{"auto", map[string]string{"TERM": "screen-256color", "STY": "1.pts", "COLORTERM": "truecolor"}, true, ANSI256},
		{"true", map[string]string{"TERM": "dumb", "NO_COLOR": "1"}, false, TrueColor}, // asked for by name
		{"256", nil, true, ANSI256}, {"16", nil, true, ANSI16}, {"never", nil, true, NoColor},
	} {
		got, err := ParseProfile(c.flag, env(c.vars), c.tty)
		if err != nil || got != c.want {
			t.Errorf("%q %v tty=%v: got %v (%v), want %v", c.flag, c.vars, c.tty, got, err, c.want)
		}
	}
	if _, err := ParseProfile("sometimes", env(nil), true); err == nil || !strings.Contains(err.Error(), "auto, never, 16, 256 or true") {
		t.Errorf("got %v", err)
	}
}

func TestStyleOn(t *testing.T) {
	green, row := Style{Fg: Basic(2)}, Style{Fg: Basic(15), Bg: Basic(4), Attr: Bold}
	if got := green.On(row); got != (Style{Fg: Basic(2), Bg: Basic(4), Attr: Bold}) {
		t.Errorf("green on row: %+v", got)
	}
	if got := (Style{Fg: DefaultColor}).On(row); got != row {
		t.Errorf("default on row: %+v", got)
	}
	if got := (Style{Fg: Basic(2), Bg: Basic(1)}).On(row); got.Bg != Basic(1) {
		t.Errorf("a background of one's own is lost: %+v", got)
	}
	reversed := Style{Attr: Reverse}
	if got := (Style{Fg: Basic(2), Attr: Faint | Bold}).On(reversed); got != (Style{Attr: Reverse | Bold}) {
		t.Errorf("on a reversed row: %+v", got)
	}
}

func TestRender(t *testing.T) {
	if got := (Style{Fg: Basic(1)}).Render(""); got != "" {
		t.Errorf("empty text became %q", got)
	}
	if got := (Style{}).Render("x"); got != "x" {
		t.Errorf("plain became %q", got)
	}
	s := Style{Fg: Basic(9), Bg: Basic(12), Attr: Bold | Faint | Italic | Underline | Reverse}
	if got, want := s.Render("x"), "\x1b[1;2;3;4;7;91;104mx\x1b[m"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var b strings.Builder
	s.WriteTo(&b, "x")
	if b.String() != s.Render("x") || s.Open()+"x"+s.Close() != s.Render("x") {
		t.Error("WriteTo, Open and Close do not do what Render does")
	}
}

func TestColorsReadBack(t *testing.T) {
	for _, s := range []string{"default", "black", "bright-white", "17", "255", "#0a0b0c"} {
		c, err := ParseColor(s)
		if err != nil || c.String() != s {
			t.Errorf("%s became %s (%v)", s, c, err)
		}
	}
	if c, _ := ParseColor("#abc"); c.String() != "#aabbcc" {
		t.Errorf("#abc became %s", c)
	}
	if c, _ := ParseColor("9"); c != Basic(9) {
		t.Error("9 is not bright-red")
	}
}

func TestGlyphs(t *testing.T) {
	for _, g := range []Glyphs{Unicode, ASCII} {
		all := append([]string{g.Running, g.Paused, g.Off, g.Crashed, g.Starting, g.Stuck, g.Unknown, g.Marked, g.Cursor, g.Up, g.Down, g.SortAsc, g.SortDesc,
			g.Ellipsis, g.Bullet, g.Arrow, g.Check, g.Cross, g.Warn, g.Lock, g.More, g.HLine, g.VLine, g.TopLeft, g.TopRight, g.BottomLeft, g.BottomRight,
			g.TeeLeft, g.TeeRight, g.TeeTop, g.TeeBottom, g.Plus, g.TreeMid, g.TreeEnd, g.BarFull, g.BarEmpty, g.ScrollThumb, g.ScrollBack}, g.Spark...)
		all = append(append(all, g.Spinner...), g.BarParts...)
		for _, s := range all {
			if ansi.StringWidth(s) != 1 {
				t.Errorf("%q is %d cells wide", s, ansi.StringWidth(s))
			}
			if g.ASCII && (len(s) != 1 || s[0] > 0x7e) {
				t.Errorf("%q is not ASCII", s)
			}
		}
		states := map[string]bool{}
		for _, s := range []string{g.Running, g.Paused, g.Off, g.Crashed, g.Starting, g.Stuck} {
			states[s] = true
		}
		if len(states) != 6 {
			t.Error("two states have the same glyph")
		}
	}
	for _, c := range []struct {
		vars  map[string]string
		ascii bool
	}{
		{map[string]string{"TERM": "xterm", "LANG": "de_DE.UTF-8"}, false},
		{map[string]string{"TERM": "xterm"}, false},
		{map[string]string{"TERM": "xterm", "LANG": "C"}, true},
		{map[string]string{"TERM": "xterm", "LANG": "C.UTF-8"}, false},
		{map[string]string{"TERM": "xterm", "LANG": "de_DE.UTF-8", "LC_ALL": "POSIX"}, true},
		{map[string]string{"TERM": "xterm", "LC_CTYPE": "en_US.utf8"}, false},
		{map[string]string{"TERM": "linux", "LANG": "de_DE.UTF-8"}, true},
		{map[string]string{"TERM": "linux", "BERTH_GLYPHS": "unicode"}, false},
		{map[string]string{"TERM": "xterm", "LANG": "de_DE.UTF-8", "BERTH_GLYPHS": "ascii"}, true},
	} {
		if got := GlyphsFor(env(c.vars)).ASCII; got != c.ascii {
			t.Errorf("%v: ASCII is %v", c.vars, got)
		}
	}
}

func TestWith(t *testing.T) {
	s := load(t, "dark").Styles(TrueColor)
	red, err := ParseStyle("bold red", TrueColor)
	if err != nil {
		t.Fatal(err)
	}
	framed := s.With(RoleFrame, red)
	if framed.Get(RoleFrame) != red || s.Get(RoleFrame) == red || framed.Get(RoleText) != s.Get(RoleText) {
		t.Error("With changes the wrong thing")
	}
	if (*Styles)(nil).Get(RoleText) != (Style{}) || s.Get(RoleCount) != (Style{}) {
		t.Error("an unknown role is not plain")
	}
}

func BenchmarkRender(b *testing.B) {
	s := Style{Fg: kindRGB | 0x8fce7a, Attr: Bold}
	b.ReportAllocs()
	for b.Loop() {
		s.Render("running")
	}
}

func BenchmarkWriteTo(b *testing.B) {
	s := Style{Fg: Basic(2)}
	var out strings.Builder
	out.Grow(1 << 20)
	for b.Loop() {
		if out.Len() > 1<<19 {
			out.Reset()
			out.Grow(1 << 20)
		}
		s.WriteTo(&out, "running")
	}
}

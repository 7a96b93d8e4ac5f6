package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func env(m map[string]string) func(string) string { return func(k string) string { return m[k] } }

// place writes files below a new directory and returns paths into it.
func place(t *testing.T, files map[string]string) Paths {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Paths{ConfigFile: filepath.Join(dir, "user.yaml"), SystemFile: filepath.Join(dir, "etc.yaml"),
		StateDir: dir, StateFile: filepath.Join(dir, "ui.yaml")}
}

var known = Known{
	Columns: []string{"name", "state", "cpu", "mem"},
	Actions: func() []string { return []string{"start", "destroy"} },
	Themes:  func() []string { return []string{"dark", "light"} },
	Frame: func(s string) error {
		if !strings.Contains(s, "red") {
			return errors.New("unknown colour")
		}
		return nil
	},
	URI: func(s string) error {
		if !strings.HasPrefix(s, "qemu") {
			return errors.New("unsupported URI")
		}
		return nil
	},
}

func TestDefaultsWithoutFiles(t *testing.T) {
	c, err := Load(Options{Paths: place(t, nil), Env: env(nil), Known: known})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c.Settings, Defaults()) {
		t.Errorf("got %+v, want the defaults", c.Settings)
	}
	if o := c.Origin("refresh"); o != "default" {
		t.Errorf("origin %q", o)
	}
}

func TestPrecedence(t *testing.T) {
	p := place(t, map[string]string{
		"etc.yaml":  "theme: dark\nrefresh: 5s\nmouse: false\nkeys: {start: a, destroy: b}\n",
		"user.yaml": "refresh: 3s\nsort: mem\ncolor: never\nkeys: {start: z}\n",
		"ui.yaml":   "sort: cpu:asc\nmouse: true\nfilter: state:running\n",
		"x.yaml":    "sort: name\n",
	})
	load := func(file string) *Config {
		t.Helper()
		c, err := Load(Options{Paths: p, File: file, Env: env(map[string]string{"NO_COLOR": "1", "EDITOR": "ed"}), Known: known})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := load("")
	if c.Theme != "dark" || c.Refresh != 3*time.Second || c.Sort != "cpu:asc" || !c.Mouse || c.Filter != "state:running" || c.Editor != "ed" {
		t.Errorf("settings %+v", c.Settings)
	}
	if want := map[string]string{"start": "z", "destroy": "b"}; !reflect.DeepEqual(c.Keys, want) {
		t.Errorf("keys %v, want %v", c.Keys, want)
	}
	for name, want := range map[string]string{"theme": p.SystemFile + ":1", "refresh": p.ConfigFile + ":1", "sort": p.StateFile + ":1",
		"mouse": p.StateFile + ":2", "editor": "EDITOR", "color": p.ConfigFile + ":3", "ascii": "default"} {
		if got := c.Origin(name); got != want {
			t.Errorf("origin of %s: %q, want %q", name, got, want)
		}
	}
	if err := c.Set("refresh", "250ms", "--refresh"); err != nil || c.Refresh != 250*time.Millisecond || c.Origin("refresh") != "--refresh" {
		t.Errorf("flag: %v, %v, %q", err, c.Refresh, c.Origin("refresh"))
	}

	c = load(filepath.Join(p.StateDir, "x.yaml"))
	if c.Sort != "name" || c.Refresh != 5*time.Second || c.Color != "never" || c.Origin("color") != "NO_COLOR" {
		t.Errorf("--config must stand over :save and in for the user's file: %+v, color from %s", c.Settings, c.Origin("color"))
	}
}

func TestWrongValuesNameFileLineAndWhatIsAllowed(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		line       string
		want       []string
	}{
		{"key", "theme: dark\nrefesh: 1s\n", ":2: ", []string{`no setting "refesh"`, `did you mean "refresh"?`, "connections"}},
		{"word", "color: blue\n", ":1: ", []string{"color: ", `"blue"`, "auto, never, 16, 256 or true"}},
		{"bool", "\n\nmouse: maybe\n", ":3: ", []string{"mouse: ", "true or false"}},
		{"short", "refresh: 100ms\n", ":1: ", []string{"200ms or more"}},
		{"no unit", "refresh: 5\n", ":1: ", []string{"write 1s or 500ms"}},
		{"theme", "theme: drak\n", ":1: ", []string{`did you mean "dark"?`, "dark light"}},
		{"column", "columns:\n  - name\n  - cpuu\n", ":3: ", []string{`"cpuu"`, `did you mean "cpu"?`}},
		{"column twice", "columns: [name, name]\n", ":1: ", []string{"twice"}},
		{"sort", "sort: cpu:up\n", ":1: ", []string{"asc or desc"}},
		{"confirm off", "confirm: never\n", ":1: ", []string{"interrupt or loss"}},
		{"uri", "connections:\n  - qemu:///system\n  - xen:///\n", ":3: ", []string{"unsupported URI"}},
		{"connection key", "connections:\n  - uri: qemu:///system\n    nmae: a\n", ":3: ", []string{`did you mean "name"?`, "uri name theme frame readonly"}},
		{"frame", "connections:\n  - uri: qemu:///system\n    frame: white on rde\n", ":3: ", []string{`frame "white on rde": unknown colour`}},
		{"no uri", "connections:\n  - name: a\n", ":2: ", []string{"needs a uri"}},
		{"same name", "connections:\n- {uri: 'qemu:///a', name: a}\n- {uri: 'qemu:///b', name: a}\n", ":3: ", []string{"two connections"}},
		{"action", "keys:\n  strat: s\n", ":2: ", []string{`did you mean "start"?`}},
		{"not yaml", "theme: [dark\n", ":1: ", []string{"not valid YAML"}},
		{"twice", "theme: dark\ntheme: light\n", ":2: ", []string{"already defined"}},
		{"list", "- a\n", ":1: ", []string{"key: value"}},
		{"anchor", "theme: &a dark\n", ":1: ", []string{"not supported"}},
		{"escape", "editor: \"vi\\e[31m\"\n", ":1: ", []string{"control characters"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := place(t, map[string]string{"user.yaml": tt.text})
			_, err := Load(Options{Paths: p, Env: env(nil), Known: known})
			if err == nil {
				t.Fatal("no error")
			}
			var fe *FileError
			if !errors.As(err, &fe) || fe.File != p.ConfigFile {
				t.Fatalf("not about the file: %v", err)
			}
			for _, want := range append(tt.want, p.ConfigFile+tt.line) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if strings.ContainsRune(err.Error(), '\x1b') {
				t.Errorf("an escape sequence in %q", err)
			}
		})
	}
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	p := place(t, map[string]string{"etc.yaml": "colour: never\n", "user.yaml": "mouse: 3\nrefresh: x\n"})
	_, err := Load(Options{Paths: p, Env: env(nil), Known: known})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("want three lines, got: %v", err)
	}
}

func TestConnections(t *testing.T) {
	text := "connections:\n  - qemu:///system\n  - {uri: 'qemu+ssh://hv2/system', name: prod, theme: light, frame: white on red, readonly: yes}\n"
	c, err := Load(Options{Paths: place(t, map[string]string{"user.yaml": text}), Env: env(nil), Known: known})
	if err != nil {
		t.Fatal(err)
	}
	want := []Connection{{URI: "qemu:///system"}, {URI: "qemu+ssh://hv2/system", Name: "prod", Theme: "light", Frame: "white on red", ReadOnly: true}}
	if !reflect.DeepEqual(c.Connections, want) {
		t.Errorf("got %+v", c.Connections)
	}
}

func TestNamedFileMustExist(t *testing.T) {
	_, err := Load(Options{Paths: place(t, nil), File: "/nonexistent/c.yaml", Env: env(nil)})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/c.yaml: cannot be read: no such file") {
		t.Errorf("got %v", err)
	}
}

func TestEmptyFilesAreFine(t *testing.T) {
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n"} {
		if _, err := Load(Options{Paths: place(t, map[string]string{"user.yaml": text}), Env: env(nil)}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestStateComesBack(t *testing.T) {
	p := place(t, nil)
	p.StateFile = filepath.Join(p.StateDir, "new", "ui.yaml")
	off := false
	s := State{Columns: []string{"name", "cpu"}, Sort: "cpu:desc", Theme: "dark", Filter: `!state:running "a b" # x: [`, Mouse: &off, Refresh: "2.5s"}
	if err := s.Save(p.StateFile); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Options{Paths: p, Env: env(nil), Known: known})
	if err != nil || len(c.Warnings) != 0 {
		t.Fatal(err, c.Warnings)
	}
	if !reflect.DeepEqual(c.Columns, s.Columns) || c.Sort != s.Sort || c.Theme != s.Theme || c.Filter != s.Filter || c.Mouse || c.Refresh != 2500*time.Millisecond {
		t.Errorf("got %+v", c.Settings)
	}
	entries, err := os.ReadDir(filepath.Dir(p.StateFile))
	if err != nil || len(entries) != 1 {
		t.Errorf("temporary files left behind: %v %v", entries, err)
	}
}

// A refresh interval that was saved stands above the config files and below
// --config and the flag.
func TestSavedRefreshHasItsPlace(t *testing.T) {
	p := place(t, map[string]string{"user.yaml": "refresh: 3s\n", "ui.yaml": "refresh: 5s\n", "x.yaml": "refresh: 7s\n"})
	for _, tt := range []struct {
		file, flag string
		want       time.Duration
		origin     string
	}{
		{"", "", 5 * time.Second, p.StateFile + ":1"},
		{filepath.Join(p.StateDir, "x.yaml"), "", 7 * time.Second, filepath.Join(p.StateDir, "x.yaml") + ":1"},
		{"", "9s", 9 * time.Second, "--refresh"},
	} {
		c, err := Load(Options{Paths: p, File: tt.file, Env: env(nil), Known: known})
		if err != nil {
			t.Fatal(err)
		}
		if tt.flag != "" {
			if err := c.Set("refresh", tt.flag, "--refresh"); err != nil {
				t.Fatal(err)
			}
		}
		if c.Refresh != tt.want || c.Origin("refresh") != tt.origin {
			t.Errorf("refresh %s from %s, want %s from %s", c.Refresh, c.Origin("refresh"), tt.want, tt.origin)
		}
	}
}

func TestACorruptStateIsReportedAndIgnored(t *testing.T) {
	for name, text := range map[string]string{"not yaml": "columns: [name\n", "binary": "\x00\x01\x02", "list": "- a\n",
		"unknown column": "columns: [name, gone]\n", "refresh too short": "refresh: 1ms\n", "unknown key": "keys: {}\n"} {
		t.Run(name, func(t *testing.T) {
			p := place(t, map[string]string{"ui.yaml": text})
			c, err := Load(Options{Paths: p, Env: env(nil), Known: known})
			if err != nil {
				t.Fatalf("fatal: %v", err)
			}
			if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Error(), p.StateFile) {
				t.Errorf("warnings %v", c.Warnings)
			}
			if !reflect.DeepEqual(c.Settings, Defaults()) {
				t.Errorf("settings %+v", c.Settings)
			}
		})
	}
}

func TestStateIsSavedWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ui.yaml")
	if err := (State{Sort: "cpu"}).Save(path); err != nil {
		t.Fatal(err)
	}
	// A directory where the file should go makes the rename fail.
	blocked := filepath.Join(dir, "blocked")
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := (State{Sort: "mem"}).Save(blocked); err == nil {
		t.Error("no error for a path that cannot be replaced")
	}
	if err := (State{}).Save(""); err == nil || !strings.Contains(err.Error(), "HOME") {
		t.Errorf("no place to save: %v", err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestPaths(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		uid  int
		want Paths
	}{
		{"user", map[string]string{"HOME": "/home/a"}, 1000, Paths{ConfigFile: "/home/a/.config/berth/config.yaml", ThemesDir: "/home/a/.config/berth/themes", StateDir: "/home/a/.local/state/berth"}},
		{"xdg", map[string]string{"HOME": "/home/a", "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s"}, 1000, Paths{ConfigFile: "/c/berth/config.yaml", ThemesDir: "/c/berth/themes", StateDir: "/s/berth"}},
		{"relative xdg is ignored", map[string]string{"HOME": "/home/a", "XDG_CONFIG_HOME": "c"}, 1000, Paths{ConfigFile: "/home/a/.config/berth/config.yaml", ThemesDir: "/home/a/.config/berth/themes", StateDir: "/home/a/.local/state/berth"}},
		{"root", map[string]string{"HOME": "/root"}, 0, Paths{ConfigFile: "/root/.config/berth/config.yaml", ThemesDir: "/root/.config/berth/themes", StateDir: "/var/lib/berth"}},
		{"root with xdg", map[string]string{"HOME": "/root", "XDG_STATE_HOME": "/s"}, 0, Paths{ConfigFile: "/root/.config/berth/config.yaml", ThemesDir: "/root/.config/berth/themes", StateDir: "/s/berth"}},
		{"no home", nil, 1000, Paths{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.SystemFile = "/etc/berth/config.yaml"
			if tt.want.StateDir != "" {
				tt.want.StateFile, tt.want.AuditFile = tt.want.StateDir+"/ui.yaml", tt.want.StateDir+"/audit.jsonl"
			}
			if got := NewPaths(env(tt.env), tt.uid); got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	for got, want := range map[string]string{"refesh": "refresh", "themes": "theme", "zzz": "", "conn": "connections", "co": "", "fort": "sort", "foo": "", "REFRSEH": "refresh", "": "", "colour": "color", "read-only": "readonly"} {
		if n := Nearest(got, SettingNames()); n != want {
			t.Errorf("Nearest(%q) = %q, want %q", got, n, want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("theme: dark\ncolumns: [name]\nconnections:\n - {uri: 'qemu:///system'}\nkeys: {start: s}\n")
	f.Add("a: *b\n? [x]: y\n--- |\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := &Config{Settings: Defaults(), known: known, origins: map[string]string{}}
		root, err := parseYAML("f", []byte(text))
		if err == nil {
			err = c.apply("f", root)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "f:") {
			t.Errorf("%q: error without its file: %v", text, err)
		}
		if c.Refresh < MinRefresh {
			t.Errorf("%q: refresh %v", text, c.Refresh)
		}
	})
}

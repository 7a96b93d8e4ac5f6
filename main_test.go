package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/backend/backendtest/lab"
	"berth/backend/backendtest/script"
	"berth/model"
	"berth/model/config"
	"berth/themes"
	"berth/ui/cli"
)

// The program is tested as people use it: testdata/script holds scripts that
// run the real binary, in a terminal or as a command, over the demo fleet;
// those in testdata/lab do so over real libvirt hosts and guests. Package
// backend/backendtest/script tells what a script can say.

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

func TestScripts(t *testing.T) { script.Run(t, filepath.Join("testdata", "script"), build(t)) }

func TestLabScripts(t *testing.T) {
	lab.Need(t)
	script.Run(t, filepath.Join("testdata", "lab"), build(t))
}

// build compiles the program as it is shipped.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "berth")
	cmd := exec.Command("go", "build", "-trimpath", "-o", bin, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// TestHouse keeps the layout and the direction of the imports: main → ui →
// model → backend, as the design has it.
func TestHouse(t *testing.T) {
	allowed := []string{"main.go", "main_test.go", "ui", "model", "backend", "themes", "screenshots", "testdata", "go.mod", "go.sum", "README.md", "LICENSE", "Makefile"}
	files, err := exec.Command("git", "ls-files").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range strings.Fields(string(files)) {
		if top, _, _ := strings.Cut(f, "/"); !strings.HasPrefix(top, ".") && !slices.Contains(allowed, top) {
			t.Errorf("%s: not in the layout", f)
		}
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("go list: %s", exit.Stderr)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		for _, fault := range p.faults() {
			t.Errorf("%s imports %s", p.ImportPath, fault)
		}
	}
}

// pkg is a package as go list tells it, tests left out.
type pkg struct {
	ImportPath    string
	Imports, Deps []string
}

// forbidden says what packages of a layer must not import, and even of what
// those import there must be nothing.
var forbidden = []struct{ layer, imports, deps string }{
	{`^berth/backend`, `^berth/(ui|model|themes)`, `^github\.com/charmbracelet/(bubbletea|bubbles|lipgloss|fang)`},
	{`^berth/model`, `^github\.com/charmbracelet/lipgloss|^berth/themes`, `^berth/ui`},
	{``, ``, `^charm\.land/`},
}

func (p pkg) faults() (bad []string) {
	for _, f := range forbidden {
		if !regexp.MustCompile(f.layer).MatchString(p.ImportPath) {
			continue
		}
		matching := func(never string, deps []string) (found []string) {
			for _, d := range deps {
				if never != "" && regexp.MustCompile(never).MatchString(d) {
					found = append(found, d)
				}
			}
			return found
		}
		bad = append(append(bad, matching(f.imports, p.Imports)...), matching(f.deps, p.Deps)...)
	}
	// Below backend, packages meet in backend alone, except with their own parts.
	of, below := strings.CutPrefix(p.ImportPath, "berth/backend/")
	part, _, _ := strings.Cut(of, "/")
	for _, d := range p.Imports {
		other, sideways := strings.CutPrefix(d, "berth/backend/")
		other, _, _ = strings.Cut(other, "/")
		if below && sideways && other != part && !slices.Contains(joins[part], other) {
			bad = append(bad, d)
		}
	}
	return bad
}

// joins are the packages below backend that are there to join others.
var joins = map[string][]string{"engine": {"queue", "store", "audit", "image"}}

func TestFaultsOfImportsAreFound(t *testing.T) {
	for _, tt := range []struct {
		path    string
		imports string
		want    int
	}{
		{"berth/backend/engine", "berth/backend", 0},
		{"berth/backend/engine", "berth/backend/store", 0},
		{"berth/backend/engine", "berth/backend/libvirt", 1},
		{"berth/backend/queue", "berth/backend/store", 1},
		{"berth/backend/queue/sim", "berth/backend/queue", 0},
		{"berth/backend/store", "berth/backend/engine", 1},
		{"berth/backend/store", "berth/model", 1},
		{"berth/model", "berth/backend", 0},
		{"berth/model", "github.com/charmbracelet/lipgloss", 1},
		{"berth/ui/cli", "berth/backend/queue", 0},
	} {
		if got := (pkg{ImportPath: tt.path, Imports: []string{tt.imports}}).faults(); len(got) != tt.want {
			t.Errorf("%s imports %s: %d faults, want %d", tt.path, tt.imports, len(got), tt.want)
		}
	}
}

// Everything that :save is given comes back at the next start.
func TestSaveKeepsEverySetting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ui.yaml")
	given := model.Settings{
		Theme: "light", Columns: []string{"name", "cpu"}, SortBy: "cpu", Desc: true,
		Filter: "state:running", Mouse: false, Refresh: 2500 * time.Millisecond,
	}
	for i := range reflect.ValueOf(given).NumField() {
		if f := reflect.TypeOf(given).Field(i); f.Name != "Mouse" && reflect.ValueOf(given).Field(i).IsZero() {
			t.Fatalf("this test does not set %s", f.Name)
		}
	}
	if at, err := save(path, given); err != nil || at != path {
		t.Fatal(at, err)
	}
	c, err := config.Load(config.Options{Paths: config.Paths{StateFile: path}})
	if err != nil || len(c.Warnings) > 0 {
		t.Fatal(err, c.Warnings)
	}
	got := model.Settings{Theme: c.Theme, Columns: c.Columns, SortBy: "cpu", Desc: c.Sort == "cpu:desc",
		Filter: c.Filter, Mouse: c.Mouse, Refresh: c.Refresh}
	if !reflect.DeepEqual(got, given) {
		t.Errorf("kept %+v, want %+v", got, given)
	}
}

func TestABrokenThemeOfTheUserIsAProblem(t *testing.T) {
	dir := t.TempDir()
	if got := themeProblems(themes.Source{UserDir: dir}); len(got) > 0 {
		t.Errorf("without themes of one's own: %v", got)
	}
	file := filepath.Join(dir, "mine.yaml")
	if err := os.WriteFile(file, []byte("roles:\n  nosuchrole: red\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := themeProblems(themes.Source{UserDir: dir})
	if len(got) != 1 || !strings.Contains(got[0].Error(), file+":2") {
		t.Errorf("got %v, want one about %s:2", got, file)
	}
}

func TestLooksOfFramesAreChecked(t *testing.T) {
	for spec, good := range map[string]bool{"white on red": true, "bold #ff0000": true, "white on rde": false, "": false} {
		if err := checkFrame(spec); (err == nil) != good {
			t.Errorf("%q: %v", spec, err)
		}
	}
	frames := map[string]string{"prod": "white on red"}
	if got := modelOptions(cli.ConsoleOptions{Config: &config.Config{}, Demo: true, HostFrames: frames}, nil); !reflect.DeepEqual(got.HostFrames, frames) {
		t.Errorf("the console gets %v", got.HostFrames)
	}
}

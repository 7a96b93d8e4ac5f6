package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/backend/backendtest/lab"
	"berth/backend/backendtest/script"
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
		if below && strings.HasPrefix(d, "berth/backend/") && !strings.HasPrefix(d+"/", "berth/backend/"+part+"/") {
			bad = append(bad, d)
		}
	}
	return bad
}

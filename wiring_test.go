package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/model"
	"berth/model/config"
	"berth/themes"
	"berth/ui/cli"
)

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

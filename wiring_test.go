package main

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"berth/model"
	"berth/model/config"
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

package ui

import (
	"os"
	"strings"
	"testing"

	"berth/model"
	"berth/model/config"
	"berth/ui/cli"
)

const readme = "../README.md"

// TestReadmeIsUpToDate compares the generated parts of the README with what
// they are generated from; -update writes them anew.
func TestReadmeIsUpToDate(t *testing.T) {
	b, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for name, made := range map[string]string{
		"keys": model.KeysMarkdown(), "commands": model.CommandsMarkdown(), "filter": model.FilterMarkdown(),
		"queue settings": config.QueueMarkdown(), "backup settings": config.BackupMarkdown(), "unit": "```ini\n" + cli.EngineUnit("/usr/local/bin/berth", "", false) + "```\n",
	} {
		from, to := "<!-- "+name+": generated, make docs -->\n", "<!-- end "+name+" -->"
		head, rest, ok := strings.Cut(text, from)
		old, tail, ok2 := strings.Cut(rest, to)
		if !ok || !ok2 {
			t.Fatalf("%s has no part for the %s", readme, name)
		}
		if old != made && !*update {
			t.Errorf("the %s in %s are not those of the program: make docs", name, readme)
		}
		text = head + from + made + to + tail
	}
	if *update {
		if err := os.WriteFile(readme, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

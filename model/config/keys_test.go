package config

import (
	"errors"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
)

// What a terminal can send has a name that the config takes: the names are
// Bubble Tea's own.
func TestEveryKeyOfBubbleTeaCanBeGiven(t *testing.T) {
	for typ := tea.KeyUp; typ >= tea.KeyF20; typ-- {
		name := tea.KeyMsg{Type: typ}.String()
		if name == " " {
			name = "space"
		}
		if why := keyProblem(name); why != "" {
			t.Errorf("%s", why)
		}
		if alt := (tea.KeyMsg{Type: typ, Alt: true}).String(); typ != tea.KeySpace && keyProblem(alt) != "" {
			t.Errorf("%s", keyProblem(alt))
		}
	}
	for _, r := range "aZ9?/:-+é日{" {
		for _, alt := range []bool{false, true} {
			name := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}, Alt: alt}.String()
			if why := keyProblem(name); why != "" {
				t.Errorf("%s", why)
			}
		}
	}
	for _, name := range []string{"ctrl+d", "ctrl+@", "ctrl+space", "ctrl+h", "ctrl+j", "ctrl+]", "tab", "enter", "esc", "backspace", "shift+tab", "ctrl+shift+home"} {
		if why := keyProblem(name); why != "" {
			t.Errorf("%s", why)
		}
	}
}

func TestWhatIsNoKeyIsRefusedWithTheLineAndExamples(t *testing.T) {
	for key, want := range map[string]string{
		"zz+q": "", "zz": "", "f21": "did you mean f2", "ctrl+5": "", "ctrl+": "", "'alt+'": "", "shift+a": "", "super+x": "", "''": "", "' '": "", "' j'": "", "'j '": "",
		"runes": "", "alt+space": "", "ctrl+shift+d": "", "ctrl-d": "did you mean ctrl+d?", "C-x": "did you mean ctrl+x?", "^u": "did you mean ctrl+u?", "Ctrl+D": "did you mean ctrl+d?",
		"F5": "did you mean f5?", "Escape": "did you mean esc?", "pageup": "did you mean pgup?", "Return": "did you mean enter?", "entre": "did you mean enter?", "M-x": "did you mean alt+x?",
		"ctrl+c": "always quits", "ctrl+i": "write tab", "Ctrl+M": "write enter", "'ctrl+['": "write esc",
	} {
		p := place(t, map[string]string{"user.yaml": "theme: dark\nkeys:\n  start: " + key + "\n"})
		_, err := Load(Options{Paths: p, Env: env(nil), Known: known})
		var fe *FileError
		if !errors.As(err, &fe) || fe.Line != 3 || fe.File != p.ConfigFile {
			t.Errorf("%s: got %v", key, err)
			continue
		}
		if want == "" || strings.HasPrefix(want, "did") {
			for _, w := range []string{"is not a key", "space, enter, f5, pgup, ctrl+d, alt+x, shift+tab", want} {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%s: %q lacks %q", key, err, w)
				}
			}
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q lacks %q", key, err, want)
		}
	}
}

func TestOneKeyCannotMeanTwoActions(t *testing.T) {
	p := place(t, map[string]string{"user.yaml": "keys:\n  start: f5\n  destroy: f5\n"})
	_, err := Load(Options{Paths: p, Env: env(nil), Known: known})
	if err == nil || !strings.Contains(err.Error(), ":3: keys: the key f5 is given to start already") {
		t.Errorf("got %v", err)
	}
}

package themes

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

//go:embed data/*.yaml
var embedded embed.FS

// Source finds themes: the user's own over berth's. The zero Source has only
// berth's.
type Source struct {
	// UserDir holds the user's themes, NAME.yaml each; usually
	// $XDG_CONFIG_HOME/berth/themes. It need not exist.
	UserDir string
}

// Names lists every theme, berth's first in their own order, then the user's
// by name.
func (s Source) Names() []string {
	names := builtinNames()
	for _, f := range s.userFiles() {
		if n := strings.TrimSuffix(f, ".yaml"); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// builtinNames are the embedded themes, the default first and those that need
// no particular terminal before the others.
func builtinNames() []string {
	return []string{"sixteen", "dark", "light", "high-contrast", "colour-blind", "mono", "nord", "gruvbox", "solarized-light"}
}

func (s Source) userFiles() []string {
	if s.UserDir == "" {
		return nil
	}
	entries, err := os.ReadDir(s.UserDir)
	if err != nil {
		return nil // no directory, no themes of one's own
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), ".yaml") && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, e.Name())
		}
	}
	return files
}

// Load reads a theme by name; empty is Default. An unknown name's error lists
// the names there are; a faulty file's names the file, the line and the key.
func (s Source) Load(name string) (*Theme, error) {
	if name == "" {
		name = Default
	}
	if name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return nil, s.unknown(name)
	}
	if s.UserDir != "" {
		file := filepath.Join(s.UserDir, name+".yaml")
		data, err := os.ReadFile(file)
		if err == nil {
			return Parse(name, file, data)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("theme %s: %w", name, err)
		}
	}
	data, err := embedded.ReadFile("data/" + name + ".yaml")
	if err != nil {
		return nil, s.unknown(name)
	}
	return Parse(name, "built-in theme "+name, data)
}

func (s Source) unknown(name string) error {
	hint := "put your own into a theme directory as NAME.yaml"
	if s.UserDir != "" {
		hint = "your own go to " + s.UserDir + " as NAME.yaml"
	}
	return fmt.Errorf("no theme %q: use one of %s; %s", name, strings.Join(s.Names(), ", "), hint)
}

// mono is the theme whose looks are used where there are no colours.
var mono = sync.OnceValue(func() *Theme {
	t, err := Source{}.Load("mono")
	if err != nil {
		panic("themes: " + err.Error()) // embedded, and tested to load
	}
	return t
})

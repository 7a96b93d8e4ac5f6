package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/goccy/go-yaml"
	"github.com/google/renameio/v2"
)

// State is what :save keeps. An empty field was not saved.
type State struct {
	Columns []string `yaml:"columns,omitempty"`
	Sort    string   `yaml:"sort,omitempty"`
	Theme   string   `yaml:"theme,omitempty"`
	Filter  string   `yaml:"filter,omitempty"`
	Mouse   *bool    `yaml:"mouse,omitempty"`
	Refresh string   `yaml:"refresh,omitempty"` // as time.Duration.String writes it
}

// savedSettings are the settings that State keeps, called as in config files.
var savedSettings = []string{"columns", "sort", "theme", "mouse", "refresh"}

const stateHeader = "# Written by berth's :save. Your own settings belong in config.yaml.\n"

// Save writes the state to path whole or not at all: a crash leaves the old
// file or the new one. The directory is made if need be.
func (s State) Save(path string) error {
	if path == "" {
		return errors.New("save: neither XDG_STATE_HOME nor HOME is set, so there is no place for it; set one")
	}
	data, err := yaml.Marshal(s)
	if err != nil {
		return fmt.Errorf("save %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("save %s: %w", path, err)
	}
	if err := renameio.WriteFile(path, append([]byte(stateHeader), data...), 0o600); err != nil {
		return fmt.Errorf("save %s: %w", path, err)
	}
	return nil
}

// addState applies what :save kept. A file that cannot be read is a warning
// and ignored whole; so is each value in it that is no longer allowed, as the
// column of a later version. It never keeps berth from starting.
func (c *Config) addState() {
	path := c.Paths.StateFile
	if path == "" {
		return
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		c.warnState(&FileError{File: path, Problem: "cannot be read: " + reason(err)})
		return
	}
	root, err := parseYAML(path, data)
	if err != nil || (root.kind != mapping && root.kind != null) {
		if err == nil {
			err = &FileError{File: path, Line: root.line, Problem: "is not what :save writes"}
		}
		c.warnState(err)
		return
	}
	for _, p := range root.pairs {
		if err := c.applySaved(p); err != nil {
			c.warnState(fileError(path, p, err))
			continue
		}
		c.origins[p.key] = path + ":" + strconv.Itoa(p.line)
	}
}

func (c *Config) applySaved(p pair) error {
	switch {
	case slices.Contains(savedSettings, p.key):
		return settingByName(p.key).set(c, p.value)
	case p.key == "filter":
		return setText(func(s *Settings) *string { return &s.Filter })(c, p.value)
	}
	return p.value.errorf("%s", unknownKey("saved setting", p.key, append([]string{"filter"}, savedSettings...)))
}

func (c *Config) warnState(err error) {
	c.Warnings = append(c.Warnings, fmt.Errorf("%w; ignored (:save writes it anew)", err))
}

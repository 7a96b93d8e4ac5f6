// Package config reads berth's settings: the config files, what :save kept,
// the environment and flags, in one order of precedence, and remembers where
// each value came from. It never writes a config file.
//
// What is named first wins:
//
//  1. a flag
//  2. the file given with --config
//  3. what :save kept (StateDir/ui.yaml)
//  4. the user's config file ($XDG_CONFIG_HOME/berth/config.yaml)
//  5. /etc/berth/config.yaml
//  6. the environment that other programs read too (LIBVIRT_DEFAULT_URI,
//     NO_COLOR, VISUAL, EDITOR)
//  7. the default
//
// The environment stands below the files because it speaks to every program,
// and the files to berth alone.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// MinRefresh is the shortest time between two polls that berth allows.
const MinRefresh = 200 * time.Millisecond

// Connection is one host to connect to.
type Connection struct {
	URI      string
	Name     string // its label in lists; empty: made from the URI
	Theme    string // the theme for its screens; empty: the general one
	Frame    string // the look of the frame around them, "white on red"; empty: the theme's
	ReadOnly bool   // refuse every verb on it
}

// Settings are all that can be set. Defaults gives every field a value.
type Settings struct {
	Connections   []Connection
	Refresh       time.Duration
	Theme         string // empty: chosen by the terminal's abilities
	Color         string // "auto", "never", "16", "256" or "true"
	ReadOnly      bool
	Mouse         bool
	Columns       []string // empty: the list's defaults
	Sort          string   // a column's ID, with ":asc" or ":desc" after it or not
	Filter        string   // only from what :save kept
	ASCII         string   // "auto", "yes" or "no"
	Editor        string   // a command line
	SSHUser       string   // for ssh to a guest; empty: ssh's own choice
	ScreenshotDir string
	// Confirm is the least risk that the console asks about: "interrupt" or
	// "loss". What loses data is always asked about.
	Confirm string
	Keys    map[string]string // action to key
	Queue   Queue
	Backup  Backup
}

// Defaults are the settings when nothing else says anything.
func Defaults() Settings {
	return Settings{
		Refresh: time.Second,
		Color:   "auto",
		Mouse:   true,
		Sort:    "name",
		ASCII:   "auto",
		Editor:  "vi",
		Confirm: "interrupt",
		Queue:   defaultQueue(),
		Backup:  defaultBackup(),
	}
}

// Known is what the rest of the program can tell about allowed values. What is
// nil is not checked.
type Known struct {
	Columns []string
	Actions func() []string // asked only when keys are set
	Themes  func() []string // asked only when a theme is set
	URI     func(string) error
	Frame   func(string) error // the look of a connection's frame
	// Orders, Backfills and Placements are the words of the queue's policies.
	Orders, Backfills, Placements []string
}

// Config is the settings in force and where each came from.
type Config struct {
	Settings
	Paths Paths
	// Files are the config files that were read, the strongest first.
	Files []string
	// Warnings are troubles that do not stop berth, such as a saved state that
	// cannot be read.
	Warnings []error

	known   Known
	origins map[string]string
}

// Options say what Load reads.
type Options struct {
	Paths Paths
	File  string // --config: replaces the user's file, and must exist
	Env   func(string) string
	Known Known
}

// Load reads everything but flags; give those to Set. The error joins one
// *FileError for each thing wrong in a config file. Config files that do not
// exist are no error, but for Options.File.
func Load(o Options) (*Config, error) {
	c := &Config{Settings: Defaults(), Paths: o.Paths, known: o.Known, origins: map[string]string{}}
	c.setEnv(o.Env)
	err := c.addFile(o.Paths.SystemFile, false)
	if o.File == "" {
		err = errors.Join(err, c.addFile(o.Paths.ConfigFile, false))
	}
	c.addState()
	if o.File != "" {
		err = errors.Join(err, c.addFile(o.File, true))
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Set overrides one setting with a value from a flag; origin is for Origin,
// as "--theme". The error says which values are allowed.
func (c *Config) Set(name, value, origin string) error {
	s := settingByName(name)
	if s == nil {
		return fmt.Errorf("there is no setting %q", name)
	}
	if err := s.set(c, node{kind: scalar, text: value}); err != nil {
		return fmt.Errorf("%s: %w", origin, err)
	}
	c.origins[name] = origin
	return nil
}

// Origin says where the setting's value comes from: a flag, a file and line,
// an environment variable, or "default".
func (c *Config) Origin(name string) string {
	if o := c.origins[name]; o != "" {
		return o
	}
	return "default"
}

// setEnv applies the variables that other programs read too. LIBVIRT_DEFAULT_URI
// is left to the caller, who tries it only when no connection is configured.
func (c *Config) setEnv(env func(string) string) {
	if env == nil {
		return
	}
	if env("NO_COLOR") != "" {
		c.Color, c.origins["color"] = "never", "NO_COLOR"
	}
	for _, name := range []string{"EDITOR", "VISUAL"} {
		if v := env(name); v != "" {
			c.Editor, c.origins["editor"] = v, name
		}
	}
}

func (c *Config) addFile(path string, must bool) error {
	if path == "" {
		return nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !must {
		return nil
	}
	if err != nil {
		return &FileError{File: path, Problem: "cannot be read: " + reason(err)}
	}
	c.Files = append([]string{path}, c.Files...)
	root, err := parseYAML(path, data)
	if err != nil {
		return err
	}
	return c.apply(path, root)
}

// apply sets what a file's top level says, and reports all that is wrong.
func (c *Config) apply(path string, root node) error {
	if root.kind == null {
		return nil
	}
	if root.kind != mapping {
		return &FileError{File: path, Line: root.line, Problem: "expected settings as `key: value`"}
	}
	return c.applyGroup(path, "", root)
}

// groups are the keys that have settings of their own below them.
var groups = []string{queueGroup, backupGroup}

// applyGroup sets what stands on one level of a file: the settings whose names
// begin with group.
func (c *Config) applyGroup(path, group string, n node) error {
	var errs []error
	for _, p := range n.pairs {
		errs = append(errs, c.applyPair(path, group, p))
	}
	return errors.Join(errs...)
}

func (c *Config) applyPair(path, group string, p pair) error {
	if group == "" && slices.Contains(groups, p.key) {
		if p.value.kind != mapping {
			return &FileError{File: path, Line: p.line, Problem: p.key + ": expected settings below it: " + strings.Join(levelNames(p.key+"."), " ")}
		}
		return c.applyGroup(path, p.key+".", p.value)
	}
	s := settingByName(group + p.key)
	if s == nil || group == "" && strings.Contains(p.key, ".") {
		what := "setting"
		if group != "" {
			what += " of the " + strings.TrimSuffix(group, ".")
		}
		return &FileError{File: path, Line: p.line, Problem: unknownKey(what, p.key, levelNames(group))}
	}
	if err := s.set(c, p.value); err != nil {
		return fileError(path, pair{key: s.Name, line: p.line, value: p.value}, err)
	}
	c.origins[s.Name] = fmt.Sprintf("%s:%d", path, p.line)
	return nil
}

// levelNames are the keys that may stand on one level of a config file.
func levelNames(group string) []string {
	var names []string
	for _, name := range SettingNames() {
		below, ok := strings.CutPrefix(name, group)
		if !ok {
			continue
		}
		key, _, _ := strings.Cut(below, ".")
		if !slices.Contains(names, key) {
			names = append(names, key)
		}
	}
	return names
}

// reason is err without the path, which the message names already.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

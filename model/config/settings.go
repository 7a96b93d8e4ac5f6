package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Setting describes one setting, for `berth info`, errors and documents.
type Setting struct {
	Name string
	Help string
	// Values are the allowed ones where that is a short list, else examples in
	// prose.
	Values []string

	set  func(*Config, node) error
	show func(*Settings) string
}

// Show is the setting's value as berth info prints it.
func (s *Setting) Show(v *Settings) string { return s.show(v) }

var (
	colors   = []string{"auto", "never", "16", "256", "true"}
	ternary  = []string{"auto", "yes", "no"}
	confirms = []string{"interrupt", "loss"}
	booleans = []string{"true", "false"}
	// yamlWords are what people write for yes and no.
	yamlWords = map[string]string{"true": "yes", "on": "yes", "false": "no", "off": "no"}
)

// AllSettings returns every setting, in the order documents list them.
func AllSettings() []Setting {
	return append([]Setting{
		{Name: "connections", Help: "hosts to connect to: URIs, or uri, name, theme, frame and readonly",
			set: setConnections, show: showConnections},
		{Name: "refresh", Help: "time between polls, at least 200ms",
			set: setRefresh, show: func(s *Settings) string { return s.Refresh.String() }},
		{Name: "theme", Help: "a theme's name", set: setTheme, show: func(s *Settings) string { return s.Theme }},
		{Name: "color", Help: "how many colours the terminal shows", Values: colors,
			set: setWord(colors, func(s *Settings) *string { return &s.Color }), show: func(s *Settings) string { return s.Color }},
		{Name: "readonly", Help: "refuse everything that changes something", Values: booleans,
			set: setBool(func(s *Settings) *bool { return &s.ReadOnly }), show: func(s *Settings) string { return strconv.FormatBool(s.ReadOnly) }},
		{Name: "mouse", Help: "take mouse clicks; off leaves them to the terminal", Values: booleans,
			set: setBool(func(s *Settings) *bool { return &s.Mouse }), show: func(s *Settings) string { return strconv.FormatBool(s.Mouse) }},
		{Name: "columns", Help: "column IDs of the VM list, in order",
			set: setColumns, show: func(s *Settings) string { return strings.Join(s.Columns, " ") }},
		{Name: "sort", Help: "column to sort by; :asc or :desc after it", set: setSort, show: func(s *Settings) string { return s.Sort }},
		{Name: "ascii", Help: "draw with ASCII characters only", Values: ternary,
			set: setWord(ternary, func(s *Settings) *string { return &s.ASCII }), show: func(s *Settings) string { return s.ASCII }},
		{Name: "editor", Help: "command to edit XML with", set: setText(func(s *Settings) *string { return &s.Editor }), show: func(s *Settings) string { return s.Editor }},
		{Name: "ssh_user", Help: "user for ssh to a guest", set: setText(func(s *Settings) *string { return &s.SSHUser }), show: func(s *Settings) string { return s.SSHUser }},
		{Name: "screenshot_dir", Help: "directory for screenshots of guests",
			set: setText(func(s *Settings) *string { return &s.ScreenshotDir }), show: func(s *Settings) string { return s.ScreenshotDir }},
		{Name: "confirm", Help: "least risk to ask about; what loses data is always asked about", Values: confirms,
			set: setWord(confirms, func(s *Settings) *string { return &s.Confirm }), show: func(s *Settings) string { return s.Confirm }},
		{Name: "keys", Help: "keys of actions, as shutdown: ctrl+x", set: setKeys, show: showKeys},
	}, slices.Concat(queueSettings(), backupSettings())...)
}

// SettingNames returns the name of every setting.
func SettingNames() []string {
	var names []string
	for _, s := range AllSettings() {
		names = append(names, s.Name)
	}
	return names
}

func settingByName(name string) *Setting {
	for _, s := range AllSettings() {
		if s.Name == name {
			return &s
		}
	}
	return nil
}

// word is n's text, or an error when n is not one plain value.
func (n node) word() (string, error) {
	if n.kind != scalar {
		return "", n.errorf("expected one value")
	}
	if strings.ContainsFunc(n.text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", n.errorf("%q holds control characters", n.text)
	}
	return n.text, nil
}

// words are the texts of a sequence, or of one value with commas or blanks.
func (n node) words() ([]node, error) {
	if n.kind == sequence {
		for _, item := range n.items {
			if _, err := item.word(); err != nil {
				return nil, err
			}
		}
		return n.items, nil
	}
	text, err := n.word()
	if err != nil {
		return nil, n.errorf("expected a list")
	}
	var out []node
	for _, f := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		out = append(out, node{kind: scalar, text: f, line: n.line})
	}
	return out, nil
}

func setText(field func(*Settings) *string) func(*Config, node) error {
	return func(c *Config, n node) error {
		s, err := n.word()
		if err != nil {
			return err
		}
		*field(&c.Settings) = s
		return nil
	}
}

func setWord(allowed []string, field func(*Settings) *string) func(*Config, node) error {
	return func(c *Config, n node) error {
		s, err := n.word()
		if err != nil {
			return err
		}
		s = strings.ToLower(s)
		if w, ok := yamlWords[s]; ok && !slices.Contains(allowed, s) {
			s = w
		}
		if !slices.Contains(allowed, s) {
			return n.errorf("%q is not allowed; use %s", n.text, oneOf(allowed))
		}
		*field(&c.Settings) = s
		return nil
	}
}

func setBool(field func(*Settings) *bool) func(*Config, node) error {
	return func(c *Config, n node) error {
		b, err := n.boolean()
		if err != nil {
			return err
		}
		*field(&c.Settings) = b
		return nil
	}
}

func (n node) boolean() (bool, error) {
	s, err := n.word()
	if err != nil {
		return false, err
	}
	switch strings.ToLower(s) {
	case "true", "yes", "on":
		return true, nil
	case "false", "no", "off":
		return false, nil
	}
	return false, n.errorf("%q is not allowed; use true or false", s)
}

func setRefresh(c *Config, n node) error {
	s, err := n.word()
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return n.errorf("%q is not a time; write 1s or 500ms", s)
	}
	if d < MinRefresh {
		return n.errorf("%s is too short; use %s or more", d, MinRefresh)
	}
	c.Refresh = d
	return nil
}

func setTheme(c *Config, n node) error {
	s, err := c.theme(n)
	if err != nil {
		return err
	}
	c.Theme = s
	return nil
}

func (c *Config) theme(n node) (string, error) {
	s, err := n.word()
	if err != nil || c.known.Themes == nil {
		return s, err
	}
	if names := c.known.Themes(); !slices.Contains(names, s) {
		return "", n.errorf("%s", unknownKey("theme", s, names))
	}
	return s, nil
}

func setColumns(c *Config, n node) error {
	words, err := n.words()
	if err != nil {
		return err
	}
	var ids []string
	for _, w := range words {
		if c.known.Columns != nil && !slices.Contains(c.known.Columns, w.text) {
			return w.errorf("%s", unknownKey("column", w.text, c.known.Columns))
		}
		if slices.Contains(ids, w.text) {
			return w.errorf("column %q is listed twice", w.text)
		}
		ids = append(ids, w.text)
	}
	if len(ids) == 0 {
		return n.errorf("expected a list of columns")
	}
	c.Columns = ids
	return nil
}

func setSort(c *Config, n node) error {
	s, err := n.word()
	if err != nil {
		return err
	}
	id, direction, has := strings.Cut(s, ":")
	if has && direction != "asc" && direction != "desc" {
		return n.errorf("%q is not allowed; use asc or desc after the colon", direction)
	}
	if c.known.Columns != nil && !slices.Contains(c.known.Columns, id) {
		return n.errorf("%s", unknownKey("column", id, c.known.Columns))
	}
	c.Sort = s
	return nil
}

func oneOf(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return fmt.Sprintf("%s or %s", strings.Join(words[:len(words)-1], ", "), words[len(words)-1])
}

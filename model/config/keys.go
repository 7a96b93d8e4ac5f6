package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	tea "github.com/charmbracelet/bubbletea"
)

// setKeys reads overrides of the key map. They add to those of a weaker file.
func setKeys(c *Config, n node) error {
	if n.kind != mapping {
		return n.errorf("expected `action: key` below it")
	}
	keys := maps.Clone(c.Keys)
	if keys == nil {
		keys = map[string]string{}
	}
	for _, p := range n.pairs {
		if c.known.Actions != nil && !slices.Contains(c.known.Actions(), p.key) {
			return &valueError{line: p.line, problem: unknownKey("action", p.key, c.known.Actions())}
		}
		k, err := p.value.key()
		if err != nil {
			return err
		}
		for other, taken := range keys {
			if taken == k && other != p.key {
				return p.value.errorf("the key %s is given to %s already", k, other)
			}
		}
		keys[p.key] = k
	}
	c.Keys = keys
	return nil
}

func showKeys(s *Settings) string {
	var out []string
	for action, key := range s.Keys {
		out = append(out, action+"="+key)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// key is the name of a key that terminals send and berth can hear.
func (n node) key() (string, error) {
	k, err := n.word()
	if err != nil {
		return "", err
	}
	if why := keyProblem(k); why != "" {
		return "", n.errorf("%s", why)
	}
	return k, nil
}

// keyExamples end every complaint about a key.
const keyExamples = "write one character as it is typed (j, G, ?), or a name: space, enter, f5, pgup, ctrl+d, alt+x, shift+tab"

// keyProblem says what is wrong with a key's name, or "".
func keyProblem(k string) string {
	if isKey(k) {
		return ""
	}
	if why := unheardKeys[strings.ToLower(k)]; why != "" {
		return fmt.Sprintf("%s %s", k, why)
	}
	text := fmt.Sprintf("%q is not a key", k)
	if meant := meantKey(k); meant != "" {
		text += fmt.Sprintf("; did you mean %s?", meant)
	}
	return text + "; " + keyExamples
}

// unheardKeys are keys that people write and that never arrive under that
// name, each with the reason.
var unheardKeys = map[string]string{
	"ctrl+c": "always quits, and cannot be given to another action",
	"ctrl+i": "is tab to a terminal; write tab",
	"ctrl+m": "is enter to a terminal; write enter",
	"ctrl+[": "is esc to a terminal; write esc",
}

// isKey reports whether berth would know the key by that name.
func isKey(k string) bool {
	if k == "ctrl+c" {
		return false
	}
	if k == "space" || k == "ctrl+space" || slices.Contains(namedKeys(), k) {
		return true
	}
	base := strings.TrimPrefix(k, "alt+")
	if base != k && slices.Contains(namedKeys(), base) {
		return true
	}
	r, size := utf8.DecodeRuneInString(base)
	return size > 0 && size == len(base) && r != utf8.RuneError && unicode.IsGraphic(r) && r != ' '
}

// namedKeys are the names that Bubble Tea gives to keys that are not one
// character, asked of Bubble Tea itself: its key types lie in this range.
var namedKeys = sync.OnceValue(func() []string {
	var names []string
	for t := tea.KeyType(-128); t < 128; t++ {
		if name := t.String(); name != "" && name != "runes" && name != " " {
			names = append(names, name)
		}
	}
	return names
})

// keySpellings are other names that people know keys by.
var keySpellings = map[string]string{
	"escape": "esc", "return": "enter", "del": "delete", "ins": "insert", "spacebar": "space",
	"pageup": "pgup", "pagedown": "pgdown", "pgdn": "pgdown", "bksp": "backspace",
	"control": "ctrl", "c": "ctrl", "meta": "alt", "m": "alt", "s": "shift",
}

// meantKey is the key that a name most probably means, or "".
func meantKey(k string) string {
	parts := strings.FieldsFunc(strings.Replace(strings.ToLower(k), "^", "ctrl+", 1), func(r rune) bool { return r == '-' || r == '+' })
	for i, p := range parts {
		if name := keySpellings[p]; name != "" && (len(p) > 1 || i < len(parts)-1) {
			parts[i] = name
		}
	}
	other := strings.Join(parts, "+")
	if isKey(other) {
		return other
	}
	if len(k) < 3 {
		return ""
	}
	return Nearest(other, append([]string{"space"}, namedKeys()...))
}

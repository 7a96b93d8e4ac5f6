package themes

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// topKeys are the keys a theme file may have.
var topKeys = []string{"description", "dark", "base", "palette", "roles"}

// Parse reads a theme. name is what it will be called, file what errors call
// it. Roles that the file does not mention look like RoleText.
//
// A look is one line: attributes (bold, faint, italic, underline, reverse), a
// colour for the text and, after "on", one for the background. A colour is
// what ParseColor reads, or a name from the file's own palette.
//
// Errors name the file, the line, the key and what would be allowed.
func Parse(name, file string, data []byte) (*Theme, error) {
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: not valid YAML: %s", file, yaml.FormatError(err, false, false))
	}
	p := &themeParser{
		theme:   &Theme{Name: name, File: file, Dark: true},
		palette: map[string]Color{},
	}
	for _, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		if err := p.top(doc.Body); err != nil {
			return nil, err
		}
	}
	p.inherit()
	return p.theme, nil
}

type themeParser struct {
	theme   *Theme
	palette map[string]Color
	set     [RoleCount]bool
}

// top reads the whole document; the palette first, wherever it stands.
func (p *themeParser) top(body ast.Node) error {
	entries, err := p.entries(body, "the theme")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if key(e) == "palette" {
			if err := p.readPalette(e.Value); err != nil {
				return err
			}
		}
	}
	for _, e := range entries {
		if err := p.entry(e); err != nil {
			return err
		}
	}
	return nil
}

func (p *themeParser) entry(e *ast.MappingValueNode) error {
	switch key(e) {
	case "palette":
	case "description":
		p.theme.Description = scalar(e.Value)
	case "dark":
		dark, err := strconv.ParseBool(scalar(e.Value))
		if err != nil {
			return p.fail(e, "dark: %q: use true or false", scalar(e.Value))
		}
		p.theme.Dark = dark
	case "base":
		look, err := p.look(scalar(e.Value))
		if err != nil {
			return p.fail(e, "base: %v", err)
		}
		p.theme.base = look
	case "roles":
		return p.readRoles(e.Value)
	default:
		return p.fail(e, "unknown key %q: use one of %s", key(e), strings.Join(topKeys, ", "))
	}
	return nil
}

func (p *themeParser) readPalette(n ast.Node) error {
	entries, err := p.entries(n, "palette")
	if err != nil {
		return err
	}
	for _, e := range entries {
		c, err := ParseColor(scalar(e.Value))
		if err != nil {
			return p.fail(e, "palette: %s: %v", key(e), err)
		}
		p.palette[strings.ToLower(key(e))] = c
	}
	return nil
}

func (p *themeParser) readRoles(n ast.Node) error {
	entries, err := p.entries(n, "roles")
	if err != nil {
		return err
	}
	for _, e := range entries {
		role, ok := parseRole(key(e))
		if !ok {
			return p.fail(e, "roles: unknown role %q: use one of %s", key(e), strings.Join(Roles(), ", "))
		}
		look, err := p.look(scalar(e.Value))
		if err != nil {
			return p.fail(e, "roles: %s: %v", role, err)
		}
		p.theme.roles[role], p.set[role] = look, true
	}
	return nil
}

// inherit gives the roles that were not mentioned the look of RoleText.
func (p *themeParser) inherit() {
	for r := range p.theme.roles {
		if !p.set[r] {
			p.theme.roles[r] = p.theme.roles[RoleText]
		}
	}
}

// entries are the key-value pairs of a mapping; one pair alone has a node
// type of its own.
func (p *themeParser) entries(n ast.Node, what string) ([]*ast.MappingValueNode, error) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, nil
	case *ast.NullNode:
		return nil, nil
	}
	return nil, p.fail(n, "%s must be a list of \"key: value\" lines", what)
}

func (p *themeParser) fail(n ast.Node, format string, args ...any) error {
	line := 1
	if t := n.GetToken(); t != nil {
		if m, ok := n.(*ast.MappingValueNode); ok {
			t = m.Key.GetToken() // the value's own token is the colon
		}
		line = t.Position.Line
	}
	return fmt.Errorf("%s:%d: %s", p.theme.File, line, fmt.Sprintf(format, args...))
}

func (p *themeParser) look(spec string) (Style, error) {
	return parseLookWith(spec, p.palette)
}

func parseLook(spec string) (Style, error) { return parseLookWith(spec, nil) }

// parseLookWith reads "bold white on blue".
func parseLookWith(spec string, palette map[string]Color) (Style, error) {
	var s Style
	words := strings.Fields(strings.ToLower(spec))
	if len(words) == 0 {
		return s, errors.New(`empty: use "default" for a plain look`)
	}
	target, on := &s.Fg, false
	for _, w := range words {
		if w == "on" && !on {
			target, on = &s.Bg, true
			continue
		}
		if a, ok := parseAttr(w); ok {
			s.Attr |= a
			continue
		}
		c, ok := palette[w]
		if !ok {
			var err error
			if c, err = ParseColor(w); err != nil {
				return Style{}, fmt.Errorf("%w; or an attribute: %s", err, strings.Join(attrNames[:], ", "))
			}
		}
		if *target != 0 {
			return Style{}, fmt.Errorf("%q: more than one colour; write \"TEXT on BACKGROUND\"", spec)
		}
		*target = c
	}
	if on && s.Bg == 0 {
		return Style{}, fmt.Errorf("%q: a colour must follow \"on\"", spec)
	}
	return s, nil
}

func parseAttr(word string) (Attr, bool) {
	for i, n := range attrNames {
		if n == word {
			return 1 << i, true
		}
	}
	return 0, false
}

func key(e *ast.MappingValueNode) string { return scalar(e.Key) }

// scalar is a node's text as written, without quotes.
func scalar(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.NullNode:
		return ""
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode:
		return "(nested)"
	}
	if t := n.GetToken(); t != nil {
		return t.Value
	}
	return ""
}

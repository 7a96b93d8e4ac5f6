package config

import "strings"

var connectionKeys = []string{"uri", "name", "theme", "frame", "readonly"}

func setConnections(c *Config, n node) error {
	items := n.items
	switch n.kind {
	case scalar, mapping:
		items = []node{n}
	case null:
		return n.errorf("expected a list of URIs")
	}
	var all []Connection
	for _, item := range items {
		conn, err := c.connection(item)
		if err != nil {
			return err
		}
		for _, other := range all {
			if conn.Name != "" && conn.Name == other.Name {
				return item.errorf("two connections are named %q", conn.Name)
			}
		}
		all = append(all, conn)
	}
	c.Connections = all
	return nil
}

// connection reads a URI, or a mapping that holds one.
func (c *Config) connection(n node) (Connection, error) {
	if n.kind == scalar {
		uri, err := c.uri(n)
		return Connection{URI: uri}, err
	}
	if n.kind != mapping {
		return Connection{}, n.errorf("expected a URI, or uri: with name:, theme:, frame: and readonly:")
	}
	var conn Connection
	for _, p := range n.pairs {
		var err error
		switch p.key {
		case "uri":
			conn.URI, err = c.uri(p.value)
		case "name":
			conn.Name, err = label(p.value)
		case "theme":
			conn.Theme, err = c.theme(p.value)
		case "frame":
			conn.Frame, err = c.frame(p.value)
		case "readonly":
			conn.ReadOnly, err = p.value.boolean()
		default:
			err = &valueError{line: p.line, problem: unknownKey("key", p.key, connectionKeys)}
		}
		if err != nil {
			return conn, err
		}
	}
	if conn.URI == "" {
		return conn, n.errorf("a connection needs a uri:")
	}
	return conn, nil
}

func (c *Config) uri(n node) (string, error) {
	s, err := n.word()
	if err != nil || c.known.URI == nil {
		return s, err
	}
	if err := c.known.URI(s); err != nil {
		return "", n.errorf("%v", err)
	}
	return s, nil
}

// frame is the look of a connection's frame, checked by who draws it.
func (c *Config) frame(n node) (string, error) {
	s, err := n.word()
	if err != nil || c.known.Frame == nil {
		return s, err
	}
	if err := c.known.Frame(s); err != nil {
		return "", n.errorf("frame %q: %v", s, err)
	}
	return s, nil
}

// label is a host's name in lists; blanks and slashes would make NAME
// arguments of the form host/name unreadable.
func label(n node) (string, error) {
	s, err := n.word()
	if err != nil {
		return "", err
	}
	if s == "" || strings.ContainsAny(s, " /\t") {
		return "", n.errorf("%q cannot name a connection: no blanks and no slashes", s)
	}
	return s, nil
}

func showConnections(s *Settings) string {
	var out []string
	for _, c := range s.Connections {
		text := c.URI
		if c.Name != "" {
			text = c.Name + "=" + text
		}
		if c.Frame != "" {
			text += " (frame: " + c.Frame + ")"
		}
		if c.ReadOnly {
			text += " (read-only)"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

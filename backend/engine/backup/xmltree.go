package backup

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"berth/backend"
)

// node is an element of a definition, kept as it was written: what berth does not
// know comes out as it went in, prefixes of name spaces too.
type node struct {
	name  string // with its prefix
	attrs []xml.Attr
	kids  []any // *node, or what lies between: xml.CharData, xml.Comment, xml.ProcInst, xml.Directive
}

const (
	// xmlMost bounds a definition; libvirt's own limit is 4 MiB in messages.
	xmlMost = 16 << 20
	// xmlDeepest bounds how elements may be nested.
	xmlDeepest = 100
)

func parseXML(text string) (*node, error) {
	if len(text) > xmlMost {
		return nil, fmt.Errorf("%w: a definition of %d bytes", backend.ErrInvalid, len(text))
	}
	d := xml.NewDecoder(strings.NewReader(text))
	top := &node{}
	open := []*node{top}
	for {
		t, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: the definition: %w", backend.ErrInvalid, err)
		}
		at := open[len(open)-1]
		switch t := t.(type) {
		case xml.StartElement:
			n := &node{name: prefixed(t.Name), attrs: slices.Clone(t.Attr)}
			at.kids = append(at.kids, n)
			open = append(open, n)
		case xml.EndElement:
			if len(open) == 1 || prefixed(t.Name) != at.name {
				return nil, fmt.Errorf("%w: the definition: </%s> ends nothing", backend.ErrInvalid, prefixed(t.Name))
			}
			open = open[:len(open)-1]
		default:
			at.kids = append(at.kids, xml.CopyToken(t))
		}
		if len(open) > xmlDeepest {
			return nil, fmt.Errorf("%w: a definition that is nested more than %d deep", backend.ErrInvalid, xmlDeepest)
		}
	}
	root := top.first(func(*node) bool { return true })
	if len(open) > 1 || root == nil {
		return nil, fmt.Errorf("%w: the definition is not complete", backend.ErrInvalid)
	}
	return root, nil
}

func prefixed(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}

// String is the element as XML.
func (n *node) String() string {
	var b bytes.Buffer
	n.write(&b)
	return b.String()
}

func (n *node) write(b *bytes.Buffer) {
	b.WriteString("<" + n.name)
	for _, a := range n.attrs {
		b.WriteString(" " + prefixed(a.Name) + `="`)
		xml.EscapeText(b, []byte(a.Value)) //nolint:errcheck // a Buffer takes everything
		b.WriteString(`"`)
	}
	if len(n.kids) == 0 {
		b.WriteString("/>")
		return
	}
	b.WriteString(">")
	for _, k := range n.kids {
		switch k := k.(type) {
		case *node:
			k.write(b)
		case xml.CharData:
			xml.EscapeText(b, k) //nolint:errcheck // likewise
		case xml.Comment:
			b.WriteString("<!--" + string(k) + "-->")
		}
	}
	b.WriteString("</" + n.name + ">")
}

// elements are the children that are elements, in order.
func (n *node) elements() (list []*node) {
	for _, k := range n.kids {
		if e, ok := k.(*node); ok {
			list = append(list, e)
		}
	}
	return list
}

func (n *node) first(is func(*node) bool) *node {
	for _, e := range n.elements() {
		if is(e) {
			return e
		}
	}
	return nil
}

// find goes down by names; nil when there is no such element.
func (n *node) find(path ...string) *node {
	for _, name := range path {
		if n == nil {
			return nil
		}
		n = n.first(func(e *node) bool { return e.name == name })
	}
	return n
}

// all are the children of a name.
func (n *node) all(name string) (list []*node) {
	if n == nil {
		return nil
	}
	for _, e := range n.elements() {
		if e.name == name {
			list = append(list, e)
		}
	}
	return list
}

// drop removes the children that is is true of.
func (n *node) drop(is func(*node) bool) {
	if n == nil {
		return
	}
	n.kids = slices.DeleteFunc(n.kids, func(k any) bool {
		e, ok := k.(*node)
		return ok && is(e)
	})
}

// named is for drop.
func named(names ...string) func(*node) bool {
	return func(n *node) bool { return slices.Contains(names, n.name) }
}

func (n *node) attr(name string) string {
	if n == nil {
		return ""
	}
	for _, a := range n.attrs {
		if prefixed(a.Name) == name {
			return a.Value
		}
	}
	return ""
}

// set sets an attribute.
func (n *node) set(name, value string) {
	for i := range n.attrs {
		if prefixed(n.attrs[i].Name) == name {
			n.attrs[i].Value = value
			return
		}
	}
	n.attrs = append(n.attrs, xml.Attr{Name: xml.Name{Local: name}, Value: value})
}

// unset removes an attribute.
func (n *node) unset(name string) {
	if n != nil {
		n.attrs = slices.DeleteFunc(n.attrs, func(a xml.Attr) bool { return prefixed(a.Name) == name })
	}
}

// text is what stands in an element.
func (n *node) text() string {
	if n == nil {
		return ""
	}
	var b strings.Builder
	for _, k := range n.kids {
		if c, ok := k.(xml.CharData); ok {
			b.Write(c)
		}
	}
	return strings.TrimSpace(b.String())
}

// setText makes text all that stands in a child of that name, which is made
// when it is not there.
func (n *node) setText(name, text string) {
	e := n.find(name)
	if e == nil {
		e = &node{name: name}
		n.kids = append([]any{e}, n.kids...)
	}
	e.kids = []any{xml.CharData(text)}
}

package demo

import (
	"encoding/xml"
	"fmt"
	"regexp"
	"strings"

	"berth/backend"
)

// A definition that a person gave is kept word for word. These functions
// change single places of such a text, which parsed before.

// child finds the content of the domain's own element of that name; ok is
// false when there is none.
func child(text, name string) (from, to int, ok bool) {
	dec := xml.NewDecoder(strings.NewReader(text))
	depth := 0
	for {
		before := int(dec.InputOffset())
		tok, err := dec.Token()
		if err != nil {
			return 0, 0, false
		}
		switch e := tok.(type) {
		case xml.StartElement:
			depth++
			if depth == 2 && e.Name.Local == name && e.Name.Space == "" {
				from, ok = int(dec.InputOffset()), true
			}
		case xml.EndElement:
			if depth == 2 && ok && e.Name.Local == name {
				return from, before, true
			}
			depth--
		}
	}
}

// replaceName gives the domain another name.
func replaceName(text, name string) string {
	from, to, ok := child(text, "name")
	if !ok {
		return text
	}
	return text[:from] + escape(name) + text[to:]
}

// withUUID adds the UUID that libvirt gave to a definition without one.
func withUUID(text string, id backend.UUID) string {
	from, to, ok := child(text, "uuid")
	if ok {
		return text[:from] + id.String() + text[to:]
	}
	_, to, ok = child(text, "name")
	if !ok {
		return text
	}
	end := to + strings.IndexByte(text[to:], '>') + 1
	return text[:end] + "\n  <uuid>" + id.String() + "</uuid>" + text[end:]
}

// attribute is one attribute in a start tag, with the blanks before it.
var attribute = regexp.MustCompile(`\s+([^\s=]+)\s*=\s*('[^']*'|"[^"]*")`)

// rootTag finds the domain's own start tag; ok is false when there is none.
func rootTag(text string) (from, to int, ok bool) {
	dec := xml.NewDecoder(strings.NewReader(text))
	for {
		before := int(dec.InputOffset())
		tok, err := dec.Token()
		if err != nil {
			return 0, 0, false
		}
		if _, start := tok.(xml.StartElement); start {
			return before, int(dec.InputOffset()), true
		}
	}
}

// withoutID drops the number of a running domain, which no stored definition
// has.
func withoutID(text string) string {
	from, to, ok := rootTag(text)
	if !ok {
		return text
	}
	tag := attribute.ReplaceAllStringFunc(text[from:to], func(a string) string {
		if attribute.FindStringSubmatch(a)[1] == "id" {
			return ""
		}
		return a
	})
	return text[:from] + tag + text[to:]
}

// withID adds it to a live one.
func withID(text string, live *vm) string {
	_, to, ok := rootTag(text)
	if !ok || live == nil {
		return text
	}
	return text[:to-1] + fmt.Sprintf(" id='%d'>", live.row.ID) + text[to:]
}

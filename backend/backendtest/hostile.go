package backendtest

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"berth/backend"
)

// What XML 1.0 allows and a terminal or its reader should never see: C1
// controls, which are escape sequences in one byte, and characters that turn
// around or hide text.
const (
	hostileTitle = "Title \u009b31m \u202eevil\u202c \u2066x\u2069 \u200b\ufeff end"
	hostileText  = "Text \u009d0;owned\u009c\n\u202ereversed\u2028next \u0085 end"
)

// hostileStringsComeOutClean wherever a host hands out strings, and the XML
// keeps what was put in.
func hostileStringsComeOutClean(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	id := b.define(f.XML(freshName(), hostileTitle, hostileText))
	b.do(backend.VerbStart, id)
	v := b.await(id, "to have its facts", func(v *backend.VM) bool { return !v.FactsAt.IsZero() })
	if !strings.HasPrefix(v.Title, "Title ") || !strings.HasSuffix(v.Title, " end") || !strings.Contains(v.Description, "reversed") {
		t.Errorf("title %q, description %q: not those that were defined", v.Title, v.Description)
	}
	for _, s := range unclean(b.poll()) {
		t.Errorf("Poll%s", s)
	}
	d, err := b.h.Detail(b.ctx, id)
	if err != nil {
		t.Fatalf("Detail: %v", err)
	}
	for _, s := range unclean(d) {
		t.Errorf("Detail%s", s)
	}
	if sample, err := b.h.Sample(b.ctx); err != nil {
		t.Errorf("Sample: %v", err)
	} else if bad := unclean(sample); bad != nil {
		t.Errorf("Sample%s", bad)
	}
	if title := titleIn(t, b.xml(id, true)); title != hostileTitle {
		t.Errorf("the XML's title is %q, want %q", title, hostileTitle)
	}
}

// titleIn reads a definition's title as an XML parser does.
func titleIn(t *testing.T, text string) string {
	t.Helper()
	var x struct {
		Title string `xml:"title"`
	}
	if err := xml.NewDecoder(strings.NewReader(text)).Decode(&x); err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("the XML does not parse: %v\n%s", err, text)
	}
	return x.Title
}

// unclean finds strings in x that backend.Clean would change, by their path.
func unclean(x any) []string {
	var bad []string
	walk("", reflect.ValueOf(x), func(path, s string) {
		if backend.Clean(s) != s {
			bad = append(bad, fmt.Sprintf("%s = %q is not clean", path, s))
		}
	})
	return bad
}

// walk calls found for every string in v.
func walk(path string, v reflect.Value, found func(path, s string)) {
	switch v.Kind() {
	case reflect.String:
		found(path, v.String())
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				walk(path+"."+f.Name, v.Field(i), found)
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i), found)
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			walk(path, v.Elem(), found)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			walk(path+"{key}", k, found)
			walk(fmt.Sprintf("%s[%v]", path, k), v.MapIndex(k), found)
		}
	}
}

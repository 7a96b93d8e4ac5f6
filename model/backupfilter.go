package model

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"berth/model/config"
)

// textKey is a key of a textFilter: which texts of an entry it looks at.
type textKey[T any] struct {
	name, help string
	values     func() []string // its words, of which the start will do; nil: anything
	texts      func(T) []string
}

// textFilter chooses entries of a list by words and keys, in the form of
// ParseFilter. The zero textFilter takes every entry.
type textFilter[T any] struct {
	terms []textTerm[T]
	text  string // as typed; may be ahead of terms while it has an error
	err   error
}

type textTerm[T any] struct {
	not   bool
	match func(T) bool
}

// match reports whether every term holds.
func (f *textFilter[T]) match(x T) bool {
	for i := range f.terms {
		if f.terms[i].match(x) == f.terms[i].not {
			return false
		}
	}
	return true
}

// set reads an expression; while it has an error the last good one stays in
// force. The error is a *FilterError.
func (f *textFilter[T]) set(expr string, keys []textKey[T], plain func(T) []string) error {
	f.text, f.err = expr, nil
	var terms []textTerm[T]
	for _, tok := range filterTokens(expr) {
		match, err := textTermOf(&tok, keys, plain)
		if err != nil {
			f.err = &FilterError{Pos: tok.pos, Term: tok.raw, Problem: err.Error()}
			return f.err
		}
		terms = append(terms, textTerm[T]{tok.not, match})
	}
	f.terms = terms
	return nil
}

func textTermOf[T any](t *filterToken, keys []textKey[T], plain func(T) []string) (func(T) bool, error) {
	if t.regex {
		re, err := regexp.Compile("(?i)" + t.text)
		if err != nil {
			return nil, regexProblem(t.text, err)
		}
		return func(x T) bool { return anyOf(plain(x), re.MatchString) }, nil
	}
	at, op := t.operator()
	if at < 0 {
		needle := strings.ToLower(t.text)
		return func(x T) bool {
			return anyOf(plain(x), func(s string) bool { return containsFold(s, needle) })
		}, nil
	}
	name := strings.ToLower(t.text[:at])
	var names []string
	for _, k := range keys {
		names = append(names, k.name)
		if k.name != name {
			continue
		}
		if op != ":" && op != "=" && op != "==" && op != "!=" {
			return nil, errors.New("it is no number: write key:value")
		}
		match, err := jobValues(t.text[at+len(op):], t.quoted[at+len(op):], k.values)
		if err != nil {
			return nil, err
		}
		texts, want := k.texts, op != "!="
		return func(x T) bool { return anyOf(texts(x), match) == want }, nil
	}
	text := fmt.Sprintf("there is no key %q", name)
	if near := config.Nearest(name, names); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return nil, fmt.Errorf("%s; the keys are %s", text, strings.Join(names, " "))
}

// keyHelp lists a filter's keys for the help page.
func keyHelp[T any](keys []textKey[T]) []FilterKey {
	var out []FilterKey
	for _, k := range keys {
		f := FilterKey{Name: k.name, Help: k.help}
		if k.values != nil {
			f.Values = k.values()
		}
		out = append(out, f)
	}
	return out
}

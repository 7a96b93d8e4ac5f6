package model

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/model/config"
)

// Filter chooses rows. The zero Filter matches every row.
type Filter struct {
	source string
	terms  []filterTerm
}

// FilterError says what is wrong with a filter expression, and where.
type FilterError struct {
	Pos     int    // of the term in the expression, in bytes, from 0
	Term    string // as typed
	Problem string // what is wrong and what would be right
}

// Error reads `filter, at 7 "foo:bar": no such key …`.
func (e *FilterError) Error() string {
	return fmt.Sprintf("filter, at %d %q: %s", e.Pos+1, e.Term, e.Problem)
}

// filterTerm is one condition. match tells whether it holds, and whether that
// is known at all: an unknown figure matches neither a term nor its negation.
type filterTerm struct {
	not   bool
	key   string // empty for terms without one
	match matcher
}

// ParseFilter reads a filter expression: terms separated by blanks, all of
// which must hold. A term is
//
//	web             a part of the name, title, host or a tag; case is ignored
//	10.0.0 fd00:    what looks like an address also finds addresses, from where
//	                one of their groups begins
//	9f86d081        the start of a UUID, of 8 digits or more
//	"two words"     the same, taken as it stands
//	/^web[0-9]+$/   an RE2 regular expression over names, titles, hosts, tags
//	                and addresses, case ignored; or re:^web
//	name:web*       a key and a value; commas separate alternatives
//	cpu>50          a figure compared by > >= < <= = !=, with units as in
//	                mem>2G, mem>=80%, disk_read>10M, uptime>2h
//	!TERM           what does not match TERM
//
// FilterKeys lists the keys. A key's value must be a whole word of it, but for
// state:, where the start of a state's word is enough so that the list narrows
// while it is typed; what begins no state's word is an error. The error is a
// *FilterError. Ages are those of the wall clock.
func ParseFilter(expr string) (Filter, error) { return parseFilter(expr, time.Now) }

// parseFilter is ParseFilter with ages as of now.
func parseFilter(expr string, now func() time.Time) (Filter, error) {
	f := Filter{source: strings.TrimLeft(expr, " \t\r\n")}
	for _, tok := range filterTokens(expr) {
		key, match, err := tok.parse(now)
		if err != nil {
			return Filter{}, &FilterError{Pos: tok.pos, Term: tok.raw, Problem: err.Error()}
		}
		f.terms = append(f.terms, filterTerm{not: tok.not, key: key, match: match})
	}
	return f, nil
}

// Match reports whether every term holds for r.
func (f Filter) Match(r *Row) bool {
	for i := range f.terms {
		t := &f.terms[i]
		holds, known := t.match(r)
		if !known || holds == t.not {
			return false
		}
	}
	return true
}

// String is the expression the filter was parsed from.
func (f Filter) String() string { return f.source }

// Empty reports whether the filter matches everything.
func (f Filter) Empty() bool { return len(f.terms) == 0 }

// Keys returns the keys that the filter looks at; "" stands for terms without
// one. It lets a caller read only what the filter needs.
func (f Filter) Keys() []string {
	var keys []string
	for i := range f.terms {
		if k := f.terms[i].key; !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}

// filterToken is one term as typed.
type filterToken struct {
	pos    int
	raw    string // with quotes and '!'
	text   string // without
	quoted []bool // which bytes of text were within quotes
	regex  bool   // was /text/
	not    bool
}

// filterTokens splits an expression at blanks outside quotes. What is not
// closed yet, as while typing, goes on to the end.
func filterTokens(expr string) []filterToken {
	var out []filterToken
	for i := 0; i < len(expr); {
		if isBlank(expr[i]) {
			i++
			continue
		}
		tok := filterToken{pos: i}
		for i < len(expr) && expr[i] == '!' {
			tok.not = !tok.not
			i++
		}
		if i < len(expr) && expr[i] == '/' {
			i = tok.scanRegex(expr, i+1)
		} else {
			i = tok.scanWord(expr, i)
		}
		tok.raw = expr[tok.pos:i]
		if tok.text != "" {
			out = append(out, tok)
		}
	}
	return out
}

// scanRegex reads up to the slash that a blank or the end follows, so that
// slashes within a regular expression need no escape.
func (t *filterToken) scanRegex(expr string, i int) int {
	t.regex = true
	start := i
	for ; i < len(expr); i++ {
		if expr[i] == '\\' && i+1 < len(expr) {
			i++
		} else if expr[i] == '/' && (i+1 == len(expr) || isBlank(expr[i+1])) {
			t.text = expr[start:i]
			return i + 1
		}
	}
	t.text = expr[start:]
	return len(expr)
}

func (t *filterToken) scanWord(expr string, i int) int {
	var b strings.Builder
	quote := byte(0)
	for ; i < len(expr); i++ {
		c := expr[i]
		switch {
		case quote == 0 && isBlank(c):
			t.text = b.String()
			return i
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote != 0 && c == quote:
			quote = 0
		default:
			if c == '\\' && quote == '"' && i+1 < len(expr) && (expr[i+1] == '"' || expr[i+1] == '\\') {
				i++
				c = expr[i]
			}
			b.WriteByte(c)
			t.quoted = append(t.quoted, quote != 0)
		}
	}
	t.text = b.String()
	return i
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// matcher tells whether a condition holds for a row, and whether that is known.
type matcher = func(*Row) (holds, known bool)

// parse makes the token's condition, and names the key it looks at.
func (t *filterToken) parse(now func() time.Time) (key string, m matcher, err error) {
	if t.regex {
		m, err = regexMatcher(t.text)
		return "", m, err
	}
	at, op := t.operator()
	if at < 0 {
		return "", wordMatcher(t.text), nil
	}
	name, value := strings.ToLower(t.text[:at]), t.text[at+len(op):]
	if name == "re" && op == ":" {
		m, err = regexMatcher(value)
		return "", m, err
	}
	spec, ok := filterKeys[name]
	if !ok {
		if isIPv6Like(t.text) {
			return "", wordMatcher(t.text), nil
		}
		return "", nil, noKey(name, op)
	}
	m, err = spec.parse(op, value, t.quoted[at+len(op):], now)
	return name, m, err
}

func noKey(name, op string) error {
	text := fmt.Sprintf("there is no key %q", name)
	if near := config.Nearest(name, filterKeyNames); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return fmt.Errorf("%s; the keys are %s; a word with %q in it goes in quotes", text, strings.Join(filterKeyNames, " "), op)
}

// operator finds the first operator after something that looks like a key,
// outside quotes; -1 when the term is a plain substring.
func (t *filterToken) operator() (at int, op string) {
	for i := 0; i < len(t.text); i++ {
		c := t.text[i]
		if t.quoted[i] {
			return -1, ""
		}
		if isKeyByte(c) {
			continue
		}
		if i == 0 {
			return -1, ""
		}
		for _, op := range []string{">=", "<=", "!=", "==", ">", "<", "=", ":"} {
			if strings.HasPrefix(t.text[i:], op) {
				return i, op
			}
		}
		return -1, ""
	}
	return -1, ""
}

func isKeyByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

package model

import (
	"fmt"
	"regexp"
	"strings"
)

func regexMatcher(pattern string) (matcher, error) {
	re, err := regexp.Compile("(?i)" + pattern)
	if err != nil {
		return nil, regexProblem(pattern, err)
	}
	return func(r *Row) (bool, bool) {
		return anyText(r, re.MatchString) || anyOf(r.Addresses, re.MatchString), true
	}, nil
}

// regexProblem names the part of pattern that RE2 refuses, and where it is.
func regexProblem(pattern string, err error) error {
	problem := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	problem = strings.ReplaceAll(problem, "(?i)", "")
	return fmt.Errorf("bad regular expression /%s/: %s", pattern, problem)
}

// anyText tries the texts that a person looks for a VM by, addresses aside.
func anyText(r *Row, match func(string) bool) bool {
	if match(r.Name) || match(r.Host) || (r.Title != "" && match(r.Title)) {
		return true
	}
	return anyOf(r.Tags, match)
}

func anyOf(list []string, match func(string) bool) bool {
	for _, s := range list {
		if match(s) {
			return true
		}
	}
	return false
}

// wordMatcher looks for a part of what names a VM. Only a word that looks like
// an address or a UUID is looked for in those: "db" is a name, though it is in
// every address of 2001:db8::/32 and begins many a UUID.
func wordMatcher(word string) matcher {
	needle := strings.ToLower(word)
	contains := func(hay string) bool { return containsFold(hay, needle) }
	address, id := addressMatcher(needle), isUUIDStart(needle)
	return func(r *Row) (bool, bool) {
		if anyText(r, contains) || (address != nil && anyOf(r.Addresses, address)) {
			return true, true
		}
		return id && strings.HasPrefix(r.UUID.String(), needle), true
	}
}

// minUUIDStart is the length of a UUID's first group: what is shorter is more
// likely meant for a name.
const minUUIDStart = 8

func isUUIDStart(lower string) bool {
	return len(lower) >= minUUIDStart && strings.Trim(lower, "0123456789abcdef-") == ""
}

// addressMatcher finds a part of an address that begins where one of its
// groups does, so that "01" is not found in 2001:db8::1. It is nil for a word
// that is no part of an address: digits and dots belong to IPv4, what has a
// colon too to IPv6.
func addressMatcher(lower string) func(string) bool {
	switch {
	case isIPv6Like(lower):
		return func(a string) bool { return atGroup(strings.ToLower(a), lower) }
	case isIPv4Like(lower):
		return func(a string) bool { return !strings.Contains(a, ":") && atGroup(a, lower) }
	}
	return nil
}

func isIPv4Like(s string) bool {
	return strings.Trim(s, "0123456789./") == "" && strings.ContainsAny(s, "0123456789") && s[0] != '/'
}

// isIPv6Like tells IPv6 and MAC addresses, and what is typed of one, from a
// key and its value: no key's name holds a digit.
func isIPv6Like(s string) bool {
	first, _, colon := strings.Cut(s, ":")
	return colon && strings.Trim(s, "0123456789abcdefABCDEF:./%") == "" &&
		(strings.ContainsAny(first, "0123456789") || strings.Count(s, ":") > 1)
}

// atGroup reports whether part is in address from the start of a group on; a
// part that begins with a separator may stand anywhere.
func atGroup(address, part string) bool {
	for at := 0; ; at++ {
		i := strings.Index(address[at:], part)
		if i < 0 {
			return false
		}
		at += i
		if at == 0 || isSeparator(part[0]) || isSeparator(address[at-1]) {
			return true
		}
	}
}

func isSeparator(c byte) bool { return c == '.' || c == ':' }

// containsFold is strings.Contains whatever the case; needle is lower case
// already. It allocates only for text that is not ASCII.
func containsFold(hay, needle string) bool {
	for i := 0; i < len(hay); i++ {
		if hay[i] >= 0x80 {
			return strings.Contains(strings.ToLower(hay), needle)
		}
	}
	for i := 0; i+len(needle) <= len(hay); i++ {
		if equalLower(hay[i:i+len(needle)], needle) {
			return true
		}
	}
	return false
}

func equalLower(s, lower string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

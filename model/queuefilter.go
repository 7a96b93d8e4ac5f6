package model

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"berth/backend"
	"berth/model/config"
)

// JobFilter chooses jobs of the queue. The zero JobFilter matches every job.
type JobFilter struct{ terms []jobTerm }

type jobTerm struct {
	not   bool
	match func(*backend.Job) bool
}

// Match reports whether every term holds for j.
func (f *JobFilter) Match(j *backend.Job) bool {
	for i := range f.terms {
		if f.terms[i].match(j) == f.terms[i].not {
			return false
		}
	}
	return true
}

// jobFilterKeys are the texts that a key looks at. The start of a word will do
// for a state and a reason, so that the list narrows while it is typed.
var jobFilterKeys = []struct {
	name, help string
	values     func() []string
	texts      func(*backend.Job) []string
}{
	{"host", "where it runs, is to run, or may only run", nil, func(j *backend.Job) []string { return []string{JobHost(j), j.Host, j.Home} }},
	{"id", "its number", nil, func(j *backend.Job) []string { return []string{fmt.Sprint(j.ID)} }},
	{"name", "the VM's name, with * and ? as wildcards", nil, func(j *backend.Job) []string { return []string{j.Name} }},
	{"owner", "who submitted it", nil, func(j *backend.Job) []string { return []string{j.Owner} }},
	{"reason", "why it waits: the start of the word will do", jobReasons, func(j *backend.Job) []string { return []string{string(j.Why.Code)} }},
	{"state", "its state: the start of the word will do", jobStates, func(j *backend.Job) []string { return []string{string(j.State)} }},
	{"tag", "one of its tags", nil, func(j *backend.Job) []string { return j.Tags }},
}

func jobStates() []string {
	var out []string
	for _, s := range backend.JobStates() {
		out = append(out, string(s))
	}
	return out
}

func jobReasons() []string {
	var out []string
	for _, c := range []backend.ReasonCode{backend.WhyPriority, backend.WhyResources, backend.WhyReservation, backend.WhyNPlus1, backend.WhyAffinity,
		backend.WhyHeld, backend.WhyBeginTime, backend.WhyDependency, backend.WhyHostDown, backend.WhyMaintenance, backend.WhyDiskLocked,
		backend.WhyNeverFits, backend.WhyQuota, backend.WhyRetry, backend.WhyEngine} {
		out = append(out, string(c))
	}
	return out
}

// JobFilterKeys returns the keys that ParseJobFilter knows, by name.
func JobFilterKeys() []FilterKey {
	var out []FilterKey
	for _, k := range jobFilterKeys {
		f := FilterKey{Name: k.name, Help: k.help}
		if k.values != nil {
			f.Values = k.values()
		}
		out = append(out, f)
	}
	return out
}

// ParseJobFilter reads the filter of the queue, in the form of ParseFilter:
// words and /regular expressions/ over names, states, hosts, tags, owners and
// reasons, and key:value for one of them. The error is a *FilterError.
func ParseJobFilter(expr string) (JobFilter, error) {
	var f JobFilter
	for _, tok := range filterTokens(expr) {
		match, err := jobTermOf(&tok)
		if err != nil {
			return JobFilter{}, &FilterError{Pos: tok.pos, Term: tok.raw, Problem: err.Error()}
		}
		f.terms = append(f.terms, jobTerm{not: tok.not, match: match})
	}
	return f, nil
}

func jobTermOf(t *filterToken) (func(*backend.Job) bool, error) {
	if t.regex {
		re, err := regexp.Compile("(?i)" + t.text)
		if err != nil {
			return nil, regexProblem(t.text, err)
		}
		return func(j *backend.Job) bool { return anyJobText(j, re.MatchString) }, nil
	}
	at, op := t.operator()
	if at < 0 {
		needle := strings.ToLower(t.text)
		return func(j *backend.Job) bool {
			return anyJobText(j, func(s string) bool { return containsFold(s, needle) })
		}, nil
	}
	return jobKeyTerm(strings.ToLower(t.text[:at]), op, t.text[at+len(op):], t.quoted[at+len(op):])
}

func jobKeyTerm(name, op, value string, quoted []bool) (func(*backend.Job) bool, error) {
	var names []string
	for _, k := range jobFilterKeys {
		names = append(names, k.name)
		if k.name != name {
			continue
		}
		if op != ":" && op != "=" && op != "==" && op != "!=" {
			return nil, errors.New("it is no number: write key:value")
		}
		match, err := jobValues(value, quoted, k.values)
		if err != nil {
			return nil, err
		}
		texts, want := k.texts, op != "!="
		return func(j *backend.Job) bool { return anyOf(texts(j), match) == want }, nil
	}
	text := fmt.Sprintf("there is no key %q", name)
	if near := config.Nearest(name, names); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return nil, fmt.Errorf("%s; the keys are %s", text, strings.Join(names, " "))
}

// jobValues matches any of the values between commas.
func jobValues(value string, quoted []bool, known func() []string) (func(string) bool, error) {
	var any []func(string) bool
	for _, v := range splitUnquoted(value, quoted) {
		switch {
		case v == "":
		case known == nil:
			any = append(any, textMatcher(v, false))
		default:
			begins := func(s string) bool { return len(s) >= len(v) && strings.EqualFold(s[:len(v)], v) }
			if !slices.ContainsFunc(known(), begins) {
				return nil, fmt.Errorf("%q is none of %s", v, strings.Join(known(), " "))
			}
			any = append(any, begins)
		}
	}
	if len(any) == 0 {
		return nil, errors.New("a value is missing")
	}
	return func(s string) bool {
		for _, m := range any {
			if m(s) {
				return true
			}
		}
		return false
	}, nil
}

func anyJobText(j *backend.Job, match func(string) bool) bool {
	return match(j.Name) || match(string(j.State)) || match(JobHost(j)) || match(j.Owner) || match(j.Why.String()) || anyOf(j.Tags, match)
}

package model

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

// FilterKey describes one key of filter expressions, for help and completion.
type FilterKey struct {
	Name   string
	Help   string
	Values []string // what may follow, where that is a short list
}

// FilterKeys returns the keys that ParseFilter knows, by name.
func FilterKeys() []FilterKey {
	out := make([]FilterKey, 0, len(filterKeyNames))
	for _, name := range filterKeyNames {
		k := filterKeys[name]
		out = append(out, FilterKey{Name: name, Help: k.help, Values: k.values})
	}
	return out
}

// keySpec is one key. Of text, texts, flag, number, since and special exactly one is set.
type keySpec struct {
	help   string
	values []string

	text  func(*Row) string   // compared as text
	texts func(*Row) []string // the same, any of several
	loose bool                // a value without wildcard matches a part
	flag  func(*Row) bool
	// number is compared as a number in the unit; NaN is unknown.
	number  func(*Row) float64
	since   func(*Row) time.Time // its age is compared as a number of seconds; zero is unknown
	unit    numberUnit
	special func(value string) (matcher, error) // for ':' '=' '!='
}

var yesNoValues = []string{"yes", "no"}

// filterKeys is filled by init because the keys' parsers refer back to it.
var (
	filterKeys     map[string]*keySpec
	filterKeyNames []string
)

func init() {
	filterKeys = map[string]*keySpec{
		"name":  {help: "its name, with * and ? as wildcards", text: func(r *Row) string { return r.Name }},
		"host":  {help: "the host it is on", text: func(r *Row) string { return r.Host }},
		"tag":   {help: "one of its tags", texts: func(r *Row) []string { return r.Tags }},
		"uuid":  {help: "the start of its UUID", special: uuidMatcher},
		"title": {help: "a part of its title", loose: true, text: func(r *Row) string { return r.Title }},
		"os":    {help: "a part of its operating system's name", loose: true, text: func(r *Row) string { return r.OS }},
		"reason": {help: "a part of the reason for its state", loose: true,
			text: func(r *Row) string { return r.Reason }},
		"queue": {help: "a part of what the queue says of it: queue:reserved", loose: true, text: func(r *Row) string { return r.Queued }},
		"backup": {help: "how well it is backed up: fresh, old, damaged, none", values: []string{"fresh", "old", "damaged", "none"},
			text: func(r *Row) string { return strings.ToLower(r.Backup.Fresh.String()) }},
		"backup_age": {help: "age of its last good backup: 26h 3d", unit: unitDuration,
			since: func(r *Row) time.Time { return r.Backup.Good }},
		"note": {help: "a part of its note", loose: true, text: func(r *Row) string { return r.Note }},
		"ip":   {help: "the start of an address, or a network as 10.0.0.0/8", special: ipMatcher},
		"state": {help: "its state; the start of its word will do", special: stateMatcher,
			values: stateWords},
		"autostart":   {help: "whether it starts with the host", values: yesNoValues, flag: func(r *Row) bool { return r.Autostart }},
		"persistent":  {help: "whether it is defined on disk", values: yesNoValues, flag: func(r *Row) bool { return r.Persistent }},
		"saved":       {help: "whether a saved state waits", values: yesNoValues, flag: func(r *Row) bool { return r.ManagedSave }},
		"agent":       {help: "whether it has a guest agent channel", values: yesNoValues, flag: func(r *Row) bool { return r.HasAgent }},
		"stuck":       {help: "whether its QEMU does not answer", values: yesNoValues, flag: func(r *Row) bool { return !r.StuckSince.IsZero() }},
		"cpu":         {help: "CPU in percent of one core", unit: unitPercent, number: func(r *Row) float64 { return r.Rates.CPU }},
		"cpu_own":     {help: "CPU in percent of its vCPUs", unit: unitPercent, number: (*Row).CPUOfOwn},
		"mem":         {help: "memory used: bytes (2G) or percent of its maximum (80%)", unit: unitMemory, number: memUsed},
		"mem_percent": {help: "memory used in percent of its maximum", unit: unitPercent, number: (*Row).MemoryPercent},
		"stale":       {help: "age of its oldest figure: 10s 5m", unit: unitDuration, since: OldestFigure},
		"vcpu":        {help: "virtual CPUs", unit: unitCount, number: vcpus},
		"disk_read":   {help: "bytes read each second", unit: unitBytes, number: func(r *Row) float64 { return r.Rates.DiskRead }},
		"disk_write":  {help: "bytes written each second", unit: unitBytes, number: func(r *Row) float64 { return r.Rates.DiskWrite }},
		"disk_ops":    {help: "disk requests each second", unit: unitCount, number: diskOps},
		"net_rx":      {help: "bytes received each second", unit: unitBytes, number: func(r *Row) float64 { return r.Rates.NetRx }},
		"net_tx":      {help: "bytes sent each second", unit: unitBytes, number: func(r *Row) float64 { return r.Rates.NetTx }},
		"uptime":      {help: "time since it started: 90s 15m 2h 3d", unit: unitDuration, since: startedAt},
		"snapshots":   {help: "number of snapshots", unit: unitCount, number: snapshots},
		"disks":       {help: "number of disks", unit: unitCount, number: func(r *Row) float64 { return fact(r, r.Disks) }},
		"nics":        {help: "number of network cards", unit: unitCount, number: func(r *Row) float64 { return fact(r, r.NICs) }},
		"id":          {help: "libvirt's number for it", unit: unitCount, number: domainID},
	}
	for name := range filterKeys {
		filterKeyNames = append(filterKeyNames, name)
	}
	sort.Strings(filterKeyNames)
}

// parse makes the condition `key op value`.
func (k *keySpec) parse(op, value string, quoted []bool, now func() time.Time) (matcher, error) {
	if value == "" {
		return nil, k.missing()
	}
	if k.number != nil || k.since != nil {
		return k.compare(op, value, now)
	}
	not := op == "!="
	if op != ":" && op != "=" && op != "==" && !not {
		return nil, errors.New("it is no number: write key:value")
	}
	var alternatives []matcher
	for _, v := range splitUnquoted(value, quoted) {
		if v == "" {
			continue // as after "state:running," while the next is typed
		}
		m, err := k.equals(v)
		if err != nil {
			return nil, err
		}
		alternatives = append(alternatives, m)
	}
	if len(alternatives) == 0 {
		return nil, k.missing()
	}
	return func(r *Row) (bool, bool) {
		for _, m := range alternatives {
			if holds, _ := m(r); holds {
				return !not, true
			}
		}
		return not, true
	}, nil
}

// missing says what should follow the operator.
func (k *keySpec) missing() error {
	if len(k.values) > 0 {
		return fmt.Errorf("a value is missing: %s", strings.Join(k.values, " "))
	}
	return fmt.Errorf("a value is missing: %s", k.help)
}

// splitUnquoted splits s at commas outside quotes.
func splitUnquoted(s string, quoted []bool) []string {
	var out []string
	start := 0
	for i := 0; i < len(s); i++ {
		if s[i] == ',' && !quoted[i] {
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

func (k *keySpec) equals(value string) (matcher, error) {
	switch {
	case k.special != nil:
		return k.special(value)
	case k.flag != nil:
		want, err := parseYesNo(value)
		if err != nil {
			return nil, err
		}
		return func(r *Row) (bool, bool) { return k.flag(r) == want, true }, nil
	}
	match := textMatcher(value, k.loose)
	if k.text != nil {
		return func(r *Row) (bool, bool) { return match(k.text(r)), true }, nil
	}
	return func(r *Row) (bool, bool) {
		for _, s := range k.texts(r) {
			if match(s) {
				return true, true
			}
		}
		return false, true
	}, nil
}

// textMatcher compares with a value that may hold * and ?. Case is ignored.
func textMatcher(value string, loose bool) func(string) bool {
	if strings.ContainsAny(value, "*?") {
		p := regexp.QuoteMeta(value)
		p = strings.ReplaceAll(strings.ReplaceAll(p, `\*`, ".*"), `\?`, ".")
		// QuoteMeta leaves nothing that could fail to compile, bytes that are
		// not UTF-8 aside; those match nothing.
		re, err := regexp.Compile("(?is)^" + p + "$")
		if err != nil {
			return func(string) bool { return false }
		}
		return re.MatchString
	}
	if loose {
		lower := strings.ToLower(value)
		return func(s string) bool { return containsFold(s, lower) }
	}
	return func(s string) bool { return strings.EqualFold(s, value) }
}

func parseYesNo(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "yes", "y", "true", "on", "1":
		return true, nil
	case "no", "n", "false", "off", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither yes nor no", s)
}

func uuidMatcher(value string) (matcher, error) {
	prefix := strings.ToLower(value)
	return func(r *Row) (bool, bool) { return strings.HasPrefix(r.UUID.String(), prefix), true }, nil
}

// ipMatcher takes a network in CIDR form, wildcards, or an address's start.
func ipMatcher(value string) (matcher, error) {
	match := func(a string) bool { return strings.HasPrefix(strings.ToLower(a), strings.ToLower(value)) }
	if network, err := netip.ParsePrefix(value); err == nil {
		match = func(a string) bool {
			bare, _, _ := strings.Cut(a, "/")
			addr, err := netip.ParseAddr(bare)
			return err == nil && network.Contains(addr)
		}
	} else if strings.ContainsAny(value, "*?") {
		match = textMatcher(value, false)
	}
	return func(r *Row) (bool, bool) {
		for _, a := range r.Addresses {
			if match(a) {
				return true, true
			}
		}
		return false, true
	}, nil
}

// numberUnit says how a key's numbers are written.
type numberUnit uint8

const (
	unitCount numberUnit = iota
	unitPercent
	unitBytes
	unitMemory // bytes, or percent of the maximum
	unitDuration
)

// compare makes the condition `key op number`.
func (k *keySpec) compare(op, value string, now func() time.Time) (matcher, error) {
	want, percent, err := parseNumber(value, k.unit)
	if err != nil {
		return nil, err
	}
	number := k.number
	switch {
	case percent:
		number = (*Row).MemoryPercent
	case k.since != nil:
		number = func(r *Row) float64 { return secondsBetween(k.since(r), now()) }
	}
	var test func(float64) bool
	switch op {
	case ">":
		test = func(v float64) bool { return v > want }
	case ">=":
		test = func(v float64) bool { return v >= want }
	case "<":
		test = func(v float64) bool { return v < want }
	case "<=":
		test = func(v float64) bool { return v <= want }
	case "!=":
		test = func(v float64) bool { return v != want }
	default:
		test = func(v float64) bool { return v == want }
	}
	return func(r *Row) (bool, bool) {
		v := number(r)
		return test(v), !math.IsNaN(v)
	}, nil
}

// parseNumber reads "50", "80%", "2G", "1.5MiB/s" or "2h30m" in the given unit.
func parseNumber(s string, unit numberUnit) (v float64, percent bool, err error) {
	if unit == unitDuration {
		v, err = parseSeconds(s)
		return v, false, err
	}
	low := strings.TrimSuffix(strings.ToLower(s), "/s")
	num := strings.TrimRight(low, "kmgtpib%")
	suffix := low[len(num):]
	v, err = strconv.ParseFloat(num, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, false, fmt.Errorf("%q is not a number", s)
	}
	if suffix == "%" && (unit == unitPercent || unit == unitMemory) {
		return v, unit == unitMemory, nil
	}
	if suffix == "" {
		if unit == unitMemory && v != 0 {
			return 0, false, fmt.Errorf("%s of what? write %s%% or %sG", s, s, s)
		}
		return v, false, nil
	}
	if unit == unitPercent {
		return 0, false, fmt.Errorf("%q is not a percentage", s)
	}
	return scaleBytes(v, suffix, s)
}

func scaleBytes(v float64, suffix, s string) (float64, bool, error) {
	bare := strings.TrimSuffix(strings.TrimSuffix(suffix, "b"), "i")
	if len(bare) > 1 || (bare == "" && suffix != "b") {
		return 0, false, fmt.Errorf("%q has no known unit; the units are K M G T P, of 1024", s)
	}
	if bare != "" {
		v *= math.Pow(1024, float64(strings.Index("kmgtp", bare)+1))
	}
	return v, false, nil
}

// parseSeconds reads a duration in time.ParseDuration's form, with days and
// weeks before it: "1w2d", "90s", "2h30m". A bare number is seconds.
func parseSeconds(s string) (float64, error) {
	rest, total := strings.ToLower(s), 0.0
	for _, u := range []struct {
		name    string
		seconds float64
	}{{"w", 7 * 86400}, {"d", 86400}} {
		head, tail, ok := strings.Cut(rest, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(head, 64)
		if err != nil {
			return 0, durationProblem(s)
		}
		total, rest = total+n*u.seconds, tail
	}
	if rest == "" {
		return total, nil
	}
	if n, err := strconv.ParseFloat(rest, 64); err == nil {
		return total + n, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil {
		return 0, durationProblem(s)
	}
	return total + d.Seconds(), nil
}

func durationProblem(s string) error {
	return fmt.Errorf("%q is not a time; write 90s, 15m, 2h or 3d", s)
}

func secondsBetween(from, to time.Time) float64 {
	if from.IsZero() {
		return math.NaN()
	}
	return to.Sub(from).Seconds()
}

// fact is a number from the definition, unknown until that was read.
func fact(r *Row, n int) float64 {
	if r.FactsAt.IsZero() {
		return math.NaN()
	}
	return float64(n)
}

package config

import (
	"math"
	"strconv"
)

// hostRule is a setting that all hosts have and each may override.
type hostRule struct {
	name, help string
	set        func(*HostRules, node) error
	override   func(*HostOverrides, node) error
	show       func(*HostRules) string
	own        func(*HostOverrides) string // empty: as for all
}

func (r hostRule) setting() Setting {
	return Setting{
		set:  func(c *Config, n node) error { return r.set(&c.Queue.Rules, n) },
		show: func(s *Settings) string { return r.show(&s.Queue.Rules) },
	}
}

// rule makes a hostRule of a field, its override, and how it is read and shown.
func rule[T any](name, help string, field func(*HostRules) *T, own func(*HostOverrides) **T, read func(node) (T, error), show func(T) string) hostRule {
	return hostRule{
		name: name, help: help,
		set: func(r *HostRules, n node) error {
			v, err := read(n)
			if err == nil {
				*field(r) = v
			}
			return err
		},
		override: func(o *HostOverrides, n node) error {
			v, err := read(n)
			if err == nil {
				*own(o) = &v
			}
			return err
		},
		show: func(r *HostRules) string { return show(*field(r)) },
		own: func(o *HostOverrides) string {
			if v := *own(o); v != nil {
				return show(*v)
			}
			return ""
		},
	}
}

var hostRules = []hostRule{
	rule("cpu_overcommit", "vCPUs for each logical CPU of a host: idle VMs cost no CPU, so more than one; beyond 4 busy ones wait noticeably",
		func(r *HostRules) *float64 { return &r.CPUOvercommit }, func(o *HostOverrides) **float64 { return &o.CPUOvercommit }, node.ratio, numberText),
	rule("memory_reserve", "memory kept for the host itself: a size, a percentage, or both for the greater",
		func(r *HostRules) *Amount { return &r.MemoryReserve }, func(o *HostOverrides) **Amount { return &o.MemoryReserve }, node.amount, Amount.String),
	rule("memory_overcommit", "how often the memory beside the reserve is given away; more than 1 needs swap or KSM",
		func(r *HostRules) *float64 { return &r.MemoryOvercommit }, func(o *HostOverrides) **float64 { return &o.MemoryOvercommit }, node.ratio, numberText),
	rule("disk_reserve", "percentage of the storage kept free",
		func(r *HostRules) *float64 { return &r.DiskReserve }, func(o *HostOverrides) **float64 { return &o.DiskReserve }, node.percent, percentText),
	rule("fence", "shell command that makes sure a lost host is off, and ends with status 0 only then; $BERTH_HOST is its name. A stopped libvirtd looks like a lost host: drain one before you work on it, it is not fenced then",
		func(r *HostRules) *string { return &r.Fence }, func(o *HostOverrides) **string { return &o.Fence }, node.word, func(s string) string { return s }),
}

func hostRuleNames() []string {
	var names []string
	for _, r := range hostRules {
		names = append(names, r.name)
	}
	return names
}

// maxOvercommit is far beyond use; what is above is a slip of the keyboard.
const maxOvercommit = 1000

// ratio is a number above 0.
func (n node) ratio() (float64, error) {
	s, err := n.word()
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || v <= 0 || v > maxOvercommit {
		return 0, n.errorf("%q is not an overcommit ratio; write a number above 0, as 1 or 4 or 1.5", s)
	}
	return v, nil
}

func (n node) percent() (float64, error) {
	s, err := n.word()
	if err != nil {
		return 0, err
	}
	v, err := parsePercent(s)
	if err != nil {
		return 0, n.errorf("%v", err)
	}
	return v, nil
}

// amount reads "2G", "5%", or both.
func (n node) amount() (Amount, error) {
	words, err := n.words()
	if err != nil {
		return Amount{}, err
	}
	var a Amount
	for _, w := range words {
		if v, err := parsePercent(w.text); err == nil {
			a.Percent = v
			continue
		}
		v, err := ParseSize(w.text)
		if err != nil {
			return a, w.errorf("%q is neither a size nor a percentage; write 2G, 5%%, or both for the greater", w.text)
		}
		a.Bytes = v
	}
	if len(words) == 0 {
		return a, n.errorf("expected a size or a percentage")
	}
	return a, nil
}

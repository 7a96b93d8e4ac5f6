package config

import (
	"maps"
	"slices"
	"strings"
	"time"

	"berth/backend"
)

// Queue are the settings of the queue and of the engine that starts its VMs.
type Queue struct {
	// Policy is in force until somebody sets another with `berth queue policy`
	// or on the screen; that one is kept with the queue. A word that is empty
	// is the queue's own default.
	Policy backend.QueuePolicy
	// Rules hold for every host that Hosts does not say otherwise of.
	Rules HostRules
	Hosts map[string]HostOverrides // by the host's name

	Idle      time.Duration // after which an engine without work ends; 0: never
	StopGrace time.Duration // how long a guest may take to shut down before its power is cut
	SaveGrace time.Duration // how long writing a preempted guest's memory may take
	LostGrace time.Duration // how long a host is waited for before it counts as lost
	Keep      time.Duration // how long ended jobs are remembered; 0: for ever
}

// HostRules say how much of a host the queue may give to VMs, and how to make
// sure that a lost host is off.
type HostRules struct {
	CPUOvercommit    float64 // vCPUs for each logical CPU
	MemoryOvercommit float64 // of what the reserve leaves
	MemoryReserve    Amount  // kept for the host itself
	DiskReserve      float64 // percent of the storage kept free
	// Fence is a shell command that ends with status 0 when the host is off for
	// sure. Empty: a person has to say so.
	Fence string
}

// HostOverrides are the rules that differ for one host; nil: as for all.
type HostOverrides struct {
	CPUOvercommit    *float64
	MemoryOvercommit *float64
	MemoryReserve    *Amount
	DiskReserve      *float64
	Fence            *string
}

// defaultQueue are the settings of the queue when nothing says anything.
//
// Four vCPUs share a logical CPU because VMs are idle most of the time and an
// idle vCPU costs nothing: Nova came down from 16 to 4 for what is safe with
// work of unknown kind, and what hurts first, waiting for a CPU, is only slow.
// Memory is not shared out twice: what hurts then is the OOM killer.
func defaultQueue() Queue {
	return Queue{
		Rules: HostRules{
			CPUOvercommit: 4, MemoryOvercommit: 1,
			MemoryReserve: Amount{Bytes: 512 << 20, Percent: 5}, DiskReserve: 5,
		},
		Idle: 10 * time.Minute, StopGrace: 2 * time.Minute, SaveGrace: 15 * time.Minute,
		LostGrace: 2 * time.Minute, Keep: 30 * 24 * time.Hour,
	}
}

// For returns the rules of the host of that name.
func (q *Queue) For(host string) HostRules {
	r, o := q.Rules, q.Hosts[host]
	override(&r.CPUOvercommit, o.CPUOvercommit)
	override(&r.MemoryOvercommit, o.MemoryOvercommit)
	override(&r.MemoryReserve, o.MemoryReserve)
	override(&r.DiskReserve, o.DiskReserve)
	override(&r.Fence, o.Fence)
	return r
}

func override[T any](to, by *T) {
	if by != nil {
		*to = *by
	}
}

// queueGroup is the key under which config files keep these settings.
const queueGroup = "queue"

// queueSettings describe them; their names begin with the group's.
func queueSettings() []Setting {
	yes := func(field func(*Queue) *bool) Setting {
		return Setting{Values: booleans,
			set:  setBool(func(s *Settings) *bool { return field(&s.Queue) }),
			show: func(s *Settings) string { return map[bool]string{true: "true", false: "false"}[*field(&s.Queue)] }}
	}
	list := []Setting{
		named("order", "which job is next", policyWord("order", func(k *Known) []string { return k.Orders }, func(p *backend.QueuePolicy) *string { return &p.Order })),
		named("backfill", "which jobs may overtake", policyWord("backfill", func(k *Known) []string { return k.Backfills }, func(p *backend.QueuePolicy) *string { return &p.Backfill })),
		named("placement", "which of the hosts that have room", policyWord("placement", func(k *Known) []string { return k.Placements }, func(p *backend.QueuePolicy) *string { return &p.Placement })),
		named("preempt", "put preemptible VMs aside for much more important ones", yes(func(q *Queue) *bool { return &q.Policy.Preempt })),
		named("nplus1", "keep room for the VMs of any one host that fails", yes(func(q *Queue) *bool { return &q.Policy.NPlus1 })),
	}
	for _, r := range hostRules {
		list = append(list, named(r.name, r.help, r.setting()))
	}
	return append(list,
		named("hosts", "the five above for single hosts, by their names", Setting{set: setQueueHosts, show: showQueueHosts}),
		named("idle", "after which an engine without work ends; 0: never", span(func(q *Queue) *time.Duration { return &q.Idle })),
		named("stop_grace", "time for a guest to shut down before its power is cut, at its limit; one that is cancelled is asked again, for only force cuts its power", span(func(q *Queue) *time.Duration { return &q.StopGrace })),
		named("save_grace", "time to write a preempted guest's memory to disk, before it is asked to shut down instead", span(func(q *Queue) *time.Duration { return &q.SaveGrace })),
		named("lost_grace", "time to wait for a host that does not answer before it counts as lost", span(func(q *Queue) *time.Duration { return &q.LostGrace })),
		named("keep", "how long ended jobs are remembered; 0: for ever", span(func(q *Queue) *time.Duration { return &q.Keep })),
	)
}

func named(name, help string, s Setting) Setting {
	s.Name, s.Help = queueGroup+"."+name, help
	return s
}

// policyWord is one of the words that package queue knows.
func policyWord(what string, words func(*Known) []string, field func(*backend.QueuePolicy) *string) Setting {
	set := func(c *Config, n node) error {
		s, err := n.word()
		if err != nil {
			return err
		}
		s = strings.ToLower(s)
		if allowed := words(&c.known); allowed != nil && !slices.Contains(allowed, s) {
			return n.errorf("%s", unknownKey(what, s, allowed))
		}
		*field(&c.Queue.Policy) = s
		return nil
	}
	return Setting{set: set, show: func(s *Settings) string { return *field(&s.Queue.Policy) }}
}

// span is a time of which nothing, 0, is a value too.
func span(field func(*Queue) *time.Duration) Setting {
	set := func(c *Config, n node) error {
		s, err := n.word()
		if err != nil {
			return err
		}
		d, err := ParseDuration(s)
		if err != nil {
			return n.errorf("%v", err)
		}
		*field(&c.Queue) = d
		return nil
	}
	return Setting{set: set, show: func(s *Settings) string { return DurationText(*field(&s.Queue)) }}
}

// setQueueHosts reads overrides; those of a stronger file replace a weaker
// one's for the same host and leave other hosts alone.
func setQueueHosts(c *Config, n node) error {
	if n.kind != mapping {
		return n.errorf("expected host names with their settings below them")
	}
	all := maps.Clone(c.Queue.Hosts)
	if all == nil {
		all = map[string]HostOverrides{}
	}
	for _, p := range n.pairs {
		if p.value.kind != mapping {
			return &valueError{line: p.line, problem: "expected settings below " + p.key + ": " + strings.Join(hostRuleNames(), " ")}
		}
		var o HostOverrides
		for _, rule := range p.value.pairs {
			i := slices.IndexFunc(hostRules, func(r hostRule) bool { return r.name == rule.key })
			if i < 0 {
				return &valueError{line: rule.line, problem: unknownKey("setting of a host", rule.key, hostRuleNames())}
			}
			if err := hostRules[i].override(&o, rule.value); err != nil {
				return err
			}
		}
		all[p.key] = o
	}
	c.Queue.Hosts = all
	return nil
}

func showQueueHosts(s *Settings) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.Queue.Hosts)) {
		o := s.Queue.Hosts[name]
		var own []string
		for _, r := range hostRules {
			if text := r.own(&o); text != "" {
				own = append(own, r.name+"="+text)
			}
		}
		out = append(out, name+"("+strings.Join(own, " ")+")")
	}
	return strings.Join(out, " ")
}

// QueueMarkdown is the table of the queue's settings, for the README.
func QueueMarkdown() string { return settingsMarkdown(queueGroup, queueSettings()) }

// settingsMarkdown is the table of a group's settings.
func settingsMarkdown(group string, settings []Setting) string {
	var b strings.Builder
	b.WriteString("| below `" + group + ":` | default | what |\n|---|---|---|\n")
	defaults := Defaults()
	for _, s := range settings {
		text := s.Show(&defaults)
		if text != "" {
			text = "`" + text + "`"
		}
		b.WriteString("| `" + strings.TrimPrefix(s.Name, group+".") + "` | " + text + " | " + s.Help + " |\n")
	}
	return b.String()
}

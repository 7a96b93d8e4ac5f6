package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/backend"
)

// Backup are the settings of backups and of the engine that makes them.
type Backup struct {
	// Repo is the repository when nothing else names one: a folder's path, or
	// sftp://[user@]host[:port]/path. A ~ at its start is the home folder.
	Repo string
	// PassphraseFile and IdentityFile are where its secret is; empty: it is
	// asked for, or not encrypted.
	PassphraseFile string
	IdentityFile   string
	// Fresh is how old a VM's last backup may be before it stands out.
	Fresh time.Duration
	// JobsPerHost and JobsPerRepo bound how many transfers run at once.
	JobsPerHost int
	JobsPerRepo int
	// Limit is how fast each backup reads, in bytes a second; 0: no limit.
	Limit int64
	// Keep is the retention of berth backup forget when it is given no rule.
	Keep backend.Retention
}

// defaultBackup are the settings of backups when nothing says anything.
//
// A backup made each night is a day old when the next begins: two hours more let
// that one take its time.
func defaultBackup() Backup {
	return Backup{Fresh: 26 * time.Hour, JobsPerHost: backend.DefaultJobsPerHost, JobsPerRepo: backend.DefaultJobsPerRepo}
}

// backupGroup is the key under which config files keep these settings.
const backupGroup = "backup"

// backupSettings describe them; their names begin with the group's.
func backupSettings() []Setting {
	below := func(name, help string, set func(*Config, node) error, show func(*Backup) string) Setting {
		return Setting{Name: backupGroup + "." + name, Help: help, set: set, show: func(s *Settings) string { return show(&s.Backup) }}
	}
	text := func(name, help string, field func(*Backup) *string) Setting {
		return below(name, help, setText(func(s *Settings) *string { return field(&s.Backup) }), func(b *Backup) string { return *field(b) })
	}
	count := func(name, help string, field func(*Backup) *int) Setting {
		return below(name, help, setCount(field), func(b *Backup) string { return strconv.Itoa(*field(b)) })
	}
	return []Setting{
		text("repo", "the repository when neither --repo nor BERTH_REPO names one: a folder, or sftp://[user@]host[:port]/path", func(b *Backup) *string { return &b.Repo }),
		text("passphrase_file", "file whose first line is the repository's passphrase, for its owner's eyes alone", func(b *Backup) *string { return &b.PassphraseFile }),
		text("identity_file", "file with an age identity that opens the repository", func(b *Backup) *string { return &b.IdentityFile }),
		below("fresh", "how old a VM's last backup may be before it stands out", setFresh, func(b *Backup) string { return DurationText(b.Fresh) }),
		count("jobs_per_host", "backups of one host at a time", func(b *Backup) *int { return &b.JobsPerHost }),
		count("jobs_per_repo", "backups to one repository at a time", func(b *Backup) *int { return &b.JobsPerRepo }),
		below("limit", "how much each backup reads a second, as 50M; 0: as fast as it goes", setBackupLimit, func(b *Backup) string { return limitText(b.Limit) }),
		below("keep", "which points berth backup forget keeps when it is given no rule, as last=3 daily=7 weekly=4 monthly=6; hourly, yearly, within=30d and tag=NAME are rules too",
			setKeep, func(b *Backup) string { return RetentionText(b.Keep) }),
	}
}

func limitText(n int64) string {
	if n == 0 {
		return "0"
	}
	return sizeText(uint64(n))
}

func setFresh(c *Config, n node) error {
	s, err := n.word()
	if err != nil {
		return err
	}
	d, err := ParseDuration(s)
	if err != nil {
		return n.errorf("%v", err)
	}
	if d == 0 {
		return n.errorf("%s is too short; write 26h or 8d", s)
	}
	c.Backup.Fresh = d
	return nil
}

// maxJobs is far beyond use; what is above is a slip of the keyboard.
const maxJobs = 64

func setCount(field func(*Backup) *int) func(*Config, node) error {
	return func(c *Config, n node) error {
		s, err := n.word()
		if err != nil {
			return err
		}
		v, err := strconv.Atoi(s)
		if err != nil || v < 1 || v > maxJobs {
			return n.errorf("%q is not a number of jobs; use 1 to %d", s, maxJobs)
		}
		*field(&c.Backup) = v
		return nil
	}
}

func setBackupLimit(c *Config, n node) error {
	s, err := n.word()
	if err != nil {
		return err
	}
	v, err := ParseSize(strings.TrimSuffix(s, "/s"))
	if err != nil {
		return n.errorf("%v", err)
	}
	c.Backup.Limit = int64(v)
	return nil
}

// setKeep reads rules as a mapping (last: 3) or in one line (last=3 tag=gold).
func setKeep(c *Config, n node) error {
	var keep backend.Retention
	if n.kind == mapping {
		for _, p := range n.pairs {
			values, err := p.value.words()
			if err != nil {
				return err
			}
			for _, v := range values {
				if err := AddRule(&keep, p.key, v.text); err != nil {
					return &valueError{line: p.line, problem: err.Error()}
				}
			}
		}
		c.Backup.Keep = keep
		return nil
	}
	rules, err := n.words()
	if err != nil {
		return err
	}
	for _, r := range rules {
		name, value, ok := strings.Cut(r.text, "=")
		if !ok {
			return r.errorf("%q is not a rule; write last=3 daily=7 (rules: %s)", r.text, strings.Join(ruleNames(), " "))
		}
		if err := AddRule(&keep, name, value); err != nil {
			return r.errorf("%v", err)
		}
	}
	c.Backup.Keep = keep
	return nil
}

// keepCounts are the rules that keep a number of points, in the order in which
// they are told.
var keepCounts = []struct {
	name  string
	field func(*backend.Retention) *int
}{
	{"last", func(r *backend.Retention) *int { return &r.Last }},
	{"hourly", func(r *backend.Retention) *int { return &r.Hourly }},
	{"daily", func(r *backend.Retention) *int { return &r.Daily }},
	{"weekly", func(r *backend.Retention) *int { return &r.Weekly }},
	{"monthly", func(r *backend.Retention) *int { return &r.Monthly }},
	{"yearly", func(r *backend.Retention) *int { return &r.Yearly }},
}

func ruleNames() []string {
	var names []string
	for _, k := range keepCounts {
		names = append(names, k.name)
	}
	return append(names, "within", "tag")
}

// AddRule adds one rule to a retention: a count ("last", "daily", ...), "within"
// a time, or a "tag".
func AddRule(to *backend.Retention, name, value string) error {
	for _, k := range keepCounts {
		if k.name != name {
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > 100_000 {
			return fmt.Errorf("%s: %q is not a number of points", name, value)
		}
		*k.field(to) = n
		return nil
	}
	switch name {
	case "within":
		d, err := ParseDuration(value)
		if err != nil {
			return err
		}
		to.Within = d
		return nil
	case "tag", "tags":
		if value == "" {
			return fmt.Errorf("tag: expected a name")
		}
		if !slices.Contains(to.Tags, value) {
			to.Tags = append(to.Tags, value)
		}
		return nil
	}
	return fmt.Errorf("%s", unknownKey("rule", name, ruleNames()))
}

// RetentionText writes a retention in one line, as config files may.
func RetentionText(r backend.Retention) string {
	var parts []string
	for _, k := range keepCounts {
		if n := *k.field(&r); n > 0 {
			parts = append(parts, k.name+"="+strconv.Itoa(n))
		}
	}
	if r.Within > 0 {
		parts = append(parts, "within="+DurationText(r.Within))
	}
	for _, t := range r.Tags {
		parts = append(parts, "tag="+t)
	}
	return strings.Join(parts, " ")
}

// BackupMarkdown is the table of the settings of backups, for the README.
func BackupMarkdown() string {
	return settingsMarkdown(backupGroup, backupSettings())
}

package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

func loadBackup(t *testing.T, text string) (*Config, Paths, error) {
	t.Helper()
	p := place(t, map[string]string{"user.yaml": text})
	c, err := Load(Options{Paths: p, Env: env(nil)})
	return c, p, err
}

func TestBackupSettings(t *testing.T) {
	c, p, err := loadBackup(t, "mouse: false\nbackup:\n  repo: sftp://me@nas:2222/srv/berth\n  passphrase_file: /etc/berth/pass\n  identity_file: /etc/berth/id\n"+
		"  fresh: 8d\n  jobs_per_host: 2\n  jobs_per_repo: 4\n  limit: 50M/s\n  keep:\n    last: 3\n    daily: 7\n    within: 30d\n    tag: [gold, release]\n")
	if err != nil {
		t.Fatal(err)
	}
	want := Backup{Repo: "sftp://me@nas:2222/srv/berth", PassphraseFile: "/etc/berth/pass", IdentityFile: "/etc/berth/id",
		Fresh: 8 * 24 * time.Hour, JobsPerHost: 2, JobsPerRepo: 4, Limit: 50 << 20,
		Keep: backend.Retention{Last: 3, Daily: 7, Within: 30 * 24 * time.Hour, Tags: []string{"gold", "release"}}}
	if !reflect.DeepEqual(c.Backup, want) {
		t.Errorf("got  %+v\nwant %+v", c.Backup, want)
	}
	if got, want := c.Origin("backup.fresh"), p.ConfigFile+":6"; got != want {
		t.Errorf("origin %q, want %q", got, want)
	}
	if got, want := settingByName("backup.keep").Show(&c.Settings), "last=3 daily=7 within=30d tag=gold tag=release"; got != want {
		t.Errorf("keep is shown as %q, want %q", got, want)
	}
}

// Everything can be written in a file as berth info shows it.
func TestShownBackupSettingsCanBeReadBack(t *testing.T) {
	given := Defaults()
	given.Backup = Backup{Repo: "/b", PassphraseFile: "/p", IdentityFile: "/i", Fresh: time.Hour, JobsPerHost: 3, JobsPerRepo: 5, Limit: 1 << 20,
		Keep: backend.Retention{Last: 1, Hourly: 2, Daily: 3, Weekly: 4, Monthly: 5, Yearly: 6, Within: 36 * time.Hour, Tags: []string{"x"}}}
	for i := range reflect.ValueOf(given.Backup).NumField() {
		if reflect.ValueOf(given.Backup).Field(i).IsZero() {
			t.Fatalf("this test does not set %s", reflect.TypeOf(given.Backup).Field(i).Name)
		}
	}
	var b strings.Builder
	b.WriteString("backup:\n")
	for _, s := range backupSettings() {
		b.WriteString("  " + strings.TrimPrefix(s.Name, "backup.") + ": " + s.Show(&given) + "\n")
	}
	c, _, err := loadBackup(t, b.String())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c.Backup, given.Backup) {
		t.Errorf("got  %+v\nwant %+v", c.Backup, given.Backup)
	}
}

func TestWrongBackupSettingsAreNamedWithTheirLine(t *testing.T) {
	for text, want := range map[string]string{
		"backup:\n  frehs: 3d\n":                        `:2: there is no setting of the backup "frehs"; did you mean "fresh"?`,
		"backup: /srv\n":                                ":1: backup: expected settings below it: repo passphrase_file",
		"backup:\n  fresh: 0\n":                         ":2: backup.fresh: 0 is too short",
		"backup:\n  jobs_per_host: 0\n":                 `:2: backup.jobs_per_host: "0" is not a number of jobs`,
		"backup:\n  limit: fast\n":                      `:2: backup.limit: "fast" is not a size`,
		"backup:\n  keep:\n    last: 3\n    dayly: 7\n": `:4: backup.keep: there is no rule "dayly"; did you mean "daily"?`,
		"backup:\n  keep: last=-1\n":                    `:2: backup.keep: last: "-1" is not a number of points`,
		"backup:\n  keep: daily\n":                      `"daily" is not a rule; write last=3`,
	} {
		_, _, err := loadBackup(t, text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestEverySettingOfBackupsIsDescribed(t *testing.T) {
	doc := BackupMarkdown()
	for _, s := range backupSettings() {
		if s.Help == "" || s.set == nil || s.show == nil || !strings.Contains(doc, "`"+strings.TrimPrefix(s.Name, "backup.")+"`") {
			t.Errorf("%s is not described", s.Name)
		}
	}
	if !strings.Contains(doc, "`fresh` | `1d2h`") && !strings.Contains(doc, "`fresh` | `26h`") {
		t.Errorf("the document lacks the default of fresh:\n%s", doc)
	}
}

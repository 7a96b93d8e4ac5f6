package cli

import (
	"slices"
	"strings"
	"testing"
)

func TestSchedules(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	r.must("schedule 1: added; it runs next", "schedule", "add", "-c", "fake://hv1", "--cron", "30 2 * * *", "--name", "nightly", "--all", "--keep-daily", "7", "--verify", "5%", "--command", "true")
	s := r.backups.state.Schedules[0]
	if !s.All || s.Keep.Daily != 7 || s.Verify != 5 || s.Command != "true" || s.Repo.URL != r.repo() || !slices.Equal(s.Hosts, []string{"hv1"}) {
		t.Errorf("%+v", s)
	}
	r.must("schedule 2: added", "schedule", "add", "-c", "fake://hv1", "--cron", "@hourly", "web1", "--keep-tag", "gold")
	if s := r.backups.state.Schedules[1]; len(s.VMs) != 1 || s.Names[0] != "web1" {
		t.Errorf("%+v", s)
	}
	r.must("nightly", "schedule")
	r.must(`"keep": "daily=7"`, "schedule", "list", "-o", "json")
	r.must("5% of the chunks", "schedule", "show", "nightly")
	r.must("schedule 1: disabled", "schedule", "disable", "nightly")
	if !r.backups.state.Schedules[0].Disabled {
		t.Error("it is not")
	}
	timer := r.must("OnCalendar=*-*-* 02:30:00", "schedule", "timer", "1")
	if !strings.Contains(timer, "backup schedule run 1 --wait") || !strings.Contains(timer, "Persistent=true") {
		t.Errorf("got %s", timer)
	}
	r.must("web1: backed up", "schedule", "run", "1", "--wait")
	r.must("schedule 2: removed", "schedule", "remove", "2")
	r.mustFail(ExitUsage, "five fields", "schedule", "add", "--cron", "61 2 * * *", "--all")
	r.mustFail(ExitFailed, "no such schedule", "schedule", "show", "7")
}

func TestCronInSystemdsWords(t *testing.T) {
	for spec, want := range map[string]string{
		"30 2 * * *":                      "OnCalendar=*-*-* 02:30:00",
		"*/15 8-18 * * 1-5":               "OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 08..18:00,15,30,45:00",
		"0 3 1 * *":                       "OnCalendar=*-*-01 03:00:00",
		"0 3 1 1,7 0":                     "OnCalendar=Sun *-01,07-* 03:00:00\nOnCalendar=*-01,07-01 03:00:00",
		"@hourly":                         "OnCalendar=*-*-* *:00:00",
		"@weekly":                         "OnCalendar=Sun *-*-* 00:00:00",
		"CRON_TZ=Europe/Berlin 0 1 * * *": "OnCalendar=*-*-* 01:00:00 Europe/Berlin",
		"@every 90m":                      "OnUnitActiveSec=5400s",
	} {
		got, err := calendar(spec)
		if err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %q, %v, want %q", spec, got, err, want)
		}
	}
}

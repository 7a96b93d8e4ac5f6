package backup

import (
	"errors"
	"testing"
	"time"
	_ "time/tzdata" // for a machine that has none

	"berth/backend"
)

func berlin(t testing.TB) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// The clocks go from 02:00 to 03:00 on 29 March 2026, and from 03:00 to 02:00 on
// 25 October.
func TestSchedulesOverTheChangeOfClocks(t *testing.T) {
	zone := berlin(t)
	for _, c := range []struct {
		cron, after string
		want        []string
	}{
		{"30 2 * * *", "2026-03-28T03:00:00+01:00", []string{"2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"0 2 * * *", "2026-03-28T03:00:00+01:00", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
		{"30 3 * * *", "2026-03-28T12:00:00+01:00", []string{"2026-03-29T03:30:00+02:00", "2026-03-30T03:30:00+02:00"}},
		{"30 2 * * 0", "2026-03-22T03:00:00+01:00", []string{"2026-03-29T03:30:00+02:00", "2026-04-05T02:30:00+02:00"}},
		{"30 2 * * *", "2026-10-24T03:00:00+02:00", []string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		{"@hourly", "2026-10-25T01:30:00+02:00", []string{"2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"}},
		{"15 * * * *", "2026-03-29T01:30:00+01:00", []string{"2026-03-29T03:15:00+02:00", "2026-03-29T04:15:00+02:00"}},
		{"@daily", "2026-03-28T12:00:00+01:00", []string{"2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"}},
		{"@monthly", "2026-03-28T12:00:00+01:00", []string{"2026-04-01T00:00:00+02:00", "2026-05-01T00:00:00+02:00"}},
	} {
		table, err := parseCron(c.cron, zone)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, c.after)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if at = table.next(at); at.Format(time.RFC3339) != want {
				t.Errorf("%s after %s: %s, want %s", c.cron, c.after, at.Format(time.RFC3339), want)
				break
			}
		}
	}
}

// Over ten years nothing runs twice, backwards, or not at all on a day.
func TestADailyScheduleRunsDaily(t *testing.T) {
	zone := berlin(t)
	for _, cron := range []string{"30 2 * * *", "0 0 * * *", "59 2 * * *"} {
		table, err := parseCron(cron, zone)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, zone).Add(-time.Second)
		for day := time.Date(2026, 1, 1, 12, 0, 0, 0, zone); day.Year() < 2036; day = day.AddDate(0, 0, 1) {
			if at = table.next(at); at.YearDay() != day.YearDay() || at.Year() != day.Year() {
				t.Fatalf("%s: on %s it runs %s", cron, day.Format(time.DateOnly), at)
			}
		}
	}
}

func TestMissedRunsAreCounted(t *testing.T) {
	table, err := parseCron("0 2 * * *", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	next := time.Date(2026, 1, 1, 2, 0, 0, 0, time.UTC)
	for days, want := range map[int]int{0: 0, 1: 1, 5: 5} {
		if got := table.missed(next, next.AddDate(0, 0, days)); got != want {
			t.Errorf("after %d days %d were missed", days, got)
		}
	}
}

func TestWhatIsNoSchedule(t *testing.T) {
	for _, text := range []string{"", "1 2 3", "60 * * * *", "@nightly", "TZ=UTC 0 0 * * *", "CRON_TZ=UTC 0 0 * * *", "0 0 30 2 *"} {
		if _, err := parseCron(text, time.UTC); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzCron(f *testing.F) {
	for _, s := range []string{"30 2 * * *", "@daily", "@every 1s", "*/5 1-3 1,2 * 1-5"} {
		f.Add(s, int64(1774746000))
	}
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		zone = time.UTC
	}
	f.Fuzz(func(t *testing.T, text string, at int64) {
		table, err := parseCron(text, zone)
		if err != nil || at < 0 || at > 4e9 {
			return
		}
		from := time.Unix(at, 0)
		if n := table.next(from); !n.IsZero() && !n.After(from) {
			t.Errorf("%q after %s is %s", text, from, n)
		}
	})
}

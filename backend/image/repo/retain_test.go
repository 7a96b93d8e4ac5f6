package repo

import (
	"slices"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func pointsAt(times ...string) (all []Manifest) {
	for _, s := range times {
		s, tag, _ := strings.Cut(s, " ")
		m := Manifest{ID: s, VM: backend.UUID{1}, At: at(s)}
		if tag != "" {
			m.Tags = []string{tag}
		}
		all = append(all, m)
	}
	return all
}

func TestRetain(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		points []string
		keep   backend.Retention
		now    string
		zone   *time.Location
		want   []string // IDs and why, newest first
	}{
		"no rule": {[]string{"2026-01-01T00:00:00Z"}, backend.Retention{}, "2026-02-01T00:00:00Z", time.UTC,
			[]string{"2026-01-01T00:00:00Z: no rule"}},
		"last": {[]string{"2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z", "2026-01-02T00:00:00Z"}, backend.Retention{Last: 2}, "2026-02-01T00:00:00Z", time.UTC,
			[]string{"2026-01-03T00:00:00Z: last 1", "2026-01-02T00:00:00Z: last 2"}},
		"daily keeps the latest of each day that has one": {[]string{"2026-01-01T01:00:00Z", "2026-01-01T23:00:00Z", "2026-01-05T10:00:00Z", "2026-01-05T12:00:00Z", "2025-12-30T00:00:00Z"},
			backend.Retention{Daily: 2}, "2026-02-01T00:00:00Z", time.UTC,
			[]string{"2026-01-05T12:00:00Z: daily 2026-01-05", "2026-01-01T23:00:00Z: daily 2026-01-01"}},
		"days are those of the zone": {[]string{"2026-01-01T22:30:00Z", "2026-01-01T23:30:00Z"}, backend.Retention{Daily: 2}, "2026-02-01T00:00:00Z", berlin,
			[]string{"2026-01-01T23:30:00Z: daily 2026-01-02", "2026-01-01T22:30:00Z: daily 2026-01-01"}},
		"the hour that comes twice": {[]string{"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"}, backend.Retention{Hourly: 5}, "2026-11-01T00:00:00Z", berlin,
			[]string{"2026-10-25T01:30:00Z: hourly 2026-10-25 02h +0100", "2026-10-25T00:30:00Z: hourly 2026-10-25 02h +0200"}},
		"weeks of ISO 8601 over the year's end": {[]string{"2026-12-31T00:00:00Z", "2027-01-03T00:00:00Z", "2027-01-04T00:00:00Z"}, backend.Retention{Weekly: 5}, "2027-02-01T00:00:00Z", time.UTC,
			[]string{"2027-01-04T00:00:00Z: weekly 2027-W01", "2027-01-03T00:00:00Z: weekly 2026-W53"}},
		"months and years": {[]string{"2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z", "2026-03-01T00:00:00Z"}, backend.Retention{Monthly: 2, Yearly: 2}, "2026-04-01T00:00:00Z", time.UTC,
			[]string{"2026-03-01T00:00:00Z: monthly 2026-03, yearly 2026", "2024-03-01T00:00:00Z: monthly 2024-03, yearly 2024"}},
		"within": {[]string{"2026-01-10T00:00:00Z", "2026-01-08T00:00:00Z", "2026-01-01T00:00:00Z"}, backend.Retention{Within: 72 * time.Hour}, "2026-01-10T12:00:00Z", time.UTC,
			[]string{"2026-01-10T00:00:00Z: within 3d", "2026-01-08T00:00:00Z: within 3d"}},
		"within counts from the last of a VM not backed up any more": {[]string{"2020-01-10T00:00:00Z", "2020-01-08T00:00:00Z", "2020-01-01T00:00:00Z"}, backend.Retention{Within: 72 * time.Hour}, "2026-01-10T12:00:00Z", time.UTC,
			[]string{"2020-01-10T00:00:00Z: within 3d", "2020-01-08T00:00:00Z: within 3d"}},
		"tags": {[]string{"2020-01-01T00:00:00Z release", "2020-02-01T00:00:00Z other", "2020-03-01T00:00:00Z"}, backend.Retention{Last: 1, Tags: []string{"release"}}, "2026-01-01T00:00:00Z", time.UTC,
			[]string{"2020-03-01T00:00:00Z: last 1", "2020-01-01T00:00:00Z: tag release"}},
		"from the future, which pushes nothing out": {[]string{"2038-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"}, backend.Retention{Last: 1}, "2026-01-02T00:00:00Z", time.UTC,
			[]string{"2038-01-01T00:00:00Z: from the future: a clock was wrong", "2026-01-02T00:00:00Z: last 1"}},
		"clocks that differ a little": {[]string{"2026-01-02T00:05:00Z", "2026-01-01T00:00:00Z"}, backend.Retention{Last: 1}, "2026-01-02T00:00:00Z", time.UTC,
			[]string{"2026-01-02T00:05:00Z: last 1"}},
	} {
		var got []string
		all := Retain(pointsAt(c.points...), c.keep, at(c.now).In(c.zone))
		if len(all) != len(c.points) {
			t.Errorf("%s: %d of %d points", name, len(all), len(c.points))
		}
		for _, r := range all {
			if r.Keep() {
				got = append(got, r.Point.ID+": "+strings.Join(r.Why, ", "))
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", name, got, c.want)
		}
	}
}

func TestRetainGoesByVM(t *testing.T) {
	points := pointsAt("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
	points[0].VM = backend.UUID{2}
	for _, r := range Retain(points, backend.Retention{Last: 1}, at("2026-02-01T00:00:00Z")) {
		if !r.Keep() {
			t.Errorf("the only point of a VM is to be forgotten: %v", r.Point.ID)
		}
	}
}

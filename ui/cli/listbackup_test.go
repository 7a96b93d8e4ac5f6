package cli

import (
	"testing"
	"time"

	"berth/backend"
	"berth/model"
)

func TestAgeOfTheLastBackup(t *testing.T) {
	vm, now := backend.UUID{1}, fakeNow
	point := func(age time.Duration, damaged string, verified bool) backend.Point {
		p := backend.Point{VM: vm, At: now.Add(-age), Damaged: damaged}
		if verified {
			p.Verified = now
		}
		return p
	}
	for name, tt := range map[string]struct {
		points []backend.Point
		want   model.RowBackup
	}{
		"none":              {nil, model.RowBackup{Fresh: model.FreshNone}},
		"of another":        {[]backend.Point{{VM: backend.UUID{2}, At: now}}, model.RowBackup{Fresh: model.FreshNone}},
		"recent":            {[]backend.Point{point(time.Hour, "", false), point(48*time.Hour, "", true)}, model.RowBackup{Fresh: model.FreshOK, Good: now.Add(-time.Hour), Verified: now.Add(-48 * time.Hour)}},
		"old":               {[]backend.Point{point(48*time.Hour, "", false)}, model.RowBackup{Fresh: model.FreshOld, Good: now.Add(-48 * time.Hour)}},
		"the last damaged":  {[]backend.Point{point(time.Hour, "a chunk", false), point(2*time.Hour, "", false)}, model.RowBackup{Fresh: model.FreshOK, Good: now.Add(-2 * time.Hour)}},
		"all of it damaged": {[]backend.Point{point(time.Hour, "a chunk", false)}, model.RowBackup{Fresh: model.FreshDamaged}},
	} {
		if got := rowBackup(tt.points, vm, now.Add(-26*time.Hour)); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tt.want)
		}
	}
}

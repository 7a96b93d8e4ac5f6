package cli

import (
	"encoding/json"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{7})
	_, _ = r.Read(b) // it never fails
	return b
}

func TestPointsAreListedShownAndCompared(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	content := noise(3 << 20)
	first := r.addPoint(fakeNow.Add(-48*time.Hour), content)
	content[1<<20+5]++
	second := r.addPoint(fakeNow.Add(-time.Hour), content, "gold")
	if got := strings.Fields(r.must("", "list", "-o", "point")); !slices.Equal(got, []string{second, first}) {
		t.Errorf("listed %v, want %v", got, []string{second, first})
	}
	r.must(second, "list", "--tag", "gold", "-o", "point")
	if out := r.must("", "list", "--tag", "silver", "-o", "json"); out != "[]\n" {
		t.Errorf("got %s", out)
	}
	r.must("full: the first one", "show", "web1")
	r.must(first, "show", first[:8])
	r.must(first, "show", "web1@2026-03-03")
	r.must("<domain>�[2J</domain>", "show", "web1@latest", "-o", "xml")
	r.mustFail(ExitFailed, "its first is of", "show", "web1@2020-01-01")
	r.mustFail(ExitFailed, "no such point", "show", "nosuch")
	r.must("changed", "diff", first, second)
	var diff []diffRecord
	if err := json.Unmarshal([]byte(r.must("", "diff", first, second, "-o", "json", "--extents")), &diff); err != nil || len(diff) != 1 ||
		diff[0].Changed != 1<<20 || len(diff[0].Extents) != 1 || diff[0].Extents[0].Offset != 1<<20 {
		t.Errorf("%v %+v", err, diff)
	}
	r.must("same", "diff", first, first)
}

func TestDamageIsFoundAndEndsInOne(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	r.addPoint(fakeNow, noise(2<<20))
	r.must("nothing is damaged", "verify")
	r.must("nothing is damaged", "verify", "--sample", "50%", "--seed", "7")
	r.must("nothing is damaged", "check", "--full")
	damage(t, filepath.Join(r.repo(), "packs"))
	out := r.mustFail(ExitFailed, "damaged: ", "verify")
	if !strings.Contains(out, "touches web1@") {
		t.Errorf("got %s", out)
	}
	var report reportRecord
	if err := json.Unmarshal([]byte(r.mustFail(ExitFailed, `"ok": false`, "verify", "-o", "json")), &report); err != nil || len(report.Damages) == 0 || len(report.Damages[0].Touches) == 0 {
		t.Errorf("%v %+v", err, report)
	}
	r.mustFail(ExitFailed, "damaged", "check", "--full")
	r.must("DAMAGED", "list")
}

func TestPastTimes(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"-2h": "2026-03-04 10:00:00", "yesterday": "2026-03-03 23:59:59", "2026-01-31": "2026-01-31 23:59:59", "2026-01-31 22:00": "2026-01-31 22:00:59",
		"11:30": "2026-03-04 11:30:59", "13:30": "2026-03-03 13:30:59", "2026-01-31T22:00:05Z": "2026-01-31 22:00:05", "2026-01-31 22:00:05": "2026-01-31 22:00:05",
	} {
		if got, err := parsePast(text, now); err != nil || got.Format(time.DateTime) != want {
			t.Errorf("%s: %v, %v, want %s", text, got, err, want)
		}
	}
	if _, err := parsePast("soon", now); err == nil {
		t.Error(`"soon" is a time`)
	}
}

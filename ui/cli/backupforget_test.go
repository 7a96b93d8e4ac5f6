package cli

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestForgetPruneAndCopy(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	var ids []string
	for i := range 4 {
		ids = append(ids, r.addPoint(time.Now().Add(time.Duration(i-10)*time.Hour), noise((4-i)<<20)))
	}
	var rec forgetRecord
	out := r.must("", "forget", "--keep-last", "1", "--dry-run", "-o", "json")
	if err := json.Unmarshal([]byte(out), &rec); err != nil || len(rec.Kept) != 1 || rec.Kept[0].Point != ids[3] || rec.Kept[0].Why[0] != "last 1" || len(rec.Forgotten) != 3 || !rec.DryRun {
		t.Fatalf("%v %+v", err, rec)
	}
	if got := strings.Fields(r.must("", "list", "-o", "point")); len(got) != 4 {
		t.Fatalf("a dry run has forgotten: %v", got)
	}
	r.must("3 points would be forgotten, 1 kept", "forget", "--keep-last", "1", "--dry-run")
	r.mustFail(ExitUsage, "web1@latest", "forget", "web1")
	r.mustFail(ExitUsage, "forget what?", "forget")
	other := filepath.Join(r.home, "other")
	r.must("made", "init", "--repo", other)
	r.must("4 points copied", "copy", "--to", other)
	r.must("4 there already", "copy", "--to", other, "web1")
	r.mustFail(ExitUsage, "is the repository itself", "copy", "--to", r.repo())
	r.mustFail(ExitUsage, "add --yes", "forget", ids[0])
	r.must("1 point forgotten, 0 kept", "forget", ids[0], "--yes")
	prune := func(last string) pruneRecord {
		var rec forgetRecord
		out := r.must("", "forget", "web1", "--keep-last", "1", "--prune", "--grace", "0", "-o", "json", last)
		if err := json.Unmarshal([]byte(out), &rec); err != nil || rec.Prune == nil {
			t.Fatalf("%v in %s", err, out)
		}
		return *rec.Prune
	}
	if foretold, done := prune("--dry-run"), prune("--yes"); foretold.Removed != done.Removed || foretold.Points != 1 || done.Removed == 0 {
		t.Errorf("foretold was %+v, and done %+v", foretold, done)
	}
	if got := strings.Fields(r.must("", "list", "-o", "point")); !slices.Equal(got, ids[3:]) {
		t.Errorf("left are %v, want %v", got, ids[3:])
	}
	r.must("nothing is damaged", "verify")
	r.must("nothing is damaged", "verify", "--repo", other)
	r.must("[]", "locks", "-o", "json")
	r.must("0 locks removed", "unlock")
}

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/backend"
)

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{7})
	_, _ = r.Read(b) // it never fails
	return b
}

func TestBackupCreateFollowsToTheEnd(t *testing.T) {
	r := newBackupRig(t)
	r.must("not encrypted", "init")
	out := r.must("web2: backed up in 12s: 4.0G read, 2.0G new, 1.0G stored (2.0×); point abababababab", "create", "-c", "fake://hv1", "web1", "web2", "--bwlimit", "50M", "--add-tag", "gold", "--no-quiesce")
	if strings.Count(out, "backed up") != 2 {
		t.Errorf("got %s", out)
	}
	s := r.backups.specs[0]
	if s.Kind != backend.TransferBackup || s.Name != "web1" || s.VM.Host != "hv1" || s.Limit != 50<<20 || !s.Backup.NoQuiesce || !slices.Equal(s.Backup.Tags, []string{"gold"}) || s.Repo.URL != r.repo() {
		t.Errorf("ordered %+v", s)
	}
	_, _, errs := r.run("create", "-c", "fake://hv1", "web1")
	if !strings.Contains(errs, "web1: reading vda  25%  1.0G/4.0G  200M/s (mean 100M/s)  15s left  4.0×") {
		t.Errorf("progress reads %q", errs)
	}
}

func TestBackupCreateTellsWhatFailed(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	code, out, errs := r.run("create", "-c", "fake://hv1", "--all")
	if code != ExitFailed || strings.Count(out, "backed up") != 3 || !strings.Contains(errs, "broken1: failed: scratch file: not enough free space") || !strings.Contains(errs, "berth backup retry") || strings.Contains(errs, "\x1b[2J") {
		t.Errorf("code %d:\n%s%s", code, out, errs)
	}
	r.mustFail(ExitFailed, "no such VM", "create", "-c", "fake://hv1", "nosuch")
	r.mustFail(ExitUsage, "not several of them", "create", "web1", "--all")
	r.mustFail(ExitUsage, "--bwlimit", "create", "web1", "--bwlimit", "50")
	r.mustFail(ExitFailed, "read-only", "create", "-r", "-c", "fake://hv1", "web1")
}

func TestBackupCreateAsJSONIsALineAChange(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	lines := strings.Split(strings.TrimSpace(r.must("", "create", "-c", "fake://hv1", "web1", "-o", "json")), "\n")
	var last struct {
		State, Name, Point string
		Done               int64 `json:"done_bytes"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.State != "done" || last.Name != "web1" || last.Point == "" || last.Done != 4<<30 || len(lines) < 2 {
		t.Errorf("%v: %s", err, lines)
	}
}

func TestBackupCreateBoundsHowManyAreOrdered(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	r.must("web10: backed up", "create", "-c", "fake://hv1", "web1", "web2", "web10", "--jobs", "1")
	if r.backups.atOnce != 1 || len(r.backups.specs) != 3 {
		t.Errorf("%d at once, %d ordered", r.backups.atOnce, len(r.backups.specs))
	}
	r.must("4 (backup of web1): ordered", "create", "-c", "fake://hv1", "web1", "--detach")
}

// ^C cancels what was ordered and waits for its end; a lost terminal leaves it
// to the engine.
func TestBackupCreateAndSignals(t *testing.T) {
	for signal, want := range map[syscall.Signal]string{syscall.SIGINT: "off1: cancelled", syscall.SIGHUP: "the engine goes on"} {
		r := newBackupRig(t)
		r.must("made", "init")
		ctx, cancel := context.WithCancelCause(t.Context())
		r.ctx = ctx
		states := 0
		r.backups.onState = func() {
			if states++; states == 3 {
				cancel(&SignalError{Signal: signal})
			}
		}
		r.mustFail(128+int(signal), want, "create", "-c", "fake://hv2", "off1")
		if cancelled := len(r.backups.changes) == 1; cancelled != (signal == syscall.SIGINT) {
			t.Errorf("%v: %v", signal, r.backups.changes)
		}
	}
}

func TestAPassphraseIsHandedOverInAFileOfItsOwn(t *testing.T) {
	r := newBackupRig(t)
	r.env["BERTH_PASSPHRASE"] = "correct horse"
	r.mustFail(ExitUsage, "--encrypt is not", "init")
	r.must("encrypted", "init", "--encrypt")
	r.must("ordered", "create", "-c", "fake://hv1", "web1", "web2", "--detach")
	a, b := r.backups.specs[0].Repo.PassphraseFile, r.backups.specs[1].Repo.PassphraseFile
	if a == b || filepath.Dir(a) != filepath.Join(r.home, "run", "berth") || !isHandover(a) {
		t.Fatalf("%q, %q", a, b)
	}
	info, err := os.Stat(a)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if pass, err := readPassphrase(a); err != nil || string(pass) != "correct horse" {
		t.Errorf("%q, %v", pass, err)
	}
	// What was not ordered leaves no secret behind.
	r.backups.refuse = backend.ErrBusy
	r.mustFail(ExitFailed, "in use", "create", "-c", "fake://hv1", "web1")
	if left, err := os.ReadDir(filepath.Dir(a)); err != nil || len(left) != 2 {
		t.Errorf("%d files are left, want the two of before; %v", len(left), err)
	}
	r.env["BERTH_PASSPHRASE"] = "wrong"
	r.mustFail(ExitFailed, "passphrase", "create", "-c", "fake://hv1", "web1")
	delete(r.env, "BERTH_PASSPHRASE")
	r.mustFail(ExitFailed, "give --passphrase-file", "list")
	// A schedule's secret must last.
	r.env["BERTH_PASSPHRASE"] = "correct horse"
	r.mustFail(ExitUsage, "--passphrase-file", "schedule", "add", "-c", "fake://hv1", "--cron", "@daily", "--all")
}

func TestTheEngineDoesNotInheritThePassphrase(t *testing.T) {
	got := withoutSecrets([]string{"A=1", "BERTH_PASSPHRASE=x", "BERTH_REPO=/r"})
	if !slices.Equal(got, []string{"A=1", "BERTH_REPO=/r"}) {
		t.Errorf("got %v", got)
	}
}

func TestKeysOfARepository(t *testing.T) {
	r := newBackupRig(t)
	r.env["BERTH_PASSPHRASE"] = "one"
	r.must("made", "init", "--encrypt")
	second := filepath.Join(r.home, "second")
	if err := os.WriteFile(second, []byte("two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var keys []keyRecord
	if err := json.Unmarshal([]byte(r.must("", "key", "list", "-o", "json")), &keys); err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	r.mustFail(ExitFailed, "no key would be left", "key", "remove", keys[0].Key, "--yes")
	r.must("added", "key", "add", "--new-passphrase-file", second)
	r.mustFail(ExitUsage, "--yes", "key", "remove", keys[0].Key)
	r.must("removed", "key", "remove", keys[0].Key, "--yes")
	r.mustFail(ExitFailed, "passphrase", "list")
	r.must("POINT", "list", "--passphrase-file", second)
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

// damage flips a bit in the middle of the largest file below a folder.
func damage(t *testing.T, dir string) {
	t.Helper()
	largest, size := "", int64(0)
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && info.Size() > size {
			largest, size = path, info.Size()
		}
		return err
	})
	if err != nil || largest == "" {
		t.Fatal(largest, err)
	}
	b, err := os.ReadFile(largest)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.Chmod(largest, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(largest, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestForgetPruneAndCopy(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	var ids []string
	for i := range 4 {
		ids = append(ids, r.addPoint(time.Now().Add(time.Duration(i-10)*time.Hour), noise((i+1)<<20)))
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
	r.must("1 point forgotten, 0 kept", "forget", ids[0])
	r.must("pruned: ", "forget", "web1", "--keep-last", "1", "--prune", "--grace", "0")
	if got := strings.Fields(r.must("", "list", "-o", "point")); !slices.Equal(got, ids[3:]) {
		t.Errorf("left are %v, want %v", got, ids[3:])
	}
	r.must("nothing is damaged", "verify")
	r.must("nothing is damaged", "verify", "--repo", other)
	r.must("[]", "locks", "-o", "json")
	r.must("0 locks removed", "unlock")
}

func TestExportIsWholeAndOverwritesNothing(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	content := append(noise(1<<20), make([]byte, 3<<20)...)
	r.addPoint(fakeNow, content)
	into := filepath.Join(r.home, "out")
	if err := os.Mkdir(into, 0o700); err != nil {
		t.Fatal(err)
	}
	r.must("web1-vda.raw", "export", "web1", "--format", "raw", "--into", into)
	got, err := os.ReadFile(filepath.Join(into, "web1-vda.raw"))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	r.mustFail(ExitFailed, "file already exists", "export", "web1", "--format", "raw", "--into", into)
	r.mustFail(ExitFailed, "has no such disk", "export", "web1", "--disk", "vdz=/tmp/x")
	damage(t, filepath.Join(r.repo(), "packs"))
	r.mustFail(ExitFailed, "damaged", "export", "web1", "--format", "raw", "--disk", "vda="+filepath.Join(into, "second"))
	if left, err := os.ReadDir(into); err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestRestoreIsPlannedAndAskedAbout(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	id := r.addPoint(fakeNow, noise(1<<20))
	off := r.addPointOf("off1", backend.UUID{'2', 2}, fakeNow, noise(1<<20))
	r.mustFail(ExitFailed, "shut it down first", "restore", "-c", "fake://hv1", "web1", "--yes")
	r.must("→  /images/copy-vda.", "restore", "-c", "fake://hv1", "web1", "--to", "copy", "--dry-run")
	r.must(`"in_place": true`, "restore", "-c", "fake://hv2", "off1", "--host", "hv2", "--dry-run", "-o", "json")
	if len(r.backups.specs) > 0 {
		t.Fatalf("a dry run has ordered %+v", r.backups.specs)
	}
	r.mustFail(ExitUsage, "--yes", "restore", "-c", "fake://hv2", "off1")
	r.mustFail(ExitFailed, "has a VM of that name", "restore", "-c", "fake://hv1", "web1", "--to", "web2")
	r.mustFail(ExitUsage, "--to and --start do not go with it", "restore", "-c", "fake://hv1", "web1", "--disks-only", "--start")
	r.mustFail(ExitUsage, "no host", "restore", "-c", "fake://hv1", "web1", "--host", "nosuch", "--to", "x")
	r.must("copy: restored", "restore", "-c", "fake://hv1", "web1", "--to", "copy", "--pool", "p", "--disk", "vda=/x/y", "--format", "raw", "--start")
	s := r.backups.specs[0]
	if s.Kind != backend.TransferRestore || s.VM.Host != "hv1" || s.Restore.Point != id || s.Restore.NewName != "copy" || s.Restore.Pool != "p" || s.Restore.Disks["vda"] != "/x/y" || s.Restore.Format != "raw" || !s.Restore.Start {
		t.Errorf("ordered %+v", s)
	}
	r.stdin = typing(t, "n\n")
	r.mustFail(ExitFailed, "nothing was done", "restore", "-c", "fake://hv2", "off1")
	r.stdin = typing(t, "y\n")
	r.backups.onState = func() { // what is off1 never ends by itself
		for i := range r.backups.state.Transfers {
			r.backups.state.Transfers[i].State = backend.TransferDone
		}
	}
	r.must("off1: restored", "restore", "-c", "fake://hv2", "off1")
	if s := r.backups.specs[1]; s.Restore.Point != off || s.Restore.NewName != "" {
		t.Errorf("ordered %+v", s)
	}
}

func TestTransfersAreListedAndChanged(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	r.must("ordered", "create", "-c", "fake://hv2", "off1", "--detach")
	r.must("off1", "jobs")
	r.must("pausing", "pause", "off1")
	r.must("at most 20M/s", "limit", "20M", "1")
	r.must("as fast as it goes", "limit", "none", "off1")
	r.must("cancelling", "cancel", "1")
	want := []string{"[1] pause=true resume=false cancel=false retry=false", "[1] pause=false resume=false cancel=false retry=false limit=20971520",
		"[1] pause=false resume=false cancel=false retry=false limit=0", "[1] pause=false resume=false cancel=true retry=false"}
	if !slices.Equal(r.backups.changes, want) {
		t.Errorf("got %q", r.backups.changes)
	}
	r.mustFail(ExitFailed, "no such transfer", "cancel", "99")
	r.mustFail(ExitFailed, "berth backup jobs --all", "resume", "nosuch")
	r.must("", "jobs") // lets it end
	r.must("off1: cancelled", "log")
}

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

func TestRepositoryAddresses(t *testing.T) {
	for in, want := range map[string]string{"sftp://me@nas:2222/srv//b/": "sftp://me@nas:2222/srv/b", "~/b": "/home/me/b", "/srv/b/": "/srv/b"} {
		if got, err := wholeRepo(in, "/home/me"); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"sftp://me:secret@nas/b", "http://nas/b", "sftp://nas", "sftp:///b", "sftp://-oX/b"} {
		if got, err := wholeRepo(in, ""); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
}

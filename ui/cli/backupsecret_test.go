package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/backend"
)

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

// The file that a passphrase was handed over in goes with the end of its
// transfer, so one that is ordered again needs it again.
func TestARetriedTransferGetsItsPassphraseAgain(t *testing.T) {
	r := newBackupRig(t)
	r.env["BERTH_PASSPHRASE"] = "correct horse"
	r.must("encrypted", "init", "--encrypt")
	r.mustFail(ExitFailed, "broken1: failed", "create", "-c", "fake://hv1", "broken1")
	file := r.backups.specs[0].Repo.PassphraseFile
	if err := os.Remove(file); err != nil { // as the engine does
		t.Fatal(err)
	}
	r.env["BERTH_PASSPHRASE"] = "wrong"
	r.mustFail(ExitFailed, "opens none of 1 keys", "retry", "broken1")
	r.env["BERTH_PASSPHRASE"] = "correct horse"
	r.backups.refuseChange = backend.ErrBusy
	r.mustFail(ExitFailed, "in use", "retry", "broken1")
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 0 {
		t.Errorf("what was not ordered leaves %v, %v", left, err)
	}
	r.backups.refuseChange = nil
	r.must("ordered again", "retry", "broken1")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if pass, err := readPassphrase(file); err != nil || string(pass) != "correct horse" {
		t.Errorf("%q, %v", pass, err)
	}
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

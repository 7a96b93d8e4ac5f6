package cli

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/spf13/cobra"

	"berth/backend"
)

// TestEveryBackupCommandSpeaksJSON, but for those whose output is another
// program's.
func TestEveryBackupCommandSpeaksJSON(t *testing.T) {
	others := []string{"serve", "timer"}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if !cmd.HasSubCommands() && !slices.Contains(others, cmd.Name()) && cmd.Flags().Lookup("output") == nil {
			t.Errorf("%s has no --output", cmd.CommandPath())
		}
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk((&app{}).backupCommand())
}

// decoded is what a command prints, which must be one value of JSON.
func decoded[T any](r *backupRig, args ...string) (v T) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.must("", append(args, "-o", "json")...)), &v); err != nil {
		r.t.Errorf("%q: %v", args, err)
	}
	return v
}

func TestChangesInJSON(t *testing.T) {
	r := newBackupRig(t)
	r.env["BERTH_PASSPHRASE"] = "secret"
	r.must("made", "init", "--encrypt")
	key := decoded[keyRecord](r, "key", "add", "--recipient", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", "--label", "ann")
	if key.Kind != "age" || key.Label != "ann" || key.Key == "" {
		t.Errorf("added %+v", key)
	}
	if left := decoded[[]keyRecord](r, "key", "remove", key.Key, "--yes"); len(left) != 1 || left[0].Kind != "passphrase" {
		t.Errorf("left are %+v", left)
	}
	if n := decoded[map[string]int](r, "unlock"); n["removed"] != 0 || len(n) != 1 {
		t.Errorf("unlocked %v", n)
	}
	r = newBackupRig(t)
	r.must("made", "init")
	r.must("added", "schedule", "add", "-c", "fake://hv1", "--cron", "@daily", "--all")
	if s := decoded[[]scheduleRecord](r, "schedule", "disable", "1"); len(s) != 1 || !s[0].Disabled {
		t.Errorf("disabled %+v", s)
	}
	if s := decoded[[]scheduleRecord](r, "schedule", "remove", "1"); len(s) != 1 || s[0].Schedule != 1 {
		t.Errorf("removed %+v", s)
	}
	r.backups.state.Transfers = []backend.Transfer{{ID: 7, State: backend.TransferRunning, Spec: backend.TransferSpec{Kind: backend.TransferBackup, Name: "web1"}}}
	for _, args := range [][]string{{"pause", "7"}, {"cancel", "web1"}, {"limit", "5M", "7"}} {
		if x := decoded[[]transferRecord](r, args...); len(x) != 1 || x[0].Transfer != 7 || x[0].Name != "web1" {
			t.Errorf("%q: %+v", args, x)
		}
	}
	r.mustFail(ExitUsage, "use text or json", "pause", "7", "-o", "xml")
}

package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func env(m map[string]string) func(string) string { return func(k string) string { return m[k] } }

func TestRecordsWhoFromWhereAndOutcome(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "audit.jsonl")
	tr := Open(path, env(map[string]string{"SUDO_USER": "alice", "SSH_CONNECTION": "192.0.2.7 5000 192.0.2.1 22"}))
	if err := tr.Record(Entry{Host: "hv1", Verb: "destroy", VM: "web1"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := tr.Record(Entry{Host: "hv1", Verb: "start", VM: "web2"}, errors.New("no memory")); err != nil {
		t.Fatal(err)
	}
	got := read(t, path)
	if len(got) != 2 || got[0].Outcome != "ok" || got[1].Outcome != "no memory" {
		t.Fatalf("entries: %+v", got)
	}
	if got[0].From != "192.0.2.7" || got[0].User[:5] != "alice" || got[0].At.IsZero() {
		t.Fatalf("who, from, when: %+v", got[0])
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("the trail must be its owner's alone: %v %v", st.Mode(), err)
	}
}

func TestConcurrentWritersKeepLinesWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			tr := Open(path, env(nil)) // each as if a process of its own
			for range 25 {
				if err := tr.Record(Entry{Host: "hv1", Verb: "start", VM: "web1"}, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(read(t, path)); n != 200 {
		t.Fatalf("%d entries, want 200", n)
	}
}

func TestAnUnwritableTrailIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Open(filepath.Join(file, "audit.jsonl"), env(nil)).Record(Entry{}, nil); err == nil {
		t.Fatal("an entry that could not be written was reported as written")
	}
}

func read(t *testing.T, path string) []Entry {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []Entry
	for s := bufio.NewScanner(f); s.Scan(); {
		var e Entry
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			t.Fatalf("line %q: %v", s.Text(), err)
		}
		all = append(all, e)
	}
	return all
}

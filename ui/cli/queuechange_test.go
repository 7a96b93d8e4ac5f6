package cli

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

func TestChanges(t *testing.T) {
	for _, tt := range []struct {
		args []string
		call string
		want backend.JobChange
		out  string
	}{
		{[]string{"hold", "web2", "13"}, "change [12 13]", backend.JobChange{Hold: true}, "12 (web2): held\n13 (web10): held\n"},
		{[]string{"release", "14"}, "change [14]", backend.JobChange{Release: true}, "14 (web1): released\n"},
		{[]string{"top", "13", "13"}, "change [13]", backend.JobChange{Top: true}, "13 (web10): moved to the front\n"},
		{[]string{"retry", "8"}, "change [8]", backend.JobChange{Retry: true}, "8 (broken1): queued again\n"},
		{[]string{"cancel", "11"}, "change [11]", backend.JobChange{Cancel: true}, "11 (web1): cancelling\n"},
		{[]string{"cancel", "--force", "--yes", "11"}, "change [11]", backend.JobChange{Cancel: true, Force: true}, "11 (web1): cancelling by force\n"},
		{[]string{"cancel", "--force", "12"}, "change [12]", backend.JobChange{Cancel: true, Force: true}, "12 (web2): cancelling by force\n"}, // it does not run
	} {
		q := newFakeQueue()
		code, out, errs := withFake(t, q, tt.args...)
		if code != 0 || errs != "" || out != tt.out || len(q.calls) != 1 || q.calls[0] != tt.call || !reflect.DeepEqual(q.changes[0], tt.want) {
			t.Errorf("%v: code %d, %q, stderr %q, calls %v, changes %+v", tt.args, code, out, errs, q.calls, q.changes)
		}
	}
}

func TestSet(t *testing.T) {
	q := newFakeQueue()
	code, out, errs := withFake(t, q, "set", "12", "--priority", "80", "--nice=-3", "--estimate", "none", "--limit", "1h30m", "--host", "any", "--begin", "now", "--preemptible=false", "--tag", "a,b")
	if code != 0 || errs != "" {
		t.Fatalf("code %d, %s", code, errs)
	}
	if want := "12 (web2): priority 80, nice -3, estimate none, limit 1h30m, host any, begin now, preemptible false, tag a b\n"; out != want {
		t.Errorf("got  %q\nwant %q", out, want)
	}
	c := q.changes[0]
	if *c.Priority != 80 || *c.Nice != -3 || *c.Estimate != 0 || *c.Limit != 90*time.Minute || *c.Host != "" || !c.Begin.IsZero() || *c.Preemptible || !reflect.DeepEqual(*c.Tags, []string{"a", "b"}) {
		t.Errorf("asked for %+v", c)
	}
	for want, args := range map[string][]string{
		"set what?":       {"set", "12"},
		"use 0 to 100":    {"set", "12", "--priority", "-1"},
		"set what? Give":  {"set"},
		"is not a time":   {"set", "12", "--begin", "noon"},
		"cannot be a tag": {"set", "12", "--tag", "a\x1bb"},
	} {
		if code, _, errs := withFake(t, newFakeQueue(), args...); code != 2 || !strings.Contains(errs, want) {
			t.Errorf("%v: code %d, %s", args, code, errs)
		}
	}
}

func TestChangesThatFail(t *testing.T) {
	for want, args := range map[string][]string{
		"no such job": {"hold", "99"}, "read-only": {"hold", "12", "-r"}, "ambiguous": {"hold", "web1"}, "count from 1": {"hold", "0"},
		"add --yes": {"cancel", "--force", "11"}, "hold what?": {"hold"}, "use text or json": {"top", "12", "-o", "yaml"},
		"no flag --force": {"hold", "--force", "12"},
	} {
		q := newFakeQueue()
		code, out, errs := withFake(t, q, args...)
		if code == 0 || out != "" || !strings.Contains(errs, want) || len(q.calls) > 0 {
			t.Errorf("%v: code %d, %q, stderr %q, calls %v", args, code, out, errs, q.calls)
		}
	}
	q := newFakeQueue()
	q.refuse = &backend.OpError{Op: "top", Target: "web1", Err: backend.ErrState, Hint: "it runs already"}
	if code, out, errs := withFake(t, q, "top", "11"); code != 1 || out != "" || !strings.Contains(errs, "it runs already") {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
}

func TestCancelOfWhatRunsIsAskedAbout(t *testing.T) {
	for answer, want := range map[string]int{"y\n": 0, "\n": 1, "no\n": 1} {
		q := newFakeQueue()
		code, _, errs := withFakeAsked(t, q, typing(t, answer), "cancel", "11", "12")
		if code != want || !strings.Contains(errs, "Cancel 11 (web1)?\nTheir guests are shut down. [y/N]") || (len(q.calls) > 0) != (want == 0) {
			t.Errorf("%q: code %d, %q, calls %v", answer, code, errs, q.calls)
		}
	}
	q := newFakeQueue()
	if code, _, errs := withFakeAsked(t, q, typing(t, ""), "cancel", "12"); code != 0 || errs != "" {
		t.Errorf("a job that only waits is asked about: %d, %q", code, errs)
	}
}

func TestWhatIfOnlyShows(t *testing.T) {
	for _, args := range [][]string{{"top", "13", "--what-if"}, {"policy", "--order", "sjf", "--what-if"}, {"drain", "hv1", "--what-if"},
		{"set", "13", "--priority", "99", "--what-if"}, {"submit", "-c", "fake://hv1", "web2", "--what-if"}} {
		q := newFakeQueue()
		code, out, errs := withFake(t, q, args...)
		if code != 0 || errs != "" || !reflect.DeepEqual(q.calls, []string{"what-if"}) {
			t.Errorf("%v: code %d, %s, calls %v", args, code, errs, q.calls)
		}
		lines := strings.Split(out, "\n")
		if got := strings.Join(strings.Fields(lines[3]), " "); !strings.HasPrefix(got, "3 1 12 web2 reserved 1h0m 13:45 13:00 +45m →hv1") {
			t.Errorf("%v:\n%s", args, out)
		}
		if got := strings.Join(strings.Fields(lines[4]), " "); args[0] == "submit" && !strings.HasPrefix(got, "4 – new web2 queued ∞ now") {
			t.Errorf("%v:\n%s", args, out)
		}
	}
	_, out, _ := withFake(t, newFakeQueue(), "top", "13", "--what-if", "-o", "json")
	var list []struct {
		Job         int
		Position    int
		PositionNow int    `json:"position_now"`
		ETANow      string `json:"eta_now"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 3 || list[2].Job != 12 || list[2].Position != 3 || list[2].PositionNow != 1 || list[2].ETANow != "2026-03-04T13:00:00Z" {
		t.Errorf("%v, %+v", err, list)
	}
}

func TestPolicy(t *testing.T) {
	q := newFakeQueue()
	if code, out, errs := withFake(t, q, "policy"); code != 0 || errs != "" || out != "order      hrrn\nbackfill   easy\nplacement  best\npreempt    false\nnplus1     false\n" || len(q.calls) > 0 {
		t.Errorf("code %d, %q, %s", code, out, errs)
	}
	code, out, errs := withFake(t, q, "policy", "--order", "sjf", "--preempt", "-o", "json")
	want := backend.QueuePolicy{Order: "sjf", Backfill: "easy", Placement: "best", Preempt: true}
	var got backend.QueuePolicy
	if err := json.Unmarshal([]byte(out), &got); err != nil || got != want || code != 0 || errs != "" || len(q.calls) != 1 || q.calls[0] != fmt.Sprintf("policy %v", want) {
		t.Errorf("code %d, %q, %s, calls %v", code, out, errs, q.calls)
	}
	for text, args := range map[string][]string{
		`did you mean "fcfs"?`: {"--order", "fcsf"}, "(there are: ": {"--backfill", "zzz"}, "before the word": {"sjf"},
	} {
		if code, _, errs := withFake(t, newFakeQueue(), append([]string{"policy"}, args...)...); code != 2 || !strings.Contains(errs, text) {
			t.Errorf("%v: code %d, %s", args, code, errs)
		}
	}
	if code, _, errs := withFake(t, newFakeQueue(), "policy", "--order", "sjf", "-r"); code != 1 || !strings.Contains(errs, "read-only") {
		t.Errorf("code %d, %s", code, errs)
	}
}

func TestPolicyIsShownAndAskedAboutOnATerminal(t *testing.T) {
	for answer, want := range map[string]int{"yes\n": 0, "\n": 1} {
		q := newFakeQueue()
		code, out, errs := withFakeAsked(t, q, typing(t, answer), "policy", "--order", "sjf")
		if code != want || !strings.Contains(out, "SHIFT") || !strings.Contains(errs, "Set the queue's policy to order sjf, backfill easy, placement best? [y/N]") || (len(q.calls) == 2) != (want == 0) {
			t.Errorf("%q: code %d, %q, %q, calls %v", answer, code, out, errs, q.calls)
		}
	}
}

func TestDrain(t *testing.T) {
	for _, tt := range []struct {
		args      []string
		call, out string
	}{
		{[]string{"drain", "hv1"}, "drain hv1 true", "hv1: drained\n"},
		{[]string{"drain", "--undo", "hv2"}, "drain hv2 false", "hv2: takes jobs again\n"},
	} {
		q := newFakeQueue()
		if code, out, errs := withFake(t, q, tt.args...); code != 0 || errs != "" || out != tt.out || len(q.calls) != 1 || q.calls[0] != tt.call {
			t.Errorf("%v: code %d, %q, %s, %v", tt.args, code, out, errs, q.calls)
		}
	}
	for text, args := range map[string][]string{`did you mean "hv1"?`: {"drain", "hv11"}, "which host?": {"drain"}, "read-only": {"drain", "hv1", "-r"}} {
		if code, _, errs := withFake(t, newFakeQueue(), args...); code == 0 || !strings.Contains(errs, text) {
			t.Errorf("%v: code %d, %s", args, code, errs)
		}
	}
}

func TestQueueHosts(t *testing.T) {
	code, out, errs := withFake(t, newFakeQueue(), "hosts")
	lines := strings.Split(out, "\n")
	if code != 0 || errs != "" || strings.Join(strings.Fields(lines[1]), " ") != "hv1 up 16 4 2 10 32G 8.0G 4.0G 20G 500G 480G fake://hv1 –" || !strings.HasPrefix(lines[2], "hv2   drained") {
		t.Errorf("code %d, %s\n%s", code, errs, out)
	}
}

func TestAPersonSpeaksForHosts(t *testing.T) {
	q := newFakeQueue()
	if code, out, errs := withFake(t, q, "forget", "hv2"); code != 0 || out != "hv2: forgotten\n" || errs != "" || q.calls[0] != "forget hv2" {
		t.Errorf("code %d, %q, %q, %v", code, out, errs, q.calls)
	}
	if code, out, errs := withFake(t, q, "fenced", "hv2", "--yes"); code != 0 || out != "hv2: its jobs are queued again\n" || errs != "" || q.calls[1] != "fenced hv2" {
		t.Errorf("code %d, %q, %q, %v", code, out, errs, q.calls)
	}
	for answer, want := range map[string]int{"y\n": 0, "\n": 1} {
		q := newFakeQueue()
		if code, _, errs := withFakeAsked(t, q, typing(t, answer), "fenced", "hv2"); code != want || !strings.Contains(errs, "twice, which destroys their disks. [y/N]") || (len(q.calls) > 0) != (want == 0) {
			t.Errorf("%q: code %d, %q, %v", answer, code, errs, q.calls)
		}
	}
	for text, args := range map[string][]string{"add --yes": {"fenced", "hv2"}, "which host?": {"fenced"}, "knows no host": {"forget", "hv9"}, "read-only": {"forget", "hv1", "-r"}} {
		q := newFakeQueue()
		if code, _, errs := withFake(t, q, args...); code == 0 || !strings.Contains(errs, text) || len(q.calls) > 0 {
			t.Errorf("%v: code %d, %q, %v", args, code, errs, q.calls)
		}
	}
}

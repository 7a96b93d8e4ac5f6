package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"berth/backend"
)

// withFake runs berth queue ARGS over a fake queue.
func withFake(t *testing.T, q *fakeQueue, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return withFakeAsked(t, q, strings.NewReader(""), args...)
}

func withFakeAsked(t *testing.T, q *fakeQueue, stdin io.Reader, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	home := t.TempDir()
	var out, errs bytes.Buffer
	p := testProgram(append([]string{"queue"}, args...), func(k string) string { return map[string]string{"HOME": home}[k] })
	p.Stdin, p.Stdout, p.Stderr = stdin, &out, &errs
	p.Queue = func(_ context.Context, o QueueOptions) (backend.Queue, error) {
		q.opened = o
		return q, nil
	}
	code = p.Run(t.Context())
	if q.opened.Config != nil && !q.closed {
		t.Error("the queue was not closed")
	}
	q.closed = false
	return code, out.String(), errs.String()
}

// typing is a terminal on which a person types text.
func typing(t *testing.T, text string) *os.File {
	t.Helper()
	ptmx, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(tty.Close(), ptmx.Close()); err != nil {
			t.Error(err)
		}
	})
	if _, err := ptmx.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return tty
}

func TestQueueList(t *testing.T) {
	for _, args := range [][]string{{}, {"list"}, {"ls", "--all"}} {
		code, out, errs := withFake(t, newFakeQueue(), args...)
		if code != 0 || errs != "" {
			t.Fatalf("%v: code %d, %s", args, code, errs)
		}
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if want := "JOB POS NAME ST PRIO VCPU MEM DISK EST WAIT ETA HOST REASON"; strings.Join(strings.Fields(lines[0]), " ") != want {
			t.Errorf("title %q", lines[0])
		}
		want := []string{
			"11 – web1 running 50 4 8.0G 20G 2h0m 30m ends 13:00 hv1 –",
			"12 1 web2 reserved 1.50 8 24G 0 1h0m 30m 13:00 →hv1 Resources(mem)",
			"13 2 web10 queued 1.10 4 8.0G 20G ∞ 10m – – Dependency(of 12)",
			"14 3 web1 held 0 4 8.0G 20G ∞ 1d2h – – Held",
		}
		if len(args) > 1 {
			want = append(want, "9 – web1 done 50 4 8.0G 20G ∞ 1h0m – hv1 –", "8 – broken1 failed 50 4 8.0G 20G ∞ 1h0m – – internal error: �[2Jqemu died")
		}
		if len(lines) != len(want)+1 {
			t.Fatalf("%v: %d lines:\n%s", args, len(lines), out)
		}
		for i, w := range want {
			if got := strings.Join(strings.Fields(lines[i+1]), " "); got != w {
				t.Errorf("%v: line %d reads\n%s\nwant\n%s", args, i+1, got, w)
			}
		}
		if strings.ContainsRune(out, 0x1b) {
			t.Errorf("an escape sequence in %q", out)
		}
	}
}

func TestQueueListNumbersAlone(t *testing.T) {
	if _, out, _ := withFake(t, newFakeQueue(), "list", "-o", "job"); out != "11\n12\n13\n14\n" {
		t.Errorf("%q", out)
	}
}

func TestQueueListSaysWhenNothingWouldStart(t *testing.T) {
	q := newFakeQueue()
	q.state.Engine.Trouble = "no place left on \x1b[7mdisk"
	_, out, errs := withFake(t, q, "list")
	if !strings.Contains(errs, "no place left on �[7mdisk") || strings.ContainsRune(errs, 0x1b) || !strings.Contains(out, "web2") {
		t.Errorf("stderr %q", errs)
	}
	q.state.Engine = backend.EngineState{}
	if _, _, errs = withFake(t, q, "list"); !strings.Contains(errs, "does not run") || !strings.Contains(errs, "berth engine start") {
		t.Errorf("stderr %q", errs)
	}
}

// The keys are a promise to scripts: these golden files may only grow.
func TestQueueJSONKeysAreStable(t *testing.T) {
	for file, args := range map[string][]string{
		"queue-list-keys.golden":  {"list", "--all", "-o", "json"},
		"queue-show-keys.golden":  {"show", "12", "-o", "json"},
		"queue-hosts-keys.golden": {"hosts", "-o", "json"},
		"queue-log-keys.golden":   {"log", "-o", "json"},
	} {
		code, out, errs := withFake(t, newFakeQueue(), args...)
		if code != 0 || errs != "" {
			t.Fatalf("%v: code %d, stderr %q", args, code, errs)
		}
		switch args[0] {
		case "show":
			out = "[" + out + "]"
		case "log":
			out = "[" + strings.ReplaceAll(strings.TrimSpace(out), "\n", ",") + "]"
		}
		golden(t, file, keysAndTypes(t, out))
		if strings.Contains(out, `\u001b`) {
			t.Errorf("%v: an escape sequence in %s", args, out)
		}
	}
	_, help, _ := withFake(t, newFakeQueue(), "list", "--help")
	for i := range reflect.TypeFor[jobRecord]().NumField() {
		if key := reflect.TypeFor[jobRecord]().Field(i).Tag.Get("json"); !strings.Contains(help, key) {
			t.Errorf("berth queue list --help does not tell of %s", key)
		}
	}
}

func TestQueueShow(t *testing.T) {
	code, out, errs := withFake(t, newFakeQueue(), "show", "web2")
	if code != 0 || errs != "" {
		t.Fatalf("code %d, %s", code, errs)
	}
	for _, want := range []string{
		"Job           12\n", "VM            web2  defined on hv1\n", "State         reserved  for 1m\n",
		"Size          8 vCPU, 24G memory, 0 disk\n", "Limit         1h0m\n", "Near          web\n",
		"Waits for     Resources(mem)  4.0G short on hv1\n", "Starts        13:00  in 1h0m  on hv1\n", "Promised      13:00\n",
		"waited 30m for 1h\n",
		"Host hv1      lacks 4.0G memory: needs 24G, free 20G; lacks 2 vCPU: needs 8, free 6; fits at 13:00\n",
		"Host hv2      Maintenance(hv2)\n", "Ahead         11 web1  running  ends 13:00\n",
		"Sooner        end job 11  now\n", "Sooner        let hv2 take jobs again  12:01\n", "Waits for it  job 13\n",
		"12 web2: submitted  (bob)\n", "12 web2: reserved  on hv1  �]0;evil�\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
	if strings.ContainsAny(out, "\x1b\x07") {
		t.Errorf("an escape sequence in %q", out)
	}
}

func TestJobsAreFoundByNumberAndName(t *testing.T) {
	st := newFakeQueue().state
	for arg, want := range map[string]string{
		"12": "12", "#12": "12", "web2": "12", "hv1/web1": "11", "hv2/web1": "14", "broken1": "8", backend.UUID{'1', 2}.String(): "13",
		"99": "99", // Explain and Change say that there is none
	} {
		id, err := findJob(&st, arg)
		if err != nil || fmt.Sprint(id) != want {
			t.Errorf("%s: %d, %v", arg, id, err)
		}
	}
	if _, err := findJob(&st, "web1"); !errors.Is(err, backend.ErrAmbiguous) || !strings.Contains(err.Error(), "11 (hv1/web1), 14 (hv2/web1)") {
		t.Errorf("web1: %v", err)
	}
	for _, arg := range []string{"web3", "hv3/web1", ""} {
		if _, err := findJob(&st, arg); !errors.Is(err, backend.ErrNoJob) {
			t.Errorf("%q: %v", arg, err)
		}
	}
}

func TestSubmit(t *testing.T) {
	q := newFakeQueue()
	code, out, errs := withFake(t, q, "submit", "-c", "fake://hv1", "web2", "web10", "--priority", "80", "--estimate", "1d", "--limit", "36h", "--host", "hv1",
		"--after", "11,web10", "--begin", "2099-01-31T22:00:00Z", "--hold", "--preemptible", "--nice", "5", "--tag", "ci,x", "--tag", "y", "--near", "db", "--apart", "web")
	if code != 0 || errs != "" || out != "20: web2: held\n21: web10: held\n" {
		t.Fatalf("code %d, %q, %s", code, out, errs)
	}
	want := backend.JobSpec{VM: backend.Key{Host: "hv1", UUID: backend.UUID{'1', 1}}, Name: "web2", Priority: 80, Nice: 5, Estimate: 24 * time.Hour, Limit: 36 * time.Hour, Host: "hv1",
		After: []backend.JobID{11, 13}, Begin: time.Date(2099, 1, 31, 22, 0, 0, 0, time.UTC), Hold: true, Preemptible: true,
		Tags: []string{"ci", "x", "y"}, Near: []string{"db"}, Apart: []string{"web"}}
	if got := q.specs[0]; !got.Begin.Equal(want.Begin) {
		t.Errorf("begin %v", got.Begin)
	}
	q.specs[0].Begin = want.Begin
	if !reflect.DeepEqual(q.specs[0], want) {
		t.Errorf("asked for\n%+v, want\n%+v", q.specs[0], want)
	}
	if hosts := q.opened.Fleet(); len(hosts) != 1 || hosts[0].Name() != "hv1" || q.opened.Ensure == nil || q.opened.Demo {
		t.Errorf("opened with %+v", q.opened)
	}
}

func TestSubmitIsAllOrNone(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"web2", "nosuch"}, 1, "nothing was queued"},
		{[]string{"web2", "--priority", "101"}, 2, "--priority 101: use 0 to 100"},
		{[]string{"web2", "--begin", "yesterday"}, 2, "--begin: "},
		{[]string{"web2", "--begin", "2001-01-01"}, 2, "has passed already"},
		{[]string{"web2", "--estimate", "5"}, 2, "write 90s, 15m, 2h or 3d"},
		{[]string{"web2", "--tag", "a b"}, 2, "cannot be a tag"},
		{[]string{"web2", "--after", "nosuch"}, 1, "--after: nosuch: no such job"},
		{[]string{"web2", "-o", "table"}, 2, "use text or json"},
		{[]string{"web2", "-r"}, 1, "read-only"},
		{[]string{}, 2, "submit what?"},
		{[]string{"web2", "--filter", "web"}, 2, "not both"},
		{[]string{"--filter", "nosuch"}, 1, "no VM matches"},
		{[]string{"web2", "--demo"}, 2, "exclude one another"},
	} {
		q := newFakeQueue()
		code, out, errs := withFake(t, q, append([]string{"submit", "-c", "fake://hv1"}, tt.args...)...)
		if code != tt.code || out != "" || !strings.Contains(errs, tt.want) || len(q.calls) > 0 {
			t.Errorf("%v: code %d, %q, stderr %q, calls %v", tt.args, code, out, errs, q.calls)
		}
	}
}

// A job whose engine does not come up is queued all the same, and said to be.
func TestSubmitTellsTheJobsWhenNoEngineComesUp(t *testing.T) {
	q := newFakeQueue()
	home := t.TempDir()
	var out, errs bytes.Buffer
	p := testProgram([]string{"queue", "submit", "-c", "fake://hv1", "web2"}, func(k string) string { return map[string]string{"HOME": home}[k] })
	p.Stdin, p.Stdout, p.Stderr = strings.NewReader(""), &out, &errs
	p.Queue = func(context.Context, QueueOptions) (backend.Queue, error) { return halfQueue{q}, nil }
	if code := p.Run(t.Context()); code != 1 || out.String() != "20: web2: queued\n" || !strings.Contains(errs.String(), "engine does not run") {
		t.Errorf("code %d, %q, %q", code, out.String(), errs.String())
	}
}

type halfQueue struct{ *fakeQueue }

func (h halfQueue) Submit(ctx context.Context, specs []backend.JobSpec) ([]backend.JobID, error) {
	ids, err := h.fakeQueue.Submit(ctx, specs)
	return ids, errors.Join(err, backend.ErrEngine)
}

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

func TestWaitTellsByItsExitCode(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		out  string
		errs string
	}{
		{[]string{"web2", "11"}, 0, "11: web1: done\n12: web2: done\n", ""},
		{[]string{"13"}, 1, "13: web10: timeout: stopped at its limit\n", ""},
		{[]string{"8"}, 1, "8: broken1: failed: internal error: �[2Jqemu died\n", ""},
		{[]string{"9"}, 0, "9: web1: done\n", ""},
		{[]string{"14", "--timeout", "1ms"}, 1, "", "no answer in time: not all had ended after 1ms"},
		{[]string{"99"}, 1, "", "no such job"},
	} {
		code, out, errs := withFake(t, newFakeQueue(), append([]string{"wait"}, tt.args...)...)
		if code != tt.code || out != tt.out || !strings.Contains(errs, tt.errs) {
			t.Errorf("%v: code %d, %q, %q", tt.args, code, out, errs)
		}
	}
	_, out, _ := withFake(t, newFakeQueue(), "wait", "13", "11", "-o", "json")
	var list []struct {
		Job   int
		State string
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 2 || list[0].Job != 11 || list[1].State != "timeout" {
		t.Errorf("%v, %s", err, out)
	}
}

func TestLog(t *testing.T) {
	lines := func(args ...string) []string {
		t.Helper()
		code, out, errs := withFake(t, newFakeQueue(), append([]string{"log"}, args...)...)
		if code != 0 || errs != "" || strings.ContainsAny(out, "\x1b\x07") {
			t.Fatalf("%v: code %d, %q, %q", args, code, out, errs)
		}
		return strings.Split(strings.TrimSpace(out), "\n")
	}
	all := lines()
	if len(all) != 3 || all[0] != "2026-03-04 11:30:00  12 web2: submitted  (bob)" || all[1] != "2026-03-04 11:40:00  the queue: policy  order hrrn  (alice)" {
		t.Errorf("%q", all)
	}
	if got := lines("web2"); len(got) != 2 {
		t.Errorf("of one job: %q", got)
	}
	if got := lines("--since", "5m"); len(got) != 1 || !strings.Contains(got[0], "reserved") {
		t.Errorf("since: %q", got)
	}
	if got := lines("-n", "1", "-o", "json"); len(got) != 1 || !strings.Contains(got[0], `"what":"reserved"`) {
		t.Errorf("as JSON: %q", got)
	}
	for text, args := range map[string][]string{"no such job": {"99"}, "takes one JOB": {"1", "2"}, "use 0 for all": {"-n", "-1"}} {
		if code, _, errs := withFake(t, newFakeQueue(), append([]string{"log"}, args...)...); code == 0 || !strings.Contains(errs, text) {
			t.Errorf("%v: code %d, %s", args, code, errs)
		}
	}
}

// A log that is followed ends with the context; what happens till then is
// printed once each.
func TestLogFollows(t *testing.T) {
	q := newFakeQueue()
	home := t.TempDir()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := testProgram([]string{"queue", "log", "--follow", "-n", "1"}, func(k string) string { return map[string]string{"HOME": home}[k] })
	p.Stdin, p.Stdout, p.Stderr = strings.NewReader(""), writerFunc(func(b []byte) (int, error) {
		if bytes.Contains(b, []byte("timeout")) {
			cancel() // the last thing that will happen
		}
		return out.Write(b)
	}), &errs
	p.Queue = func(context.Context, QueueOptions) (backend.Queue, error) { return q, nil }
	p.Run(ctx)
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(got) != 4 || !strings.Contains(got[1], "11 web1: done") || !strings.Contains(got[3], "13 web10: timeout") {
		t.Errorf("%q", got)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestQueueCompletion(t *testing.T) {
	complete := func(args ...string) string {
		t.Helper()
		home := t.TempDir()
		var out bytes.Buffer
		p := testProgram(append([]string{"__complete", "queue"}, args...), func(k string) string { return map[string]string{"HOME": home}[k] })
		p.Stdin, p.Stdout, p.Stderr = strings.NewReader(""), &out, io.Discard
		p.Queue = func(context.Context, QueueOptions) (backend.Queue, error) { return newFakeQueue(), nil }
		p.Run(t.Context())
		return out.String()
	}
	for _, tt := range []struct {
		args       string
		has, lacks []string
	}{
		{"hold |", []string{"12\tweb2 reserved", "13\tweb10 queued"}, []string{"11\t", "14\t", "9\t"}},
		{"hold 12 |", []string{"13\t"}, []string{"12\t"}},
		{"release |", []string{"14\t"}, []string{"12\t"}},
		{"cancel |", []string{"11\t", "14\t"}, []string{"9\t"}},
		{"retry |", []string{"8\t"}, []string{"12\t"}},
		{"show |", []string{"9\tweb1 done"}, nil},
		{"drain |", []string{"hv1\tup, 10 vCPU and 20G free", "hv2\tdrained"}, nil},
		{"submit --host |", []string{"hv1\t"}, nil},
		{"submit --after |", []string{"12\t"}, []string{"9\t"}},
		{"submit --near |", []string{"web\n"}, nil},
		{"submit -c fake://hv2 |", []string{"off1\tshut off"}, []string{"deaf1"}},
		{"policy --order |", []string{"fcfs", "hrrn", "sjf"}, nil},
		{"set 12 --host |", []string{"any", "hv2\t"}, nil},
		{"list -o |", []string{"json", "table"}, nil},
	} {
		args := strings.Split(strings.TrimSuffix(tt.args, "|"), " ")
		got := "\n" + complete(args...)
		for _, want := range tt.has {
			if !strings.Contains(got, "\n"+want) {
				t.Errorf("%s lacks %q: %q", tt.args, want, got)
			}
		}
		for _, no := range tt.lacks {
			if strings.Contains(got, "\n"+no) {
				t.Errorf("%s has %q: %q", tt.args, no, got)
			}
		}
	}
}

func TestMoments(t *testing.T) {
	zone := time.FixedZone("east", 3600)
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, zone) // a Wednesday
	for text, want := range map[string]time.Time{
		"+2h":                  now.Add(2 * time.Hour),
		"+1d12h":               now.Add(36 * time.Hour),
		"22:00":                time.Date(2026, 3, 4, 22, 0, 0, 0, zone),
		"9:30":                 time.Date(2026, 3, 5, 9, 30, 0, 0, zone),
		"tomorrow 02:00":       time.Date(2026, 3, 5, 2, 0, 0, 0, zone),
		"  Tomorrow   02:00 ":  time.Date(2026, 3, 5, 2, 0, 0, 0, zone),
		"today 13:00":          time.Date(2026, 3, 4, 13, 0, 0, 0, zone),
		"sat 06:30":            time.Date(2026, 3, 7, 6, 30, 0, 0, zone),
		"Wednesday 11:00":      time.Date(2026, 3, 11, 11, 0, 0, 0, zone),
		"wed 13:00":            time.Date(2026, 3, 4, 13, 0, 0, 0, zone),
		"2026-03-31 22:00":     time.Date(2026, 3, 31, 22, 0, 0, 0, zone),
		"2026-04-01":           time.Date(2026, 4, 1, 0, 0, 0, 0, zone),
		"2026-03-04T13:00:00Z": time.Date(2026, 3, 4, 13, 0, 0, 0, time.UTC),
		"now":                  {},
	} {
		if got, err := parseMoment(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{"": "is not a time", "25:00": "is not a time", "tomorrow": "is not a time", "noon": "write +2h", "today 09:00": "has passed", "2020-01-01": "has passed",
		"+soon": "is not a time", "+0s": "has passed", "sometime 02:00": "is not a time"} {
		if got, err := parseMoment(text, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestTheListOfVMsTellsOfTheirJobs(t *testing.T) {
	home := t.TempDir()
	list := func(args ...string) (string, string) {
		t.Helper()
		var out, errs bytes.Buffer
		p := testProgram(append([]string{"vm", "list", "-c", "fake://hv1"}, args...), func(k string) string { return map[string]string{"HOME": home}[k] })
		p.Stdin, p.Stdout, p.Stderr = strings.NewReader(""), &out, &errs
		p.Queue = func(context.Context, QueueOptions) (backend.Queue, error) { return newFakeQueue(), nil }
		p.Run(t.Context())
		return out.String(), errs.String()
	}
	if out, errs := list("--columns", "name,queue", "-o", "csv"); strings.Contains(out, "reserved") || errs != "" {
		t.Errorf("where there is no queue: %q, %q", out, errs)
	}
	state := filepath.Join(home, ".local", "state", "berth")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, stateFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs := list("--columns", "name,queue", "-o", "csv"); out != "name,queue\nbroken1,\nweb1,running\nweb2,reserved #1\nweb10,queued #2\n" || errs != "" {
		t.Errorf("%q, %q", out, errs)
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

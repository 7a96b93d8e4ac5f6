package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/backend"
)

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

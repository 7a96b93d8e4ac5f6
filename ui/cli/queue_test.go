package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

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

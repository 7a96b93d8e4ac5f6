package cli

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

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

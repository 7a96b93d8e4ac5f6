package sim

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"berth/backend/queue"
)

const swf = `; Version: 2.2
; MaxProcs: 4

1 0 5 100 4 -1 -1 -1 200 -1 1 7 1 -1 -1 -1 -1 -1
2 10 5 50.7 9 -1 -1 2 60 -1 1 8 1 -1 -1 -1 -1 -1
3 5 5 -1 1 -1 -1 1 60 -1 1 8 1 -1 -1 -1 -1 -1
4 5 5 10 -1 -1 -1 -1 60 -1 1 8 1 -1 -1 -1 -1 -1
5 5 5 70 1 -1 -1 0 60 -1 1 -1 1 -1 -1 -1 -1 -1
`

func TestReadSWF(t *testing.T) {
	w, err := Read("x.swf", strings.NewReader(swf))
	if err != nil {
		t.Fatal(err)
	}
	want := []Job{
		{ID: "1", Run: 100, Estimate: 200, Size: queue.Size{VCPU: 4}, Owner: "7"}, // field 5, for field 8 is unknown
		{ID: "5", Submit: 5, Run: 70, Estimate: 60, Size: queue.Size{VCPU: 1}},
		{ID: "2", Submit: 10, Run: 50, Estimate: 60, Size: queue.Size{VCPU: 2}, Owner: "8"},
	}
	if len(w.Jobs) != len(want) || w.LeftOut != 2 || w.Procs != 4 {
		t.Fatalf("%+v", w)
	}
	for i := range want {
		if w.Jobs[i] != want[i] {
			t.Errorf("%+v instead of %+v", w.Jobs[i], want[i])
		}
	}
}

func TestReadCSV(t *testing.T) {
	const text = "\ufeffid,submit,run,est,vcpu,mem_mib\r\na,5,10,20,2,1024\n# a comment\n\nb, 3, 0, 20, 1, 0\n"
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x.csv", "x.csv.gz", "-"} {
		for _, in := range []string{text, packed.String()} {
			w, err := Read(name, strings.NewReader(in))
			if err != nil {
				t.Fatal(err)
			}
			if len(w.Jobs) != 2 || w.Jobs[0].ID != "b" || w.Jobs[1] != (Job{ID: "a", Submit: 5, Run: 10, Estimate: 20, Size: queue.Size{VCPU: 2, Memory: 1024}}) {
				t.Errorf("%s: %+v", name, w)
			}
		}
	}
}

func TestMalformedLines(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"x.csv", "id,submit,run,est,vcpu,mem_mib\na,1,2,3,4\n", "line 2: 5 fields"},
		{"x.csv", "a,1,2,3,4,5\nb,1,2,x,4,5\n", `line 2: est: "x" is not a number`},
		{"x.csv", "a,1,2,3,4,-5\n", "line 1: mem_mib: -5 is negative"},
		{"x.csv", "a,1,2,0,4,5\n", "line 1: est"},
		{"x.csv", ",1,2,3,4,5\n", "line 1: id"},
		{"x.csv", "a,1,2,99999999999999,4,5\n", "beyond all measure"},
		{"x.csv", "a,NaN,2,3,4,5\n", "not a number"},
		{"x.csv", "a,1,2,3,4,5\n" + strings.Repeat("x", 70_000), "line 2: longer than"},
		{"x.swf", swf + "6 0 0\n", "line 9: 3 fields"},
		{"x.swf", strings.Replace(swf, "50.7", "fifty", 1), `line 5: field 4: "fifty"`},
		{"x.gz", "\x1f\x8bnot gzip", "gzip"},
	} {
		_, err := Read(c.name, strings.NewReader(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), c.name) {
			t.Errorf("%q: %v, without %q", c.text[:min(len(c.text), 60)], err, c.want)
		}
	}
}

// Three jobs on four processors, worked out by hand.
func TestMetrics(t *testing.T) {
	w := Workload{Jobs: []Job{
		{ID: "a", Submit: 0, Run: 100, Estimate: 100, Size: queue.Size{VCPU: 3}},
		{ID: "b", Submit: 10, Run: 200, Estimate: 50, Size: queue.Size{VCPU: 4}}, // stopped at its estimate
		{ID: "c", Submit: 20, Run: 5, Estimate: 80, Size: queue.Size{VCPU: 1}},   // backfilled
		{ID: "huge", Submit: 30, Run: 5, Estimate: 80, Size: queue.Size{VCPU: 5}},
	}}
	m, rows := run(t, Config{Policy: queue.Policy{Order: queue.FCFS, Backfill: queue.EASY, Placement: queue.FirstFit, Firm: true}, Hosts: One(4)}, w)
	want := Metrics{
		Jobs: 3, NeverFit: 1, MeanWait: 30, P95Wait: 90, MaxWait: 90, MeanFlow: 30 + 155.0/3,
		MeanBSLD: (1 + 140.0/50 + 1) / 3, MaxBSLD: 2.8, UtilizationVCPU: (300 + 200 + 5) / (4 * 150.0), Makespan: 150,
	}
	for _, f := range []struct {
		name      string
		got, want float64
	}{
		{"jobs", float64(m.Jobs), float64(want.Jobs)}, {"never_fit", float64(m.NeverFit), 1}, {"mean_wait_s", m.MeanWait, want.MeanWait},
		{"p95_wait_s", m.P95Wait, want.P95Wait}, {"max_wait_s", m.MaxWait, want.MaxWait}, {"mean_flow_s", m.MeanFlow, want.MeanFlow},
		{"mean_bsld", m.MeanBSLD, want.MeanBSLD}, {"max_bsld", m.MaxBSLD, want.MaxBSLD}, {"makespan_s", m.Makespan, want.Makespan},
		{"utilization_vcpu", m.UtilizationVCPU, want.UtilizationVCPU}, {"utilization_mem", m.UtilizationMemory, 0},
	} {
		if math.Abs(f.got-f.want) > 1e-9 {
			t.Errorf("%s is %g instead of %g", f.name, f.got, f.want)
		}
	}
	if len(m.NeverFits) != 1 || m.NeverFits[0] != "huge" {
		t.Errorf("never fits: %v", m.NeverFits)
	}
	var out strings.Builder
	if err := WriteSchedule(&out, rows); err != nil {
		t.Fatal(err)
	}
	const schedule = "id,submit,start,end,host,promised_start\na,0,0,100,host-1,\nb,10,100,150,host-1,100\nc,20,20,25,host-1,\n"
	if out.String() != schedule {
		t.Errorf("schedule:\n%s", out.String())
	}
}

func TestRunHonoursItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := Run(ctx, Config{Policy: queue.Default(), Hosts: One(4)}, Workload{Jobs: []Job{{ID: "a", Run: 1, Estimate: 1}}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestRunOfNothing(t *testing.T) {
	if m, rows := run(t, Config{Policy: queue.Default(), Hosts: One(4)}, Workload{}); m.Jobs != 0 || len(rows) != 0 || m.MeanBSLD != 0 {
		t.Errorf("%+v", m)
	}
	m, _ := run(t, Config{Policy: queue.Default()}, Workload{Jobs: []Job{{ID: "a", Run: 1, Estimate: 1}}})
	if m.NeverFit != 1 {
		t.Errorf("without hosts: %+v", m)
	}
}

// Whatever is in a file, it is read or refused, and what is read can be played.
func FuzzRead(f *testing.F) {
	f.Add("x.swf", swf)
	f.Add("x.csv", "id,submit,run,est,vcpu,mem_mib\na,5,10,20,2,1024\n")
	f.Add("", "a,5,0,20,2,1024\nb,5,10,1,2,0")
	f.Add("x.gz", "\x1f\x8b\x08")
	f.Fuzz(func(t *testing.T, name, text string) {
		w, err := Read(name, strings.NewReader(text))
		if err != nil || len(w.Jobs) > 200 {
			return
		}
		m, rows, err := Run(context.Background(), Config{Policy: queue.Default(), Hosts: One(8)}, w)
		if err != nil {
			t.Fatal(err)
		}
		if m.Jobs+m.NeverFit != len(w.Jobs) || len(rows) != len(w.Jobs) {
			t.Errorf("%d jobs and %d that never fit of %d", m.Jobs, m.NeverFit, len(w.Jobs))
		}
		for i, r := range rows {
			if r.Host != "" && (r.Start < r.Submit || r.End < r.Start || r.Submit != w.Jobs[i].Submit) {
				t.Errorf("%+v", r)
			}
		}
	})
}

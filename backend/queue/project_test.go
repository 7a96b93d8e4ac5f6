package queue

import (
	"math/rand"
	"strings"
	"testing"
)

func TestProject(t *testing.T) {
	in := Input{Now: 1000, Policy: easy, Hosts: []Host{one("a"), one("b")},
		Running: []Running{runs(100, 0, 8, 2, 2000), runs(101, 1, 8, 2, 3000), runs(102, 1, 0, 1, 900)},
		Jobs: []Job{
			job(1, 8, 2, 500), // host a at 2000
			job(2, 8, 2, 500), // then a at 2500
			with(job(3, 1, 1, 10), func(j *Job) { j.Begin = 2600 }),                   // b is full, a too: a or b at 3000
			with(job(4, 1, 1, 10), func(j *Job) { j.NotReady, j.WaitsFor = true, 1 }), // after job 1, behind job 2
			with(job(5, 1, 1, 10), func(j *Job) { j.Held = true }),                    // nobody knows
			job(6, 9, 1, 10), // never
			with(job(7, 1, 1, 10), func(j *Job) { j.NotReady, j.Begin = true, 4000 }), // the next try
			job(8, 8, 2, Never), // at 3000 on b or a
		}}
	want := []Forecast{{2000, 0}, {2500, 0}, {3000, 0}, {3000, 0}, {Never, -1}, {Never, -1}, {4000, 0}, {3000, 1}}
	got := Project(in, 0)
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("job %d: %+v instead of %+v", in.Jobs[i].ID, got[i], want[i])
		}
	}
	got = Project(in, 1)
	if got[0] != want[0] || got[1] != (Forecast{Never, -1}) {
		t.Errorf("of the first job only: %+v", got)
	}
	if in.Jobs[3].NotReady != true {
		t.Error("Project changed its input")
	}
}

// When nobody else comes and estimates hold exactly, the projection is what happens.
func TestProjectComesTrue(t *testing.T) {
	for seed := range int64(50) {
		r := rand.New(rand.NewSource(seed))
		in := crowd(60, 3, 1, Policy{Order: pick(r, FCFS, SJF), Backfill: pick(r, Backfills()...), Placement: FirstFit, Firm: true})
		for i := range in.Jobs {
			in.Jobs[i].Age = in.Now - in.Jobs[i].Submit
		}
		want := Project(in, 0)
		m := NewMachine(in.Policy, in.Hosts)
		m.b.now = in.Now
		m.b.load(in.Running)
		index := map[int64]int{}
		var ends events
		for i := range in.Jobs {
			index[in.Jobs[i].ID] = i
			j := in.Jobs[i]
			m.Submit(&j)
		}
		for _, run := range in.Running {
			ends.push(event{at: run.End, host: run.Host, id: run.ID, end: run.End})
		}
		for now := in.Now; ; {
			m.Pass(now, func(j *Job, host int) {
				if f := want[index[j.ID]]; f.At != now || f.Host != host {
					t.Errorf("seed %d: job %d starts at %d on %d instead of %+v", seed, j.ID, now, host, f)
				}
				if j.Estimate < Never {
					ends.push(event{at: now + j.Estimate, host: host, id: j.ID, end: now + j.Estimate})
				}
			}, nil)
			if len(ends) == 0 {
				break
			}
			for now = ends[0].at; len(ends) > 0 && ends[0].at == now; {
				e := ends.pop()
				m.End(e.host, e.id, e.end)
			}
		}
	}
}

func TestExplain(t *testing.T) {
	in := Input{Now: 1000, Policy: easy, Hosts: []Host{one("a"), one("b"), {Name: "c", Capacity: Size{8, 16, 100}, Out: true, Why: HostDrained}, {Name: "d", Capacity: Size{2, 2, 2}}},
		Running: []Running{
			{ID: 100, Host: 0, Size: Size{6, 2, 1}, Start: 10, End: 5000, Priority: 10},
			{ID: 101, Host: 0, Size: Size{2, 2, 1}, Start: 20, End: 9000, Priority: 90},
			{ID: 102, Host: 1, Size: Size{1, 12, 1}, Start: 30, End: Never, Priority: 50},
		},
		Jobs: []Job{job(1, 8, 2, 1000), job(2, 4, 8, 3000)}}
	w := Explain(in, 1)
	if w.Verdict.Position != 2 || len(w.Ahead) != 1 || w.Ahead[0] != 0 {
		t.Errorf("position %d, ahead %v", w.Verdict.Position, w.Ahead)
	}
	if f := w.Hosts[0]; f.Fits || len(f.Short) != 1 || f.Short[0] != (Short{"cpu", 4, 0}) || f.At != 5000 {
		t.Errorf("host a: %+v", f)
	}
	if f := w.Hosts[1]; len(f.Short) != 1 || f.Short[0] != (Short{"mem", 8, 4}) || f.At != Never {
		t.Errorf("host b: %+v", f)
	}
	if w.Hosts[2].Why.Code != "Maintenance" || w.Hosts[3].Why.Code != "NeverFits" || w.Hosts[3].Why.Dimension != "mem" {
		t.Errorf("hosts c, d: %+v", w.Hosts[2:])
	}
	if w.Forecast.At != 5000 || w.Forecast.Host != 0 {
		t.Errorf("forecast: %+v", w.Forecast)
	}
	var kinds []string
	for n, r := range w.Sooner {
		kinds = append(kinds, r.Kind)
		if r.At >= w.Forecast.At || n > 0 && r.At < w.Sooner[n-1].At {
			t.Errorf("remedy %q at %d", r.Text, r.At)
		}
	}
	if got := strings.Join(kinds, " "); got != "size end end" {
		t.Errorf("remedies: %+v", w.Sooner)
	}
	if r := w.Sooner[0]; r.Size != (Size{4, 4, 1}) || r.At != 1000 || r.Text != "give it 4M of memory instead of 8M" {
		t.Errorf("remedy: %+v", r)
	}
}

// Each remedy brings what it says when it is done.
func TestRemedies(t *testing.T) {
	base := Input{Now: 1000, Policy: easy, Hosts: []Host{one("a"), one("b")}, Running: []Running{runs(100, 0, 6, 2, 2000), runs(101, 1, 8, 2, 9000)}}
	for _, c := range []struct {
		kind, text string
		jobs       []Job
		at         Time
	}{
		{"release", "release it", []Job{with(job(1, 2, 2, 10), func(j *Job) { j.Held = true })}, 1000},
		{"top", "move it to the top", []Job{with(job(1, 8, 2, 5000), func(j *Job) {}), job(2, 8, 2, 5000)}, 2000},
		{"host", "let it run on any host", []Job{with(job(1, 2, 2, 10), func(j *Job) { j.Host = 1 })}, 1000},
		{"estimate", "give it an estimate of at most 16m", []Job{job(1, 8, 2, 100), job(2, 2, 2, 5000)}, 1000},
	} {
		in := base
		in.Jobs = c.jobs
		found := false
		for _, r := range Explain(in, len(c.jobs)-1).Sooner {
			if r.Kind == c.kind {
				found = true
				if r.Text != c.text || r.At != c.at {
					t.Errorf("%s: %+v", c.kind, r)
				}
			}
		}
		if !found {
			t.Errorf("%s: not found in %+v", c.kind, Explain(in, len(c.jobs)-1).Sooner)
		}
	}
}

func TestFactors(t *testing.T) {
	for _, o := range Orders() {
		in := Input{Now: 1000, Policy: Policy{Order: o, Backfill: EASY, Placement: Snug, Firm: true}, Hosts: []Host{one("a")},
			Running: []Running{runs(100, 0, 8, 2, 2000)}, Jobs: []Job{with(job(1, 2, 2, 3600), func(j *Job) { j.Priority, j.Nice, j.Age = 70, 30, 7200 })}}
		w := Explain(in, 0)
		sum := 0.0
		for _, f := range w.Factors {
			sum += f.Value
			if f.Text == "" || f.Name == "" {
				t.Errorf("%s: %+v", o, f)
			}
		}
		if d := sum - w.Verdict.Score; d > 1e-9 || d < -1e-9 {
			t.Errorf("%s: the factors add up to %g, not %g: %+v", o, sum, w.Verdict.Score, w.Factors)
		}
	}
}

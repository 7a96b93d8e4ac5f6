package queue

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"
)

// world is a random queue that is lived through with Schedule alone, as the
// engine does: whatever it says is done, and every promise is given back.
type world struct {
	t        *testing.T
	r        *rand.Rand
	in       Input
	future   []Job // not submitted yet, by submit time
	truth    map[int64]Time
	runs     map[int64]Job
	promised map[int64]Time // the first promise of each job
	kept     int
	started  int
}

func TestPromisesAreKept(t *testing.T) {
	kept := map[string]int{}
	for seed := range int64(400) {
		r := rand.New(rand.NewSource(seed))
		w := newWorld(t, r)
		w.live(seed)
		kept[string(w.in.Policy.Order)+" "+string(w.in.Policy.Backfill)] += w.kept
	}
	for _, o := range Orders() {
		for _, b := range Backfills() {
			if kept[string(o)+" "+string(b)] == 0 {
				t.Errorf("%s %s made no promise at all", o, b)
			}
		}
	}
}

// pick is one of choices.
func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.Intn(len(choices))] }

func newWorld(t *testing.T, r *rand.Rand) *world {
	w := &world{t: t, r: r, truth: map[int64]Time{}, runs: map[int64]Job{}, promised: map[int64]Time{}}
	w.in.Policy = Policy{Order: pick(r, Orders()...), Backfill: pick(r, Backfills()...), Placement: pick(r, Placements()...), Firm: true}
	for i := range 1 + r.Intn(4) {
		w.in.Hosts = append(w.in.Hosts, Host{Name: fmt.Sprint("h", i), Capacity: Size{VCPU: 4 + r.Int63n(12), Memory: 8 + r.Int63n(24), Disk: 100}})
	}
	tags := []string{"db", "web", "gpu"}
	at := Time(0)
	for i := range 20 + r.Intn(60) {
		at += Time(r.Intn(1 + pick(r, 10, 600, 7200)))
		e := Time(1 + r.Intn(pick(r, 60, 3600, 86400)))
		j := Job{ID: int64(i + 1), Submit: at, Estimate: e, Host: -1, Priority: r.Intn(101),
			Size: Size{VCPU: 1 + r.Int63n(8), Memory: 1 + r.Int63n(16), Disk: r.Int63n(40)}}
		if r.Intn(8) == 0 {
			j.Begin = at + Time(r.Intn(20000))
		}
		if r.Intn(8) == 0 {
			j.Host = r.Intn(len(w.in.Hosts))
		}
		if r.Intn(8) == 0 {
			j.Hosts = []int32{int32(r.Intn(len(w.in.Hosts)))}
		}
		if r.Intn(4) == 0 {
			j.Tags = []string{pick(r, tags...)}
		}
		if r.Intn(6) == 0 {
			j.Apart = []string{pick(r, tags...)}
		}
		if r.Intn(16) == 0 {
			j.Near = []string{pick(r, tags...)}
		}
		w.truth[j.ID] = 1 + Time(r.Int63n(int64(e)))
		if r.Intn(3) == 0 {
			w.truth[j.ID] = e
		}
		w.future = append(w.future, j)
	}
	return w
}

// live plays until nothing happens any more.
func (w *world) live(seed int64) {
	for n := 0; ; n++ {
		next := Never
		if len(w.future) > 0 {
			next = w.future[0].Submit
		}
		for id, j := range w.runs {
			next = min(next, j.Age+w.truth[id]) // Age holds the start
		}
		for i := range w.in.Jobs {
			if b := w.in.Jobs[i].Begin; b > w.in.Now {
				next = min(next, b)
			}
		}
		if next == Never || n > 5000 {
			break
		}
		w.in.Now = next
		w.happen()
		w.schedule(seed)
		if w.t.Failed() {
			return
		}
	}
}

// happen ends and submits what is due.
func (w *world) happen() {
	now := w.in.Now
	w.in.Running = slices.DeleteFunc(w.in.Running, func(r Running) bool {
		ends := r.Start+w.truth[r.ID] <= now
		if ends {
			delete(w.runs, r.ID)
		}
		return ends
	})
	for len(w.future) > 0 && w.future[0].Submit <= now {
		w.in.Jobs = append(w.in.Jobs, w.future[0])
		w.future = w.future[1:]
	}
	for i := range w.in.Jobs {
		w.in.Jobs[i].Age = max(0, now-max(w.in.Jobs[i].Submit, w.in.Jobs[i].Begin))
	}
	w.r.Shuffle(len(w.in.Jobs), func(i, j int) { w.in.Jobs[i], w.in.Jobs[j] = w.in.Jobs[j], w.in.Jobs[i] })
}

// schedule makes one pass and does what it says.
func (w *world) schedule(seed int64) {
	p := Schedule(w.in)
	now := w.in.Now
	for i, v := range p.Jobs {
		j := &w.in.Jobs[i]
		if first, ok := w.promised[j.ID]; ok && now > first && !v.Starts {
			w.t.Errorf("seed %d, %v: job %d was promised %d and still waits at %d: %+v", seed, w.in.Policy, j.ID, first, now, v)
		}
		if v.Promise.Made && w.promised[j.ID] == 0 {
			w.promised[j.ID] = v.Promise.At
		}
		j.Promise = v.Promise
		if v.Starts == (v.Why.Code != "") {
			w.t.Errorf("seed %d: job %d starts: %v, and why it does not: %v", seed, j.ID, v.Starts, v.Why)
		}
	}
	for _, s := range p.Starts {
		w.start(seed, s)
	}
	w.in.Jobs = slices.DeleteFunc(w.in.Jobs, func(j Job) bool { _, ok := w.runs[j.ID]; return ok })
	w.check(seed)
}

// start does one start and checks that it was allowed.
func (w *world) start(seed int64, s Start) {
	j := w.in.Jobs[s.Job]
	if j.Begin > w.in.Now || !j.allowed(s.Host) || w.in.Hosts[s.Host].Out {
		w.t.Errorf("seed %d: job %d may not start on host %d at %d", seed, j.ID, s.Host, w.in.Now)
	}
	near := map[string]bool{}
	for _, r := range w.in.Running {
		if r.Host != s.Host {
			continue
		}
		for _, tag := range r.Tags {
			near[tag] = true
		}
		if overlap(j.Apart, r.Tags) || overlap(r.Apart, j.Tags) {
			w.t.Errorf("seed %d: job %d meets job %d", seed, j.ID, r.ID)
		}
	}
	for _, tag := range j.Near {
		if !near[tag] {
			w.t.Errorf("seed %d: job %d misses %s", seed, j.ID, tag)
		}
	}
	if _, ok := w.promised[j.ID]; ok {
		w.kept++
	}
	w.started++
	w.in.Running = append(w.in.Running, Running{ID: j.ID, Host: s.Host, Size: j.Size, Start: w.in.Now, End: w.in.Now + j.Estimate, Tags: j.Tags, Apart: j.Apart})
	j.Age = w.in.Now
	w.runs[j.ID] = j
}

// check adds up what runs.
func (w *world) check(seed int64) {
	used := make([]Size, len(w.in.Hosts))
	for _, r := range w.in.Running {
		used[r.Host].add(&r.Size)
	}
	for i := range used {
		if !used[i].fits(&w.in.Hosts[i].Capacity) {
			w.t.Errorf("seed %d: host %d is overcommitted: %v of %v", seed, i, used[i], w.in.Hosts[i].Capacity)
		}
	}
}

// The order in which the caller lists things must not matter, nor how often it asks.
func TestScheduleIsDeterministic(t *testing.T) {
	r := rand.New(rand.NewSource(3))
	for range 20 {
		in := crowd(500, 20, r.Float64(), Policy{Order: pick(r, Orders()...), Backfill: pick(r, Backfills()...), Placement: pick(r, Placements()...), Firm: true, Preempt: true, NPlus1: r.Intn(2) == 0})
		want := told(in)
		for range 3 {
			in.Jobs, in.Running = slices.Clone(in.Jobs), slices.Clone(in.Running)
			r.Shuffle(len(in.Jobs), func(i, j int) { in.Jobs[i], in.Jobs[j] = in.Jobs[j], in.Jobs[i] })
			r.Shuffle(len(in.Running), func(i, j int) { in.Running[i], in.Running[j] = in.Running[j], in.Running[i] })
			if got := told(in); got != want {
				t.Fatalf("%v: another order of the input gave another plan", in.Policy)
			}
		}
	}
}

// told is a plan in words that do not depend on the order of the input.
func told(in Input) string {
	p := Schedule(in)
	s := ""
	for _, i := range p.Order {
		v := p.Jobs[i]
		s += fmt.Sprintln(in.Jobs[i].ID, v.Position, v.Starts, v.Host, v.ETA, v.Why, v.Promise)
	}
	for _, e := range p.Preempts {
		s += fmt.Sprintln(in.Running[e.Running].ID, in.Jobs[e.For].ID)
	}
	return s
}

package queue

import "testing"

// one is a host of 8 vCPUs, 16 of memory and 100 of disk.
func one(name string) Host {
	return Host{Name: name, Capacity: Size{VCPU: 8, Memory: 16, Disk: 100}}
}

// job is a job of that size that may run anywhere.
func job(id, vcpu, memory int64, estimate Time) Job {
	return Job{ID: id, Priority: neutral, Submit: Time(id), Age: 1000 - Time(id), Host: -1, Estimate: estimate, Size: Size{VCPU: vcpu, Memory: memory, Disk: 1}}
}

// runs is something of that size on a host.
func runs(id int64, host int, vcpu, memory int64, end Time) Running {
	return Running{ID: id, Host: host, Size: Size{VCPU: vcpu, Memory: memory, Disk: 1}, Start: 500, End: end}
}

// with changes a job.
func with(j Job, do func(*Job)) Job {
	do(&j)
	return j
}

// easy is FCFS with EASY, and firm.
var easy = Policy{Order: FCFS, Backfill: EASY, Placement: FirstFit, Firm: true}

func TestReasons(t *testing.T) {
	none := Policy{Order: FCFS, Backfill: NoBackfill, Placement: FirstFit}
	full := []Running{runs(100, 0, 8, 2, 2000)}
	for _, c := range []struct {
		name    string
		policy  Policy
		hosts   []Host
		running []Running
		jobs    []Job
		want    []string // of each job; "" starts
	}{
		{"it fits", easy, []Host{one("a")}, nil, []Job{job(1, 8, 16, 10)}, []string{""}},
		{"no vCPU", easy, []Host{one("a")}, full, []Job{job(1, 1, 1, 10)}, []string{"Resources(cpu)"}},
		{"no memory", easy, []Host{one("a")}, []Running{runs(100, 0, 1, 12, 2000)}, []Job{job(1, 2, 8, 10)}, []string{"Resources(mem)"}},
		{"no disk", easy, []Host{one("a")}, []Running{runs(100, 0, 1, 1, 2000)},
			[]Job{with(job(1, 2, 8, 10), func(j *Job) { j.Size.Disk = 100 })}, []string{"Resources(disk)"}},
		{"one host has the vCPUs, the other the memory", easy, []Host{one("a"), one("b")},
			[]Running{runs(100, 0, 1, 12, 2000), runs(101, 1, 7, 1, 2000)}, []Job{job(1, 4, 8, 10)}, []string{"Resources(mem)"}},
		{"the head has room kept", easy, []Host{one("a")}, []Running{runs(100, 0, 6, 2, 2000)},
			[]Job{job(1, 8, 2, 100), job(2, 2, 2, 1001), job(3, 2, 2, 1000)}, []string{"Resources(cpu)", "Reservation(of 1)", ""}},
		{"those ahead took the room", easy, []Host{one("a")}, nil,
			[]Job{job(1, 6, 2, 100), job(2, 4, 2, 100)}, []string{"", "Priority(of 1)"}},
		{"nobody may overtake", none, []Host{one("a")}, full,
			[]Job{job(1, 1, 1, 10), with(job(2, 1, 1, 10), func(j *Job) { j.Size.VCPU = 0 })}, []string{"Resources(cpu)", "Priority(of 1)"}},
		{"held", easy, []Host{one("a")}, nil, []Job{with(job(1, 1, 1, 10), func(j *Job) { j.Held = true })}, []string{"Held"}},
		{"not before", easy, []Host{one("a")}, nil, []Job{with(job(1, 1, 1, 10), func(j *Job) { j.Begin = 1001 })}, []string{"BeginTime"}},
		{"from now on", easy, []Host{one("a")}, nil, []Job{with(job(1, 1, 1, 10), func(j *Job) { j.Begin = 1000 })}, []string{""}},
		{"after another", easy, []Host{one("a")}, nil,
			[]Job{with(job(1, 1, 1, 10), func(j *Job) { j.NotReady, j.WaitsFor = true, 7 })}, []string{"Dependency(of 7)"}},
		{"refused", easy, []Host{one("a")}, nil, []Job{with(job(1, 1, 1, 10), func(j *Job) { j.NotReady = true })}, []string{"Retry"}},
		{"too big, and in nobody's way", none, []Host{one("a")}, nil, []Job{job(1, 9, 1, 10), job(2, 8, 1, 10)}, []string{"NeverFits", ""}},
		{"drained", none, []Host{{Name: "a", Capacity: Size{8, 16, 100}, Out: true, Why: HostDrained}}, nil, []Job{job(1, 1, 1, 10)}, []string{"Maintenance(a)"}},
		{"down", none, []Host{{Name: "a", Capacity: Size{8, 16, 100}, Out: true, Why: HostDown}}, nil, []Job{job(1, 1, 1, 10)}, []string{"HostDown(a)"}},
		{"its host is out, another is in", none, []Host{{Name: "a", Capacity: Size{8, 16, 100}, Out: true, Why: HostDrained}, one("b")}, nil,
			[]Job{with(job(1, 1, 1, 10), func(j *Job) { j.Host = 0 }), with(job(2, 1, 1, 10), func(j *Job) { j.Hosts = []int32{0, 1} })},
			[]string{"Maintenance(a)", ""}},
		{"its only host is full", easy, []Host{one("a"), one("b")}, full, []Job{with(job(1, 4, 1, 10), func(j *Job) { j.Host = 0 })}, []string{"Resources(cpu)"}},
		{"apart from what runs", easy, []Host{one("a")}, []Running{{ID: 100, Size: Size{1, 1, 1}, End: 2000, Tags: []string{"db"}}},
			[]Job{with(job(1, 1, 1, 10), func(j *Job) { j.Apart = []string{"db"} })}, []string{"Affinity"}},
		{"what runs wants to be apart", easy, []Host{one("a")}, []Running{{ID: 100, Size: Size{1, 1, 1}, End: 2000, Apart: []string{"db"}}},
			[]Job{with(job(1, 1, 1, 10), func(j *Job) { j.Tags = []string{"db"} })}, []string{"Affinity"}},
		{"near nobody, and in nobody's way", none, []Host{one("a")}, nil,
			[]Job{with(job(1, 1, 1, 10), func(j *Job) { j.Near = []string{"db"} }), job(2, 1, 1, 10)}, []string{"Affinity", ""}},
		{"near one that starts in the same pass", none, []Host{one("a"), one("b")}, []Running{runs(100, 0, 6, 1, 2000)},
			[]Job{with(job(1, 1, 1, 10), func(j *Job) { j.Near = []string{"db"} }), with(job(2, 4, 1, 10), func(j *Job) { j.Tags = []string{"db"} })},
			[]string{"", ""}},
		{"apart from one that starts in the same pass", easy, []Host{one("a")}, nil,
			[]Job{with(job(1, 1, 1, 10), func(j *Job) { j.Tags = []string{"db"} }), with(job(2, 1, 1, 10), func(j *Job) { j.Apart = []string{"db"} })},
			[]string{"", "Affinity"}},
		{"N+1", Policy{Order: FCFS, Backfill: EASY, Placement: FirstFit, Firm: true, NPlus1: true}, []Host{one("a"), one("b")},
			[]Running{runs(100, 0, 4, 2, 2000), runs(101, 1, 3, 2, 2000)}, []Job{job(1, 2, 1, 10)}, []string{"N+1(a)"}},
		{"an open-ended VM may use what is left over", easy, []Host{one("a")}, []Running{runs(100, 0, 6, 2, 2000)},
			[]Job{job(1, 7, 2, 100), job(2, 2, 2, Never), job(3, 1, 2, Never)}, []string{"Resources(cpu)", "Reservation(of 1)", ""}},
		{"another host is nobody's", easy, []Host{one("a"), one("b")}, []Running{runs(100, 0, 6, 2, 2000), runs(101, 1, 6, 2, 3000)},
			[]Job{job(1, 8, 2, 100), job(2, 2, 2, Never)}, []string{"Resources(cpu)", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := Schedule(Input{Now: 1000, Policy: c.policy, Hosts: c.hosts, Running: c.running, Jobs: c.jobs})
			for i, v := range p.Jobs {
				if v.Why.String() != c.want[i] || v.Starts != (c.want[i] == "") {
					t.Errorf("job %d waits for %q instead of %q; starts: %v", c.jobs[i].ID, v.Why, c.want[i], v.Starts)
				}
			}
		})
	}
}

func TestPositions(t *testing.T) {
	in := Input{Now: 1000, Policy: easy, Hosts: []Host{one("a")}, Running: []Running{runs(100, 0, 6, 2, 2000)}, Jobs: []Job{
		job(1, 99, 1, 10), // never fits: last
		with(job(2, 1, 1, 10), func(j *Job) { j.Held = true }),
		with(job(3, 1, 1, 10), func(j *Job) { j.Begin = 5000 }),
		job(4, 8, 1, 10), job(5, 2, 1, 10), // backfilled: first
		with(job(6, 8, 1, 10), func(j *Job) { j.Front = 1 }), // by a person's wish: before job 4
	}}
	p := Schedule(in)
	var got []int64
	for n, i := range p.Order {
		got = append(got, in.Jobs[i].ID)
		if p.Jobs[i].Position != n+1 {
			t.Errorf("job %d is at position %d, not %d", in.Jobs[i].ID, p.Jobs[i].Position, n+1)
		}
	}
	want := []int64{5, 6, 4, 3, 2, 1}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("order %v instead of %v", got, want)
		}
	}
	if v := p.Jobs[5]; v.ETA != 2000 || v.Host != 0 || !v.Promise.Made {
		t.Errorf("the head's promise: %+v", v)
	}
}

func TestOrders(t *testing.T) {
	long := with(job(1, 1, 1, 10000), func(j *Job) { j.Age = 500 })
	short := with(job(2, 1, 1, 100), func(j *Job) { j.Age = 400 })
	dear := with(job(3, 1, 1, 20000), func(j *Job) { j.Age, j.Priority = 300, 90 })
	old := with(job(4, 8, 16, 50000), func(j *Job) { j.Age = 44 * hour })
	nice := with(job(5, 1, 1, 100), func(j *Job) { j.Age, j.Nice = 400, 1000 })
	for _, c := range []struct {
		order Order
		want  []int64
	}{
		{FCFS, []int64{4, 1, 2, 5, 3}},
		{SJF, []int64{2, 5, 1, 3, 4}},
		{HRRN, []int64{2, 5, 4, 1, 3}},
		{Priority, []int64{3, 1, 2, 4, 5}},
		{Aged, []int64{2, 3, 5, 4, 1}},
	} {
		in := Input{Now: 1000, Policy: Policy{Order: c.order, Backfill: EASY, Placement: FirstFit}, Hosts: []Host{one("a")},
			Running: []Running{runs(100, 0, 8, 2, 2000)}, Jobs: []Job{long, short, dear, old, nice}}
		p := Schedule(in)
		for n, i := range p.Order {
			if in.Jobs[i].ID != c.want[n] {
				t.Errorf("%s: job %d at position %d instead of %d (score %g)", c.order, in.Jobs[i].ID, n+1, c.want[n], p.Jobs[i].Score)
			}
		}
	}
}

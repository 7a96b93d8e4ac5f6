package queue

import (
	"fmt"
	"testing"
)

// soft is a preemptible running job.
func soft(id int64, vcpu int64, priority int, start Time) Running {
	return Running{ID: id, Size: Size{VCPU: vcpu, Memory: 1}, Start: start, End: Never, Priority: priority, Preemptible: true}
}

func TestPreemption(t *testing.T) {
	policy := Policy{Order: Priority, Backfill: EASY, Placement: FirstFit, Firm: true, Preempt: true}
	for _, c := range []struct {
		name    string
		vcpu    int64
		running []Running
		want    string // the IDs of those put aside
	}{
		{"room there is", 2, []Running{soft(1, 6, 10, 0)}, "[]"},
		{"the least important", 4, []Running{soft(1, 4, 30, 0), soft(2, 4, 20, 0)}, "[2]"},
		{"the youngest of the same priority", 4, []Running{soft(1, 4, 20, 5), soft(2, 4, 20, 9)}, "[2]"},
		{"fewest rather than least important", 4, []Running{soft(1, 2, 10, 0), soft(2, 2, 10, 0), soft(3, 4, 60, 0)}, "[3]"},
		{"two when one is not enough", 5, []Running{soft(1, 4, 20, 5), soft(2, 4, 10, 9)}, "[2 1]"},
		{"many", 7, []Running{soft(1, 1, 10, 0), soft(2, 1, 20, 0), soft(3, 1, 30, 0), soft(4, 1, 40, 0), soft(5, 1, 50, 0), soft(6, 1, 60, 0), soft(7, 2, 70, 0)}, "[1 2 3 4 5 7]"},
		{"a gap of ten", 8, []Running{soft(1, 8, 80, 0)}, "[1]"},
		{"a gap of nine is none", 8, []Running{soft(1, 8, 81, 0)}, "[]"},
		{"not who was put aside twice", 8, []Running{{ID: 1, Size: Size{VCPU: 8, Memory: 1}, End: Never, Preemptible: true, Preempted: 2}}, "[]"},
		{"not who did not agree", 8, []Running{{ID: 1, Size: Size{VCPU: 8, Memory: 1}, End: Never}}, "[]"},
		{"not twice for the same", 8, []Running{{ID: 1, Size: Size{VCPU: 8, Memory: 1}, End: Never, Preemptible: true, Leaving: true}}, "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := Input{Now: 1000, Policy: policy, Hosts: []Host{one("a")}, Running: c.running,
				Jobs: []Job{{ID: 50, Host: -1, Priority: 90, Estimate: 100, Size: Size{VCPU: c.vcpu, Memory: 1}}}}
			p := Schedule(in)
			got := []int64{}
			for _, e := range p.Preempts {
				got = append(got, in.Running[e.Running].ID)
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("put aside: %v instead of %s", got, c.want)
			}
			if len(got) > 0 && (len(p.Starts) != 0 || len(p.Reservations) != 1 || !p.Jobs[0].Promise.Made) {
				t.Errorf("the room must be kept until they are gone: %+v", p)
			}
		})
	}
}

// Age must not make a job important enough to put another aside, and the
// switch must be on.
func TestPreemptionByBasePriorityOnly(t *testing.T) {
	in := Input{Now: 1000, Policy: Policy{Order: Priority, Backfill: EASY, Placement: FirstFit, Preempt: true}, Hosts: []Host{one("a")},
		Running: []Running{soft(1, 8, 50, 0)}, Jobs: []Job{{ID: 2, Host: -1, Priority: 55, Age: 10 * maxAge, Estimate: 10, Size: Size{VCPU: 1}}}}
	if p := Schedule(in); len(p.Preempts) != 0 {
		t.Error("age put a job aside")
	}
	in.Jobs[0].Priority, in.Policy.Preempt = 100, false
	if p := Schedule(in); len(p.Preempts) != 0 {
		t.Error("a job was put aside although that is switched off")
	}
}

// While those put aside leave, their room goes to nobody else, and the job for
// which they leave starts as soon as they are gone.
func TestPreemptionKeepsTheRoom(t *testing.T) {
	policy := Default()
	policy.Preempt = true
	in := Input{Now: 1000, Policy: policy, Hosts: []Host{one("a")}, Running: []Running{soft(1, 4, 10, 0), soft(2, 4, 10, 5)},
		Jobs: []Job{
			{ID: 3, Submit: 900, Host: -1, Priority: 90, Estimate: 1000, Size: Size{VCPU: 4, Memory: 1}},
			{ID: 4, Submit: 10, Age: 50 * hour, Host: -1, Priority: 15, Estimate: 10, Size: Size{VCPU: 4, Memory: 1}},
		}}
	p := Schedule(in)
	if len(p.Preempts) != 1 || in.Running[p.Preempts[0].Running].ID != 2 {
		t.Fatalf("preempts: %+v", p.Preempts)
	}
	for i := range in.Jobs {
		in.Jobs[i].Promise = p.Jobs[i].Promise
	}
	in.Running[1].Leaving, in.Now = true, 1010
	if p = Schedule(in); len(p.Preempts) != 0 || len(p.Starts) != 0 {
		t.Errorf("while it leaves: %+v", p)
	}
	for i := range in.Jobs {
		in.Jobs[i].Promise = p.Jobs[i].Promise
	}
	in.Running, in.Now = in.Running[:1], 1020
	if p = Schedule(in); len(p.Starts) != 1 || in.Jobs[p.Starts[0].Job].ID != 3 {
		t.Errorf("when it is gone: %+v", p.Starts)
	}
}

// What is put aside must not cost the head its promise.
func TestPreemptionSparesPromises(t *testing.T) {
	policy := Policy{Order: FCFS, Backfill: EASY, Placement: FirstFit, Firm: true, Preempt: true}
	low := soft(1, 8, 0, 0)
	low.End = 2000
	in := Input{Now: 1000, Policy: policy, Hosts: []Host{one("a")}, Running: []Running{low},
		Jobs: []Job{
			{ID: 2, Submit: 1, Host: -1, Priority: 5, Estimate: 10, Size: Size{VCPU: 8}},
			{ID: 3, Submit: 2, Host: -1, Priority: 50, Estimate: 5000, Size: Size{VCPU: 8}},
		}}
	if p := Schedule(in); len(p.Preempts) != 0 {
		t.Errorf("job 2 is promised 2000, job 3 would run until 6000: %+v", p)
	}
	in.Jobs[1].Estimate = 900
	if p := Schedule(in); len(p.Preempts) != 1 {
		t.Errorf("job 3 would be gone by then: %+v", p)
	}
}

func TestNPlus1(t *testing.T) {
	policy := Policy{Order: FCFS, Backfill: EASY, Placement: FirstFit, Firm: true, NPlus1: true}
	hosts := []Host{one("a"), one("b"), one("c")}
	var jobs []Job
	for i := range 10 {
		jobs = append(jobs, Job{ID: int64(i + 1), Submit: Time(i), Host: -1, Estimate: Never, Size: Size{VCPU: 4, Memory: 4}})
	}
	p := Schedule(Input{Now: 1000, Policy: policy, Hosts: hosts, Jobs: jobs})
	if len(p.Starts) != 4 { // 6 would fit; after the loss of one host 4 still do
		t.Errorf("%d VMs started: %v", len(p.Starts), p.Starts)
	}
	for i, v := range p.Jobs[4:] {
		if v.Why.Code != "N+1" {
			t.Errorf("job %d waits for %v", i+5, v.Why)
		}
	}
	policy.NPlus1 = false
	if p := Schedule(Input{Now: 1000, Policy: policy, Hosts: hosts, Jobs: jobs}); len(p.Starts) != 6 {
		t.Errorf("without N+1 %d VMs started", len(p.Starts))
	}
}

// A head that N+1 keeps waiting must get its turn: nobody passes it when that
// is only a question of time. One that N+1 can never let start is in nobody's way.
func TestNPlus1DoesNotStarve(t *testing.T) {
	policy := Policy{Order: FCFS, Backfill: EASY, Placement: FirstFit, Firm: true, NPlus1: true}
	hosts := []Host{one("a"), one("b")}
	big := Job{ID: 1, Submit: 1, Host: -1, Estimate: 100, Size: Size{VCPU: 6, Memory: 6}}
	small := Job{ID: 2, Submit: 2, Host: -1, Estimate: 100, Size: Size{VCPU: 1, Memory: 1}}
	in := Input{Now: 1000, Policy: policy, Hosts: hosts, Running: []Running{runs(9, 1, 3, 3, 2000)}, Jobs: []Job{big, small}}
	p := Schedule(in)
	if len(p.Starts) != 0 || p.Jobs[0].Why.Code != "N+1" || p.Jobs[1].Why.String() != "Priority(of 1)" {
		t.Errorf("it will fit at 2000: %+v", p.Jobs)
	}
	in.Running[0].End = Never
	if p = Schedule(in); len(p.Starts) != 1 || p.Jobs[0].Why.Code != "N+1" {
		t.Errorf("it will never fit: %+v", p.Jobs)
	}
}

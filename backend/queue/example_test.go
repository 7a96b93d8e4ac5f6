package queue_test

import (
	"fmt"

	"berth/backend/queue"
)

// A host of 8 vCPUs is busy until 2000. The first job needs all of it and is
// promised that time; the second would be in its way, the third would not.
func Example() {
	in := queue.Input{
		Now:     1000,
		Policy:  queue.Policy{Order: queue.FCFS, Backfill: queue.EASY, Placement: queue.FirstFit, Firm: true},
		Hosts:   []queue.Host{{Name: "kvm-1", Capacity: queue.Size{VCPU: 8, Memory: 16384}}},
		Running: []queue.Running{{ID: 1, Host: 0, Size: queue.Size{VCPU: 6, Memory: 4096}, Start: 500, End: 2000}},
		Jobs: []queue.Job{
			{ID: 2, Submit: 700, Age: 300, Host: -1, Estimate: 600, Size: queue.Size{VCPU: 8, Memory: 4096}},
			{ID: 3, Submit: 800, Age: 200, Host: -1, Estimate: 7200, Size: queue.Size{VCPU: 2, Memory: 2048}},
			{ID: 4, Submit: 900, Age: 100, Host: -1, Estimate: 900, Size: queue.Size{VCPU: 2, Memory: 2048}},
		},
	}
	plan := queue.Schedule(in)
	for _, s := range plan.Starts {
		fmt.Println("start", in.Jobs[s.Job].ID, "on", in.Hosts[s.Host].Name)
	}
	forecasts := queue.Project(in, 0)
	for _, i := range plan.Order[len(plan.Starts):] {
		fmt.Println(plan.Jobs[i].Position, in.Jobs[i].ID, plan.Jobs[i].Why, "expected at", forecasts[i].At, plan.Jobs[i].Promise.Made)
	}
	for _, r := range queue.Explain(in, 1).Sooner {
		fmt.Println(r.Text+":", r.At)
	}
	// Output:
	// start 4 on kvm-1
	// 2 2 Resources(cpu) expected at 2000 true
	// 3 3 Reservation(of 2) expected at 2600 false
	// move it to the top: 1000
	// end job 1: 1600
}

package sim

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"berth/backend/queue"
)

// data is the folder of reference data beside the repository, or skips the test.
func data(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, "shared", "data", "sched", name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
		if dir == filepath.Dir(dir) {
			t.Skip("no reference data beside the repository")
		}
	}
}

// trace reads a reference trace.
func trace(t testing.TB, name string) Workload {
	t.Helper()
	f, err := os.Open(data(t, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := Read(name, f)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// three is the hosts of the VM queue.
func three() []queue.Host {
	hosts := make([]queue.Host, 3)
	for i := range hosts {
		hosts[i] = queue.Host{Name: "host-" + strconv.Itoa(i+1), Capacity: queue.Size{VCPU: 96, Memory: 384 << 10}}
	}
	return hosts
}

// run plays a workload that has to succeed.
func run(t testing.TB, c Config, w Workload) (Metrics, []Row) {
	t.Helper()
	m, rows, err := Run(context.Background(), c, w)
	if err != nil {
		t.Fatal(err)
	}
	return m, rows
}

// golden reads a case of pyss: submit, id, estimate, processors, run time, ...;
// the whole part of the id is when the job has to end.
func golden(t *testing.T, path string) Workload {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var w Workload
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 5 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		j := Job{ID: fields[1], Submit: seconds(t, fields[0]), Estimate: seconds(t, fields[2]), Run: seconds(t, fields[4])}
		j.Size.VCPU = int64(seconds(t, fields[3]))
		if j.Estimate >= j.Run {
			w.Jobs = append(w.Jobs, j)
		}
	}
	return w.sorted()
}

// seconds is the whole part of a number.
func seconds(t *testing.T, word string) queue.Time {
	t.Helper()
	n, err := number(word)
	if err != nil {
		t.Fatal(err)
	}
	return queue.Time(n)
}

func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name     string
		policy   queue.Policy
		patterns []string
		files    int
	}{
		{"FCFS", queue.Policy{Order: queue.FCFS, Backfill: queue.NoBackfill}, []string{"basic_*", "fcfs_*"}, 37},
		{"EASY", queue.Policy{Order: queue.FCFS, Backfill: queue.EASY}, []string{"basic_*", "bf_*", "easy_bf_*"}, 42},
		{"conservative", queue.Policy{Order: queue.FCFS, Backfill: queue.Conservative, Firm: true}, []string{"basic_*", "bf_*", "cons_bf_*"}, 40},
		{"conservative anew", queue.Policy{Order: queue.FCFS, Backfill: queue.Conservative}, []string{"basic_*", "bf_*", "cons_bf_*"}, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.policy.Placement = queue.FirstFit
			files := 0
			for _, pattern := range c.patterns {
				paths, err := filepath.Glob(filepath.Join(data(t, "golden"), pattern))
				if err != nil {
					t.Fatal(err)
				}
				for _, path := range paths {
					files++
					_, rows := run(t, Config{Policy: c.policy, Hosts: One(100)}, golden(t, path))
					for _, r := range rows {
						if want := seconds(t, r.ID); r.End != want {
							t.Errorf("%s: job %s ended at %d", filepath.Base(path), r.ID, r.End)
						}
					}
				}
			}
			if files != c.files {
				t.Errorf("%d files instead of %d", files, c.files)
			}
		})
	}
}

// The figures are those of queue.md, to the digits printed there.
func TestReferenceKTH(t *testing.T) {
	w := trace(t, "KTH-SP2-filtered.swf.gz")
	for _, c := range []struct {
		order                   queue.Order
		backfill                queue.Backfill
		perfect                 bool
		wait, flow, bsld, hours string
	}{
		{queue.FCFS, queue.NoBackfill, false, "353776.4", "362636.3", "6814.97", "263.0"},
		{queue.SJF, queue.NoBackfill, false, "13333.2", "22193.2", "135.30", "377.1"},
		{queue.FCFS, queue.EASY, false, "6834.6", "15694.5", "92.69", "72.8"},
		{queue.FCFS, queue.EASY, true, "6327.7", "15187.6", "71.72", "71.9"},
		{queue.FCFS, queue.SJBF, false, "5903.7", "14763.6", "69.39", "79.1"},
		{queue.SJF, queue.EASY, false, "4598.7", "13458.6", "42.35", "188.5"},
		{queue.HRRN, queue.EASY, false, "5069.4", "13929.4", "50.89", "99.3"},
	} {
		m, _ := run(t, Config{
			Policy: queue.Policy{Order: c.order, Backfill: c.backfill, Placement: queue.FirstFit},
			Hosts:  One(100), PerfectEstimates: c.perfect,
		}, w)
		if m.Jobs != 28481 || m.NeverFit != 0 {
			t.Errorf("%d jobs, %d never fit", m.Jobs, m.NeverFit)
		}
		same(t, string(c.order)+" "+string(c.backfill), m, c.wait, c.flow, c.bsld, c.hours)
	}
}

func same(t *testing.T, what string, m Metrics, wait, flow, bsld, hours string) {
	t.Helper()
	for _, f := range []struct {
		name, want string
		got        float64
		digits     int
	}{
		{"wait", wait, m.MeanWait, 1}, {"flow", flow, m.MeanFlow, 1}, {"bsld", bsld, m.MeanBSLD, 2}, {"max wait", hours, m.MaxWait / 3600, 1},
	} {
		if got := strconv.FormatFloat(f.got, 'f', f.digits, 64); f.want != "" && got != f.want {
			t.Errorf("%s: mean %s is %s instead of %s", what, f.name, got, f.want)
		}
	}
}

func TestReferenceVMQueue(t *testing.T) {
	w := trace(t, "vmqueue_openb39d.csv.gz")
	pooled := []queue.Host{{Name: "pool", Capacity: queue.Size{VCPU: 3 * 96, Memory: 3 * 384 << 10}}}
	for _, c := range []struct {
		order      queue.Order
		backfill   queue.Backfill
		hosts      []queue.Host
		wait, bsld string
		util       string
	}{
		{queue.FCFS, queue.NoBackfill, three(), "1775344.1", "9101.29", "0.485"},
		{queue.FCFS, queue.EASY, three(), "16282.3", "84.19", "0.683"},
		{queue.FCFS, queue.SJBF, three(), "11119.6", "43.63", "0.684"},
		{queue.SJF, queue.EASY, three(), "10566.7", "43.27", "0.675"},
		{queue.HRRN, queue.EASY, three(), "9683.2", "41.49", "0.672"},
		{queue.SJF, queue.EASY, pooled, "5265.2", "13.53", "0.691"},
	} {
		m, _ := run(t, Config{Policy: queue.Policy{Order: c.order, Backfill: c.backfill, Placement: queue.FirstFit}, Hosts: c.hosts}, w)
		never := 5
		if len(c.hosts) == 1 {
			never = 0
		}
		if m.NeverFit != never || m.Jobs+m.NeverFit != len(w.Jobs) {
			t.Errorf("%d of %d jobs never fit", m.NeverFit, len(w.Jobs))
		}
		what := string(c.order) + " " + string(c.backfill)
		same(t, what, m, c.wait, "", c.bsld, "")
		if got := strconv.FormatFloat(m.UtilizationVCPU, 'f', 3, 64); got != c.util {
			t.Errorf("%s: utilisation %s instead of %s", what, got, c.util)
		}
	}
}

// One default policy has to meet the targets on both traces.
func TestDefaultMeetsTargets(t *testing.T) {
	kth, _ := run(t, Config{Policy: queue.Default(), Hosts: One(100)}, trace(t, "KTH-SP2-filtered.swf.gz"))
	if kth.MeanBSLD > 50 || kth.MaxWait > 100*3600 {
		t.Errorf("KTH-SP2: bsld %.2f (at most 50), longest wait %.1f h (at most 100)", kth.MeanBSLD, kth.MaxWait/3600)
	}
	w := trace(t, "vmqueue_openb39d.csv.gz")
	vm, _ := run(t, Config{Policy: queue.Default(), Hosts: three()}, w)
	if vm.MeanWait > 6000 || vm.MeanBSLD > 15.9 {
		t.Errorf("VM queue: mean wait %.0f s (at most 6000), bsld %.2f (at most 15.9)", vm.MeanWait, vm.MeanBSLD)
	}
	easy, _ := run(t, Config{Policy: queue.Policy{Order: queue.FCFS, Backfill: queue.EASY, Placement: queue.FirstFit}, Hosts: three()}, w)
	if vm.MaxWait > easy.MaxWait {
		t.Errorf("VM queue: longest wait %.0f s, EASY's is %.0f s", vm.MaxWait, easy.MaxWait)
	}
	if d := vm.UtilizationVCPU - easy.UtilizationVCPU; d < -0.02 || d > 0.02 {
		t.Errorf("VM queue: utilisation %.3f, EASY's is %.3f", vm.UtilizationVCPU, easy.UtilizationVCPU)
	}
}

// thin leaves out every fiftieth job, from the k-th on: one trace decides little,
// for a few jobs decide over all the others.
func thin(w Workload, k int) Workload {
	var out Workload
	for i, j := range w.Jobs {
		if i%50 != k {
			out.Jobs = append(out.Jobs, j)
		}
	}
	return out
}

// The default placement has to do better than each of the textbook ones under
// the default order, on the trace and on the mean of thinned ones.
func TestPlacementBeatsTextbook(t *testing.T) {
	full := trace(t, "vmqueue_openb39d.csv.gz")
	play := func(p queue.Placement) (wait, bsld, meanWait, meanBSLD float64) {
		policy := queue.Default()
		policy.Placement = p
		m, _ := run(t, Config{Policy: policy, Hosts: three()}, full)
		for k := 0; k < 50; k += 10 {
			n, _ := run(t, Config{Policy: policy, Hosts: three()}, thin(full, k))
			meanWait, meanBSLD = meanWait+n.MeanWait/5, meanBSLD+n.MeanBSLD/5
		}
		t.Logf("%s: wait %.0f s, bsld %.2f; thinned %.0f s, %.2f", p, m.MeanWait, m.MeanBSLD, meanWait, meanBSLD)
		return m.MeanWait, m.MeanBSLD, meanWait, meanBSLD
	}
	wait, bsld, meanWait, meanBSLD := play(queue.Default().Placement)
	for _, p := range queue.Placements()[1:] {
		w, b, mw, mb := play(p)
		if w <= wait || b <= bsld || mw <= meanWait || mb <= meanBSLD {
			t.Errorf("%s is better than the default", p)
		}
	}
}

// On the traces estimates always hold, for a job is stopped at its estimate: no
// promise may be broken.
func TestPromisesOnTraces(t *testing.T) {
	for name, hosts := range map[string][]queue.Host{
		"KTH-SP2-filtered.swf.gz": One(100), "vmqueue_openb39d.csv.gz": three(),
	} {
		w := trace(t, name)
		for _, p := range []queue.Policy{
			queue.Default(),
			{Order: queue.FCFS, Backfill: queue.EASY, Placement: queue.FirstFit, Firm: true},
			{Order: queue.FCFS, Backfill: queue.SJBF, Placement: queue.BestFit, Firm: true},
			{Order: queue.HRRN, Backfill: queue.EASY, Placement: queue.DotFit, Firm: true},
			{Order: queue.SJF, Backfill: queue.Conservative, Placement: queue.Snug, Firm: true},
		} {
			_, rows := run(t, Config{Policy: p, Hosts: hosts}, w)
			promised := 0
			for _, r := range rows {
				if !r.Promise {
					continue
				}
				promised++
				if r.Start > r.Promised {
					t.Errorf("%s, %v: job %s started %d s after its promise", name, p, r.ID, r.Start-r.Promised)
				}
			}
			if promised < 50 {
				t.Errorf("%s, %v: only %d promises", name, p, promised)
			}
		}
	}
}

// BenchmarkKTH plays the whole trace under the default policy.
func BenchmarkKTH(b *testing.B) {
	w := trace(b, "KTH-SP2-filtered.swf.gz")
	for b.Loop() {
		run(b, Config{Policy: queue.Default(), Hosts: One(100)}, w)
	}
}

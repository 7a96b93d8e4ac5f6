package cli

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"berth/backend/queue"
	"berth/backend/queue/sim"
	"berth/themes"
)

// smallTrace is four jobs that a person can place in his head, on one host of
// 4 vCPUs: the first takes it all; the second has to wait for it, the third
// too, the fourth could run beside the third.
const smallTrace = `id,submit,run,est,vcpu,mem_mib
a,0,100,100,4,1024
b,10,100,100,4,1024
c,20,50,60,2,1024
d,30,40,50,2,1024
giant,40,10,10,64,1024
`

func traceFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSimulateJSON(t *testing.T) {
	trace := traceFile(t, "small.csv", smallTrace)
	code, out, errs := run(t, "queue", "simulate", "--trace", trace, "--hosts", "1×4×8192", "--policy", "fcfs", "--backfill", "none", "-o", "json")
	if code != 0 {
		t.Fatal(errs)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	// By hand: a 0–100, b 100–200, c 200–250, d 200–240.
	for key, want := range map[string]float64{
		"jobs": 4, "never_fit": 1, "mean_wait_s": (0 + 90 + 180 + 170) / 4., "p95_wait_s": 180, "max_wait_s": 180,
		"mean_flow_s": (100 + 190 + 230 + 210) / 4., "mean_bsld": (1 + 1.9 + 4.6 + 5.25) / 4, "max_bsld": 5.25,
		"utilization_vcpu": (400. + 400 + 100 + 80) / (4 * 250), "utilization_mem": (100 + 100 + 50 + 40) * 1024 / (8192. * 250), "makespan_s": 250,
	} {
		if v, ok := got[key].(float64); !ok || v < want-1e-9 || v > want+1e-9 {
			t.Errorf("%s: %v, want %v", key, got[key], want)
		}
	}
	if v, ok := got["decisions_per_s"].(float64); !ok || v <= 0 {
		t.Errorf("decisions_per_s: %v", got["decisions_per_s"])
	}
	if never, ok := got["never_fits"].([]any); !ok || len(never) != 1 || never[0] != "giant" {
		t.Errorf("never_fits: %v", got["never_fits"])
	}
}

func TestSimulateSchedule(t *testing.T) {
	trace, path := traceFile(t, "small.csv", smallTrace), filepath.Join(t.TempDir(), "starts.csv")
	code, _, errs := run(t, "queue", "simulate", "--trace", trace, "--hosts", "1x4x8192", "--policy", "fcfs", "--backfill", "easy", "--schedule", path)
	if code != 0 {
		t.Fatal(errs)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"id", "submit", "start", "end", "host", "promised_start"},
		{"a", "0", "0", "100", "host-1", ""},
		{"b", "10", "100", "200", "host-1", "100"},
		{"c", "20", "200", "250", "host-1", "200"},
		{"d", "30", "200", "240", "host-1", ""},
	}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A schedule that cannot be written leaves what was there.
func TestAScheduleIsWholeOrNot(t *testing.T) {
	dir := t.TempDir()
	trace := traceFile(t, "small.csv", smallTrace)
	code, _, errs := run(t, "queue", "simulate", "--trace", trace, "--hosts", "1x4x8192", "--schedule", filepath.Join(dir, "none", "starts.csv"))
	if code != ExitFailed || !strings.Contains(errs, "starts.csv") || !strings.Contains(errs, "no such file or directory") {
		t.Errorf("%d: %s", code, errs)
	}
	path := filepath.Join(dir, "starts.csv")
	if err := os.WriteFile(path, []byte("before"), 0o640); err != nil {
		t.Fatal(err)
	}
	bad := traceFile(t, "bad.csv", smallTrace+"e,1,2\n")
	if code, _, _ := run(t, "queue", "simulate", "--trace", bad, "--hosts", "1x4x8192", "--schedule", path); code != ExitUsage {
		t.Errorf("exit code %d", code)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "before" {
		t.Errorf("%q, %v", got, err)
	}
	if err := writeSchedule(path, []sim.Row{{ID: "a", Host: "h"}}); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSimulateRefuses(t *testing.T) {
	good := traceFile(t, "small.csv", smallTrace)
	swf := traceFile(t, "small.swf", "; a comment\n1 0 0 10 2 -1 -1 2 20 -1 -1 3 -1 -1 -1 -1 -1 -1\n1 2 three\n")
	for _, c := range []struct {
		args, want string
	}{
		{"", "--trace FILE"},
		{"--trace " + good, "--procs N or --hosts"},
		{"--trace " + good + " --procs 4 --hosts 1x4x1024", "exclude one another"},
		{"--trace " + good + " --procs -4", "--procs -4: use 1 to"},
		{"--trace " + good + " --hosts 3x96", "use N×VCPU×MIB"},
		{"--trace " + good + " --hosts 0x96x1024", "0 is out of bounds"},
		{"--trace " + good + " --hosts 99999x1x1,2x1x1", "2 is out of bounds"},
		{"--trace " + good + " --hosts 1x99999999999999999999x1", "out of bounds"},
		{"--trace " + good + " --procs 4 --policy sfj", `did you mean "sjf"`},
		{"--trace " + good + " --procs 4 --backfill esay", `did you mean "easy"`},
		{"--trace " + good + " --procs 4 --placement fisrt", `did you mean "first"`},
		{"--trace " + good + " --procs 4 -o xml", "table or json"},
		{"--trace " + good + " --procs 4 --compare --schedule x", "leave one of them out"},
		{"--trace " + swf + " --procs 4", "small.swf: line 3: 3 fields instead of the 18"},
		{"--trace /no/such.swf --procs 4", "/no/such.swf"},
		{"--trace " + traceFile(t, "empty.csv", "") + " --procs 4", "no jobs in it"},
		{"--trace " + traceFile(t, "none.swf", "1 0 0 10 2 -1 -1 2 -1 -1 -1 3 -1 -1 -1 -1 -1 -1\n") + " --procs 4", "all of its 1 jobs lack"},
		{"--trace " + traceFile(t, "neg.csv", "a,0,-5,3,1,1\n") + " --procs 4", "line 1: run: -5 is negative"},
		{"--trace " + good + " --procs 4 more", "takes no argument"},
	} {
		code, out, errs := run(t, append([]string{"queue", "simulate"}, strings.Fields(c.args)...)...)
		if code != ExitUsage || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit code %d, stdout %q, want %q in\n%s", c.args, code, out, c.want, errs)
		}
	}
}

// --procs is one host, where memory does not count, and the trace's own
// MaxProcs does without a flag.
func TestSimulateProcs(t *testing.T) {
	trace := traceFile(t, "small.csv", smallTrace)
	swf := traceFile(t, "small.swf", "; MaxProcs: 4\n1 0 0 10 2 -1 -1 2 20 -1 -1 3 -1 -1 -1 -1 -1 -1\n2 0 0 10 0 -1 -1 0 20 -1 -1 3 -1 -1 -1 -1 -1 -1\n")
	code, out, errs := run(t, "queue", "simulate", "--trace", trace, "--procs", "4")
	if code != 0 || !strings.Contains(out, "jobs              4\n") || !strings.Contains(out, "never_fit         1             giant\n") {
		t.Errorf("%s%s", out, errs)
	}
	code, out, errs = run(t, "queue", "simulate", "--trace", swf)
	if code != 0 || !strings.Contains(out, "1 × 4 processors") || !strings.Contains(out, "jobs              1             1 more lack size") {
		t.Errorf("%s%s", out, errs)
	}
}

func TestSimulateFromStandardInput(t *testing.T) {
	p := testProgram([]string{"queue", "simulate", "--trace", "-", "--procs", "4", "-o", "json"}, func(string) string { return "" })
	var out strings.Builder
	p.Stdin, p.Stdout = strings.NewReader(smallTrace), &out
	if code := p.Run(t.Context()); code != 0 || !strings.Contains(out.String(), `"jobs": 4`) {
		t.Errorf("%d: %s", code, out.String())
	}
}

// Textbook orders are played as in the literature, berth's own as berth does.
func TestWhoKeepsPromises(t *testing.T) {
	for _, c := range []struct {
		f    simulateFlags
		want bool
	}{
		{simulateFlags{}, queue.Default().Firm},
		{simulateFlags{policy: "sjf"}, false},
		{simulateFlags{policy: "hrrn"}, false},
		{simulateFlags{policy: "fcfs"}, true},
		{simulateFlags{policy: "sjf", firm: true}, true},
	} {
		if got := c.f.resolved(queue.Policy{}).Firm; got != c.want {
			t.Errorf("%+v: %v", c.f, got)
		}
	}
}

func TestContenders(t *testing.T) {
	all := len(queue.Orders()) * len(queue.Backfills())
	places := len(queue.Placements())
	for _, c := range []struct {
		f     simulateFlags
		hosts bool
		want  int
	}{
		{simulateFlags{}, false, all},
		{simulateFlags{}, true, all + places - 1},
		{simulateFlags{policy: "sjf"}, true, len(queue.Backfills()) + places - 1},
		{simulateFlags{policy: "sjf", backfill: "easy"}, true, places},
		{simulateFlags{placement: "first"}, true, all},
		{simulateFlags{policy: "sjf", backfill: "easy", placement: "first"}, true, 1},
	} {
		list := contenders(&c.f, c.hosts)
		if len(list) != c.want {
			t.Errorf("%+v: %d policies, want %d", c.f, len(list), c.want)
		}
	}
	list := contenders(&simulateFlags{}, false)
	if n := len(slices.DeleteFunc(list, func(c contender) bool { return !c.own })); n != 1 {
		t.Errorf("%d of them are the default", n)
	}
}

// fielded is contenders of given mean waits and slowdowns.
func fielded(points ...[2]float64) []contender {
	list := make([]contender, len(points))
	for i, p := range points {
		list[i].MeanWait, list[i].MeanBSLD = p[0], p[1]
	}
	rank(list)
	return list
}

func TestRank(t *testing.T) {
	list := fielded([2]float64{10, 9}, [2]float64{20, 3}, [2]float64{30, 3}, [2]float64{5, 12}, [2]float64{20, 3})
	var marks []string
	for _, c := range list {
		marks = append(marks, c.mark)
	}
	if got := strings.Join(marks, ""); got != "ABcDE" {
		t.Errorf("%s", got)
	}
}

func TestPlot(t *testing.T) {
	list := fielded([2]float64{600, 2}, [2]float64{7200, 20}, [2]float64{7200, 20.1}, [2]float64{864000, 3000})
	list[0].own = true
	p := plot{width: 60, glyphs: themes.Unicode}
	golden(t, "simulate-plot.golden", p.draw(list))
	p.glyphs = themes.ASCII
	for i, r := range p.draw(list) {
		if r > '~' {
			t.Errorf("%q at %d", r, i)
		}
	}
	var err error
	if p.own, err = themes.ParseStyle("bold yellow", themes.ANSI16); err != nil {
		t.Fatal(err)
	}
	plain := (&plot{width: 60, glyphs: themes.ASCII}).draw(list)
	if coloured := p.draw(list); coloured == plain || ansi.Strip(coloured) != plain {
		t.Errorf("colours move something:\n%s", coloured)
	}
}

// Whatever the figures, every line fits and every policy is there.
func TestPlotFits(t *testing.T) {
	many := make([][2]float64, 24)
	for i := range many {
		many[i] = [2]float64{1000, 5}
	}
	for name, points := range map[string][][2]float64{
		"alike": many, "one": {{0, 1}}, "nothing waits": {{0, 1}, {0, 1}}, "far apart": {{0, 1}, {1e9, 1e7}}, "close": {{100, 2}, {101, 2.01}},
	} {
		for _, width := range []int{1, 20, 40, 80, 120} {
			list := fielded(points...)
			text := (&plot{width: width, glyphs: themes.Unicode}).draw(list)
			for line := range strings.Lines(text) {
				if w := ansi.StringWidth(strings.TrimRight(line, "\n")); w > max(width, 40) {
					t.Errorf("%s at %d: %d cells: %q", name, width, w, line)
				}
			}
			body := text[strings.Index(text, "\n"):strings.Index(text, themes.Unicode.BottomLeft)]
			for _, c := range list {
				if width >= 40 && !strings.Contains(body, c.mark) {
					t.Errorf("%s at %d: %s is missing in\n%s", name, width, c.mark, text)
				}
			}
		}
	}
}

func TestCompareIsPlainInAFile(t *testing.T) {
	trace := traceFile(t, "small.csv", smallTrace)
	code, out, errs := run(t, "queue", "simulate", "--trace", trace, "--hosts", "1x4x8192", "--compare")
	if code != 0 || strings.Contains(out+errs, "\x1b") {
		t.Errorf("%d\n%q\n%s", code, out, errs)
	}
	for _, want := range []string{"4 jobs on 1 × 4 vCPU, 8192 MiB\n1 never fit: giant\n", "POLICY", "mean bsld", "mean wait", "*: default"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	code, out, errs = run(t, "queue", "simulate", "--trace", trace, "--hosts", "1x4x8192", "--compare", "--color", "16")
	if code != 0 || !strings.Contains(out, "\x1b[") {
		t.Errorf("%d\n%q\n%s", code, out, errs)
	}
	var list []trialRecord
	code, out, errs = run(t, "queue", "simulate", "--trace", trace, "--hosts", "2x4x8192", "--compare", "-o", "json")
	if err := json.Unmarshal([]byte(out), &list); code != 0 || err != nil || len(list) != len(contenders(&simulateFlags{}, true)) {
		t.Errorf("%d: %d policies, %v %s", code, len(list), err, errs)
	}
}

func TestSimulateIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := &bench{hosts: sim.One(4), work: sim.Workload{Jobs: []sim.Job{{ID: "a", Run: 1, Estimate: 1, Size: queue.Size{VCPU: 1}}}}}
	if err := (&app{}).playAll(ctx, contenders(&simulateFlags{}, false), b); err == nil {
		t.Error("it went on")
	}
}

// The reference figures of the traces, through the command line; see queue.md
// beside this repository.
func TestSimulateReference(t *testing.T) {
	data := filepath.Join("..", "..", "..", "shared", "data", "sched")
	if _, err := os.Stat(data); err != nil {
		t.Skip(err)
	}
	for _, c := range []struct {
		trace, args string
		wait, bsld  float64
	}{
		{"KTH-SP2-filtered.swf.gz", "--procs 100 --policy fcfs --backfill none", 353776.4, 6814.97},
		{"KTH-SP2-filtered.swf.gz", "--procs 100 --policy fcfs --backfill easy", 6834.6, 92.69},
		{"KTH-SP2-filtered.swf.gz", "--procs 100 --policy fcfs --backfill easy --perfect-estimates", 6327.7, 71.72},
		{"KTH-SP2-filtered.swf.gz", "--procs 100 --policy fcfs --backfill sjbf", 5903.7, 69.39},
		{"KTH-SP2-filtered.swf.gz", "--procs 100 --policy sjf --backfill easy", 4598.7, 42.35},
		{"KTH-SP2-filtered.swf.gz", "--procs 100 --policy hrrn --backfill easy", 5069.4, 50.89},
		{"vmqueue_openb39d.csv.gz", "--hosts 3×96×393216 --policy fcfs --backfill easy --placement first", 16282, 84.2},
		{"vmqueue_openb39d.csv.gz", "--hosts 3×96×393216 --policy hrrn --backfill easy --placement first", 9683, 41.5},
	} {
		args := append([]string{"queue", "simulate", "-o", "json", "--trace", filepath.Join(data, c.trace)}, strings.Fields(c.args)...)
		code, out, errs := run(t, args...)
		var m sim.Metrics
		if err := json.Unmarshal([]byte(out), &m); code != 0 || err != nil {
			t.Fatal(code, err, errs)
		}
		if off := max(m.MeanWait/c.wait, c.wait/m.MeanWait, m.MeanBSLD/c.bsld, c.bsld/m.MeanBSLD); off > 1.001 {
			t.Errorf("%s: wait %.1f, bsld %.2f, want %.1f, %.2f", c.args, m.MeanWait, m.MeanBSLD, c.wait, c.bsld)
		}
	}
}

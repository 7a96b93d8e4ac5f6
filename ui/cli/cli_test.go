package cli

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/backend"
	"berth/backend/demo"
	"berth/model"
)

var update = flag.Bool("update", false, "rewrite golden files")

// testProgram is berth over fake hosts and the demo; its console prints what
// it was opened with.
func testProgram(args []string, env func(string) string) Program {
	return Program{
		Args: args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: env, UID: 1000, Version: "1.2.3",
		Connect: newFake, Supported: func() []string { return []string{"fake://NAME"} },
		Local:        func(uri string) bool { return uri == "fake://down" },
		DefaultTheme: "sixteen",
		Themes:       func(string) []string { return []string{"sixteen", "dark"} },
		Actions:      model.ActionIDs,
		Frame: func(spec string) error {
			if !strings.Contains(spec, "red") {
				return errors.New("no such colour")
			}
			return nil
		},
		ThemeProblems: func(dir string) []error {
			if _, err := os.Stat(filepath.Join(dir, "mine.yaml")); err != nil {
				return nil
			}
			return []error{errors.New("mine.yaml:3: \x1b[31mno such role\nits second line")}
		},
		Demo: func(s DemoSpec) []backend.Host {
			return demo.New(demo.Options{Seed: s.Seed, Hosts: s.Hosts, VMs: s.VMs, ReadOnly: s.ReadOnly, Calm: true}).Hosts()
		},
		Queue: func(context.Context, QueueOptions) (backend.Queue, error) { return newFakeQueue(), nil },
		Console: func(_ context.Context, o ConsoleOptions) error {
			for _, h := range o.Hosts {
				fmt.Printf("host %s %s readonly=%v\n", h.Name(), h.URI(), h.ReadOnly())
			}
			for _, t := range o.Tried {
				fmt.Printf("tried %s: %v\n", t.URI, t.Err)
			}
			fmt.Printf("demo=%v theme=%s refresh=%v sort=%s desc=%v hostthemes=%v glyphs=%q\n", o.Demo, o.Config.Theme, o.Config.Refresh, o.SortBy, o.Desc, o.HostThemes, o.Env("BERTH_GLYPHS"))
			more, err := o.Connect("fake://hv1", []string{"hv1"})
			if err != nil {
				return err
			}
			hosts, _ := o.StartDemo()
			fmt.Printf("one more is called %s; the demo has %d hosts\n", more.Name(), len(hosts))
			return more.Close()
		},
	}
}

func TestMain(m *testing.M) {
	if how := os.Getenv(fakeEngineVar); how != "" {
		fakeEngine(how)
	}
	time.Local = time.UTC // what is printed does not depend on where it is tested
	testscript.Main(m, map[string]func(){
		"berth": func() { os.Exit(testProgram(os.Args[1:], os.Getenv).Run(context.Background())) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, "HOME="+e.WorkDir, "XDG_CONFIG_HOME="+e.WorkDir+"/config", "XDG_STATE_HOME="+e.WorkDir+"/state")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"code": codeCommand},
	})
}

// codeCommand runs a command and checks its exit code: code N CMD ARG...
func codeCommand(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		if _, scanErr := fmt.Sscanf(err.Error(), "exit status %d", &got); scanErr != nil {
			ts.Fatalf("%v", err)
		}
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// run carries out a command line in this process.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	home := t.TempDir()
	var out, errs bytes.Buffer
	p := testProgram(args, func(k string) string { return map[string]string{"HOME": home}[k] })
	p.Stdin, p.Stdout, p.Stderr = strings.NewReader(""), &out, &errs
	code = p.Run(t.Context())
	return code, out.String(), errs.String()
}

// The keys are a promise to scripts: this golden file may only grow.
func TestJSONKeysAreStable(t *testing.T) {
	t.Parallel()
	code, out, errs := run(t, "vm", "list", "--demo", "-o", "json")
	if code != 0 || errs != "" {
		t.Fatalf("code %d, stderr %q", code, errs)
	}
	golden(t, "list-keys.golden", keysAndTypes(t, out))

	code, out, errs = run(t, "vm", "show", "--demo", "shop-web-01", "-o", "json")
	if code != 0 || errs != "" {
		t.Fatalf("code %d, stderr %q", code, errs)
	}
	golden(t, "show-keys.golden", keysAndTypes(t, "["+out+"]"))
}

// keysAndTypes lists the keys of a list of objects, in order, each with the
// types of value that occur, and checks that every object has them all.
func keysAndTypes(t *testing.T, text string) string {
	t.Helper()
	var objects []map[string]any
	if err := json.Unmarshal([]byte(text), &objects); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	var order []string
	dec := json.NewDecoder(strings.NewReader(text))
	for depth := 0; ; {
		tok, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := tok.(json.Delim); ok {
			if d == '{' || d == '[' {
				depth++
			} else if depth--; depth == 1 {
				break
			}
			continue
		}
		if key, ok := tok.(string); ok && depth == 2 {
			order = append(order, key)
			var skip any
			if err := dec.Decode(&skip); err != nil {
				t.Fatal(err)
			}
		}
	}
	var b strings.Builder
	for _, key := range order {
		types := map[string]bool{}
		for _, o := range objects {
			v, ok := o[key]
			if !ok {
				t.Errorf("an object lacks %q", key)
			}
			types[jsonType(v)] = true
		}
		fmt.Fprintf(&b, "%s:", key)
		for _, name := range []string{"string", "number", "bool", "list"} {
			if types[name] {
				fmt.Fprintf(&b, " %s", name)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func jsonType(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case float64:
		return "number"
	case bool:
		return "bool"
	case []any:
		return "list"
	}
	return "null"
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func TestHelpDocumentsEveryKey(t *testing.T) {
	_, help, _ := run(t, "vm", "list", "--help")
	for _, f := range recordFields() {
		if !strings.Contains(help, f.key) {
			t.Errorf("berth vm list --help does not tell of %s", f.key)
		}
	}
}

func TestRatesAndFactsAreGathered(t *testing.T) {
	t.Parallel()
	code, out, errs := run(t, "vm", "list", "-c", "fake://hv2", "-o", "json", "--sort", "name")
	if code != 0 {
		t.Fatal(errs)
	}
	var list []record
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 3 {
		t.Fatalf("%d VMs", len(list))
	}
	for _, r := range list {
		if r.Name == "off1" {
			if r.CPUPercent != nil || r.DiskRead != nil || r.Memory != nil || r.MemorySource != nil || r.ID != nil || r.StartedAt != nil || r.MemoryMax == nil {
				t.Errorf("off: %+v", r)
			}
			continue
		}
		if r.CPUPercent == nil || *r.CPUPercent < 45 || *r.CPUPercent > 55 || r.DiskRead == nil || *r.DiskRead < 0.9e6 || *r.DiskRead > 1.1e6 || r.Memory == nil || r.MemorySource == nil || *r.MemorySource != "host" || *r.VCPUs != 2 || len(r.Addresses) != 1 {
			t.Errorf("running: %+v", r)
		}
	}
}

func TestNothingHostileReachesTheOutput(t *testing.T) {
	evil := backend.UUID{'l', 0}.String() // the first of evil's VMs
	for _, line := range []string{
		"vm list -o table", "vm list -o csv", "vm list -o json", "vm list -o name", "vm list --columns name,title,tags,host",
		"vm show -o text " + evil, "vm show -o json " + evil, "vm show -o yaml " + evil, "vm show -o xml " + evil,
		"vm suspend " + evil, "vm resume " + evil, "vm suspend --filter name:*",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			_, out, errs := run(t, append(strings.Fields(line), "-c", "fake://evil")...)
			harmless(t, out+errs)
		})
	}
	_, out, errs := run(t, "__complete", "-c", "fake://evil", "vm", "show", "")
	harmless(t, out+errs)
}

func harmless(t *testing.T, text string) {
	t.Helper()
	if strings.ContainsAny(text, "\x1b\u009b\u202e\x07") {
		t.Errorf("%q", text)
	}
	if !strings.Contains(text, "red") && !strings.Contains(text, "domain") {
		t.Errorf("not about the VM: %q", text)
	}
}

func TestCSVSurvivesAnyName(t *testing.T) {
	t.Parallel()
	_, out, _ := run(t, "vm", "list", "-c", "fake://evil", "-o", "csv")
	lines, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(lines) != 3 {
		t.Errorf("csv: %d records, %v", len(lines), err)
	}
}

func TestColumnsDropByPriorityToFit(t *testing.T) {
	fit := func(width int) string {
		var cols []textColumn
		for _, c := range model.Columns() {
			if c.Default {
				cols = append(cols, newTextColumn(c, nil, time.Now()))
			}
		}
		var ids []string
		for _, c := range fitting(cols, width) {
			ids = append(ids, c.ID)
		}
		return strings.Join(ids, " ")
	}
	for width, want := range map[int]string{
		1000: strings.Join(model.DefaultColumnIDs(), " "),
		28:   "name state cpu mem ip",
		22:   "name state cpu mem",
		17:   "name state cpu",
		3:    "name state",
	} {
		if got := fit(width); got != want {
			t.Errorf("at %d: %s, want %s", width, got, want)
		}
	}
}

func TestErrorsOfHostsSayEverythingOnce(t *testing.T) {
	h, err := newFake(HostSpec{URI: "fake://hv1"})
	if err != nil {
		t.Fatal(err)
	}
	dial := &backend.OpError{Op: "connect", Target: "fake://hv1", Err: backend.ErrUnreachable, Hint: "start it"}
	for want, err := range map[string]error{
		"connect fake://hv1: host unreachable; start it": &backend.OpError{Op: "poll", Target: "hv1", Err: fmt.Errorf("once more: %w", dial)},
		"poll hv1 (fake://hv1): no answer in time":       &backend.OpError{Op: "poll", Target: "hv1", Err: backend.ErrTimeout},
		"hv1: oh": errors.New("oh"),
	} {
		got := hostError(gathered{host: h, err: err})
		if got.Error() != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A gathering that is interrupted ends soon, and says so.
func TestGatherHonoursItsContext(t *testing.T) {
	h, err := newFake(HostSpec{URI: "fake://hv1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := gatherHost(ctx, h, depthRates); err == nil {
		t.Error("no error from a cancelled gathering")
	}
}

func TestEveryColumnHasItsRawValuesInCSV(t *testing.T) {
	values := recordValues(record{})
	for _, c := range model.Columns() {
		for _, key := range (listPlan{columns: []model.Column{c}}).csvKeys() {
			if _, ok := values[key]; !ok && key != "mem_percent" {
				t.Errorf("column %s has no value %q", c.ID, key)
			}
		}
	}
}

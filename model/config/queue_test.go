package config

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var queueKnown = Known{Orders: []string{"fcfs", "hrrn"}, Backfills: []string{"none", "easy"}, Placements: []string{"first", "best"}}

func loadQueue(t *testing.T, files map[string]string) (*Config, Paths, error) {
	t.Helper()
	p := place(t, files)
	c, err := Load(Options{Paths: p, Env: env(nil), Known: queueKnown})
	return c, p, err
}

func TestQueueSettings(t *testing.T) {
	c, p, err := loadQueue(t, map[string]string{
		"etc.yaml": "queue:\n  order: fcfs\n  cpu_overcommit: 2\n  hosts:\n    hv1: {cpu_overcommit: 8}\n    hv2: {fence: /bin/true}\n",
		"user.yaml": "mouse: false\nqueue:\n  order: HRRN\n  backfill: easy\n  placement: best\n  preempt: yes\n  nplus1: on\n" +
			"  memory_reserve: 2G 10%\n  memory_overcommit: 1.5\n  disk_reserve: 7.5%\n  fence: ipmitool -H $BERTH_HOST chassis power off\n" +
			"  idle: 0\n  stop_grace: 90s\n  save_grace: 1h30m\n  lost_grace: 5m\n  keep: 2w\n" +
			"  hosts:\n    hv1:\n      memory_reserve: 1G\n      disk_reserve: 0%\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	q := c.Queue
	if q.Policy.Order != "hrrn" || q.Policy.Backfill != "easy" || q.Policy.Placement != "best" || !q.Policy.Preempt || !q.Policy.NPlus1 {
		t.Errorf("policy %+v", q.Policy)
	}
	if q.Idle != 0 || q.StopGrace != 90*time.Second || q.SaveGrace != 90*time.Minute || q.LostGrace != 5*time.Minute || q.Keep != 14*24*time.Hour {
		t.Errorf("times %v %v %v %v %v", q.Idle, q.StopGrace, q.SaveGrace, q.LostGrace, q.Keep)
	}
	general := HostRules{CPUOvercommit: 2, MemoryOvercommit: 1.5, MemoryReserve: Amount{Bytes: 2 << 30, Percent: 10}, DiskReserve: 7.5,
		Fence: "ipmitool -H $BERTH_HOST chassis power off"}
	if got := q.For("other"); got != general {
		t.Errorf("rules of any host: %+v", got)
	}
	// The stronger file's word on hv1 replaces the weaker's; hv2 is left as it was.
	hv1 := general
	hv1.MemoryReserve, hv1.DiskReserve = Amount{Bytes: 1 << 30}, 0
	hv2 := general
	hv2.Fence = "/bin/true"
	if q.For("hv1") != hv1 || q.For("hv2") != hv2 {
		t.Errorf("rules of hv1: %+v; of hv2: %+v", q.For("hv1"), q.For("hv2"))
	}
	for name, want := range map[string]string{"queue.order": p.ConfigFile + ":3", "queue.cpu_overcommit": p.SystemFile + ":3", "queue.idle": p.ConfigFile + ":12"} {
		if got := c.Origin(name); got != want {
			t.Errorf("origin of %s: %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{"queue.memory_reserve": "2G 10%", "queue.save_grace": "1h30m", "queue.keep": "14d",
		"queue.nplus1": "true", "queue.hosts": "hv1(memory_reserve=1G disk_reserve=0%) hv2(fence=/bin/true)"} {
		if got := settingByName(name).Show(&c.Settings); got != want {
			t.Errorf("%s is shown as %q, want %q", name, got, want)
		}
	}
}

func TestDefaultsOfTheQueueAreThoseDocumented(t *testing.T) {
	d := Defaults()
	r := d.Queue.For("any")
	if r.CPUOvercommit != 4 || r.MemoryOvercommit != 1 || r.DiskReserve != 5 || r.Fence != "" {
		t.Errorf("%+v", r)
	}
	for whole, want := range map[uint64]uint64{4 << 30: 512 << 20, 100 << 30: 5 << 30, 256 << 20: 256 << 20} {
		if got := r.MemoryReserve.Of(whole); got != want {
			t.Errorf("of %d bytes are kept %d, want %d", whole, got, want)
		}
	}
	doc := QueueMarkdown()
	for _, want := range []string{"`cpu_overcommit` | `4`", "`memory_reserve` | `512M 5%`", "`idle` | `10m`", "`keep` | `30d`"} {
		if !strings.Contains(doc, want) {
			t.Errorf("the document lacks %q:\n%s", want, doc)
		}
	}
	for _, s := range queueSettings() {
		if s.Help == "" || s.set == nil || s.show == nil {
			t.Errorf("%s is not described", s.Name)
		}
	}
}

// Every default can be written in a file as berth info shows it.
func TestShownQueueSettingsCanBeReadBack(t *testing.T) {
	d := Defaults()
	var b strings.Builder
	b.WriteString("queue:\n")
	for _, s := range queueSettings() {
		if text := s.Show(&d); text != "" {
			b.WriteString("  " + strings.TrimPrefix(s.Name, "queue.") + ": " + text + "\n")
		}
	}
	c, _, err := loadQueue(t, map[string]string{"user.yaml": b.String()})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c.Queue, d.Queue) {
		t.Errorf("read back %+v, want %+v", c.Queue, d.Queue)
	}
}

func TestWrongQueueSettings(t *testing.T) {
	for _, tt := range []struct{ text, line, want string }{
		{"queue:\n  ordr: fcfs\n", ":2: ", `no setting of the queue "ordr"; did you mean "order"?`},
		{"queue:\n  order: fcsf\n", ":2: ", `did you mean "fcfs"?`},
		{"queue: fcfs\n", ":1: ", "expected settings below it: order backfill"},
		{"queue.order: fcfs\n", ":1: ", `no setting "queue.order"`},
		{"queu:\n  order: fcfs\n", ":1: ", `did you mean "queue"?`},
		{"queue:\n  cpu_overcommit: 0\n", ":2: ", "a number above 0"},
		{"queue:\n  cpu_overcommit: NaN\n", ":2: ", "a number above 0"},
		{"queue:\n  memory_reserve: lots\n", ":2: ", "neither a size nor a percentage"},
		{"queue:\n  memory_reserve: 2\n", ":2: ", "neither a size nor a percentage"},
		{"queue:\n  disk_reserve: 101%\n", ":2: ", "0% to 100%"},
		{"queue:\n  disk_reserve: 5\n", ":2: ", "0% to 100%"},
		{"queue:\n  keep: 30\n", ":2: ", "not a time"},
		{"queue:\n  idle: -5m\n", ":2: ", "not a time"},
		{"queue:\n  preempt: maybe\n", ":2: ", "true or false"},
		{"queue:\n  hosts: hv1\n", ":2: ", "host names"},
		{"queue:\n  hosts:\n    hv1: 4\n", ":3: ", "settings below hv1"},
		{"queue:\n  hosts:\n    hv1:\n      cpu_overcomit: 4\n", ":4: ", `did you mean "cpu_overcommit"?`},
		{"queue:\n  hosts:\n    hv1:\n      cpu_overcommit: four\n", ":4: ", "not an overcommit ratio"},
	} {
		_, p, err := loadQueue(t, map[string]string{"user.yaml": tt.text})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), filepath.Base(p.ConfigFile)+tt.line) {
			t.Errorf("%q: %v; want %q at %s", tt.text, err, tt.want, tt.line)
		}
	}
}

func TestDurations(t *testing.T) {
	for s, want := range map[string]time.Duration{"90s": 90 * time.Second, "2h30m": 150 * time.Minute, "1w2d": 9 * 24 * time.Hour, "1.5d": 36 * time.Hour,
		"1d12h": 36 * time.Hour, "0": 0, "0s": 0, "0d": 0, " 2H ": 2 * time.Hour} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "5", "-1h", "d", "1h2d", "soon", "NaNd", "Infw", "999999999w", "-1d"} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
	for _, d := range []time.Duration{0, time.Second, 90 * time.Second, time.Hour, 90 * time.Minute, 24 * time.Hour, 36 * time.Hour} {
		if got, err := ParseDuration(DurationText(d)); err != nil || got != d {
			t.Errorf("%v is written %q and read as %v, %v", d, DurationText(d), got, err)
		}
	}
}

func TestSizes(t *testing.T) {
	for s, want := range map[string]uint64{"512M": 512 << 20, "1.5GiB": 3 << 29, "2g": 2 << 30, "0": 0, "4kb": 4096, "7B": 7} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "5", "-1G", "G", "1X", "1GG", "NaNG", "9999999P"} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
}

package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"berth/backend"
)

var testNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// row is a running VM with every figure known; change alters it.
func row(name string, change ...func(*Row)) *Row {
	r := &Row{Rates: Rates{CPU: 50, DiskRead: 1 << 20, DiskWrite: 2 << 20, DiskReadOps: 10, DiskWriteOps: 5, NetRx: 100, NetTx: 200}, PolledAt: testNow}
	r.VM = backend.VM{Host: "hv1", Name: name, ID: 3, State: backend.Running, Reason: "booted", Persistent: true,
		FactsAt: testNow, VCPUs: 2, MemoryMax: 2 << 30, Title: "Web server", Tags: []string{"prod", "eu"}, OS: "debian12", Snapshots: 1, Disks: 1, NICs: 1,
		StartedAt: testNow.Add(-3 * time.Hour), Mem: backend.MemoryFigure{At: testNow, Used: 1 << 30},
		Addresses: []string{"10.0.0.5", "fd00::5"}, AddressesAt: testNow}
	r.UUID = backend.UUID{0xab, 0xcd, 0xef, 0x01}
	for _, f := range change {
		f(r)
	}
	return r
}

// off is a VM that is shut off, of which no figure is known.
func off(name string) *Row {
	return &Row{VM: backend.VM{Host: "hv1", Name: name, ID: -1, State: backend.Shutoff, Snapshots: -1}, Rates: UnknownRates()}
}

func TestColumnTexts(t *testing.T) {
	on, down := row("web1"), off("db1")
	for id, want := range map[string][2]string{
		"name": {"web1", "db1"}, "state": {"running", "shut off"}, "host": {"hv1", "hv1"}, "vcpu": {"2", "–"},
		"cpu": {"50.0", "–"}, "cpu_own": {"25.0", "–"}, "mem": {"1.0G/2.0G", "–"}, "mem_percent": {"50.0", "–"},
		"disk_read": {"1.0M", "–"}, "disk_write": {"2.0M", "–"}, "disk_ops": {"15", "–"}, "net_rx": {"100B", "–"}, "net_tx": {"200B", "–"},
		"ip": {"10.0.0.5 +1", ""}, "uptime": {"3h0m", "–"}, "autostart": {"no", "no"}, "persistent": {"yes", "no"},
		"title": {"Web server", ""}, "os": {"debian12", ""}, "tags": {"prod,eu", ""}, "snapshots": {"1", "–"}, "reason": {"booted", ""},
		"stale": {"0s", "–"}, "note": {"", ""}, "id": {"3", "–"}, "uuid": {"abcdef01-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000"},
	} {
		c, ok := ColumnByID(id)
		if !ok {
			t.Errorf("no column %s", id)
			continue
		}
		if got := [2]string{c.Text(on, testNow), c.Text(down, testNow)}; got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}

func TestMemoryTellsWhoSays(t *testing.T) {
	mem := func(m backend.MemoryFigure) func(*Row) {
		return func(r *Row) { r.MemoryMax, r.Mem = 128<<20, m }
	}
	c, _ := ColumnByID("mem")
	for want, r := range map[string]*Row{
		"~246M/128M":   row("a", mem(backend.MemoryFigure{At: testNow, Used: 246 << 20, Source: backend.MemoryResident})),
		"100M/128M":    row("a", mem(backend.MemoryFigure{At: testNow, Used: 100 << 20, Source: backend.MemoryGuest})),
		"–/128M":       row("a", mem(backend.MemoryFigure{Source: backend.MemoryResident})),
		"–":            off("a"),
		"~1023M/1023M": row("a", mem(backend.MemoryFigure{At: testNow, Used: 1023 << 20, Source: backend.MemoryResident}), func(r *Row) { r.MemoryMax = 1023 << 20 }),
	} {
		if got := c.Text(r, testNow); got != want || utf8.RuneCountInString(got) > c.Max {
			t.Errorf("got %q, want %q within %d cells", got, want, c.Max)
		}
	}
}

func TestStateTells(t *testing.T) {
	for want, change := range map[string]func(*Row){
		"paused (I/O error)": func(r *Row) { r.State, r.Reason = backend.Paused, "I/O error" },
		"running":            func(r *Row) { r.Reason = "unknown" },
		"shut off (saved)":   func(r *Row) { r.State, r.ManagedSave = backend.Shutoff, true },
		"forcing off":        func(r *Row) { r.Pending = backend.VerbDestroy },
	} {
		if got := StateText(row("a", change)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestColumnsAreWellFormed(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Columns() {
		if seen[c.ID] {
			t.Errorf("%s twice", c.ID)
		}
		seen[c.ID] = true
		if (c.number == nil) == (c.text == nil) {
			t.Errorf("%s needs one value to sort by", c.ID)
		}
		if len(c.Title) > c.Min || len(c.Title) > 12 || c.Max < c.Min || c.Help == "" {
			t.Errorf("%s: title %q, widths %d to %d, help %q", c.ID, c.Title, c.Min, c.Max, c.Help)
		}
	}
	if got := strings.Join(DefaultColumnIDs(), " "); got != "name state host vcpu cpu cpu_own mem disk_read disk_write net_rx net_tx ip uptime autostart persistent" {
		t.Errorf("default columns: %s", got)
	}
}

func TestHostileTextsStayOnTheirLine(t *testing.T) {
	bad := "a\x1b[2Jb\nc\u202ed"
	r := row(bad, func(r *Row) {
		r.Host, r.Title, r.OS, r.Reason, r.Note = bad, bad, bad, bad, bad
		r.Tags, r.Addresses = []string{bad}, []string{bad}
	})
	for _, c := range Columns() {
		if s := c.Text(r, testNow); strings.ContainsAny(s, "\x1b\n\u202e") {
			t.Errorf("%s lets %q through", c.ID, s)
		}
	}
}

func names(rows []*Row) string {
	var out []string
	for _, r := range rows {
		out = append(out, r.Name)
	}
	return strings.Join(out, " ")
}

func TestNamesSortNaturally(t *testing.T) {
	for _, tt := range []struct{ want string }{
		{"web web2 web10 web100"}, {"a1b2 a1b10 a2b1"}, {"9 10 a"}, {"DB1 db2 DB3"}, {"v007 v8 v0010"}, {"x-9 x1 xa"},
	} {
		var rows []*Row
		for _, n := range strings.Fields(tt.want) {
			rows = append(rows, row(n))
		}
		for range 5 {
			rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
			SortRows(rows, "name", false)
			if got := names(rows); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		}
		SortRows(rows, "name", true)
		fields := strings.Fields(tt.want)
		slices.Reverse(fields)
		if got := names(rows); got != strings.Join(fields, " ") {
			t.Errorf("descending: %s", got)
		}
	}
}

func TestUnknownComesLastInBothDirections(t *testing.T) {
	cpu := func(p float64) func(*Row) { return func(r *Row) { r.Rates.CPU = p } }
	rows := []*Row{row("u1", cpu(math.NaN())), row("low", cpu(1)), row("u2", cpu(math.NaN())), row("high", cpu(90))}
	SortRows(rows, "cpu", true)
	if got := names(rows); got != "high low u1 u2" {
		t.Errorf("descending: %s", got)
	}
	SortRows(rows, "cpu", false)
	if got := names(rows); got != "low high u1 u2" {
		t.Errorf("ascending: %s", got)
	}
	addr := func(a ...string) func(*Row) { return func(r *Row) { r.Addresses = a } }
	rows = []*Row{row("none", addr()), row("six", addr("fd00::1")), row("ten", addr("10.0.0.10")), row("two", addr("10.0.0.2"))}
	SortRows(rows, "ip", false)
	if got := names(rows); got != "two ten six none" {
		t.Errorf("addresses: %s", got)
	}
	SortRows(rows, "ip", true)
	if got := names(rows); got != "six ten two none" {
		t.Errorf("addresses descending: %s", got)
	}
}

func TestTiesGoByNameHostUUIDWhateverTheOrderBefore(t *testing.T) {
	at := func(host string, id byte) func(*Row) {
		return func(r *Row) { r.Host, r.UUID = host, backend.UUID{id} }
	}
	want := []*Row{row("a", at("h1", 1)), row("a", at("h1", 2)), row("a", at("h2", 0)), row("b", at("h0", 0))}
	for _, desc := range []bool{false, true} {
		rows := slices.Clone(want)
		for range 10 {
			rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
			SortRows(rows, "cpu", desc)
			if !slices.Equal(rows, want) {
				t.Fatalf("desc %v: another order", desc)
			}
		}
	}
}

func TestLongestUptimeIsLargest(t *testing.T) {
	up := func(d time.Duration) func(*Row) { return func(r *Row) { r.StartedAt = testNow.Add(-d) } }
	rows := []*Row{row("young", up(time.Minute)), off("off"), row("old", up(time.Hour))}
	c, _ := ColumnByID("uptime")
	SortRows(rows, "uptime", c.Descending)
	if got := names(rows); got != "old young off" {
		t.Errorf("got %s", got)
	}
	if c.Compare(rows[0], rows[1], true) >= 0 || c.Compare(rows[2], rows[0], true) <= 0 || c.Compare(rows[2], rows[0], false) <= 0 {
		t.Error("Compare disagrees with SortRows")
	}
}

func manyRows(n int) []*Row {
	rng := rand.New(rand.NewPCG(1, 2))
	rows := make([]*Row, n)
	for i := range rows {
		rows[i] = row(fmt.Sprintf("vm-%s-%d", []string{"web", "db", "cache"}[i%3], i), func(r *Row) {
			r.Host = fmt.Sprintf("hv%d", i%7)
			r.UUID = backend.UUID{byte(i), byte(i >> 8)}
			r.Rates.CPU = float64(rng.IntN(1000)) / 10
			if i%4 == 0 {
				r.Rates.CPU = math.NaN()
			}
		})
	}
	rng.Shuffle(n, func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	return rows
}

func BenchmarkSort10000(b *testing.B) {
	rows := manyRows(10000)
	for _, by := range []string{"name", "cpu", "state", "ip"} {
		b.Run(by, func(b *testing.B) {
			work := make([]*Row, len(rows))
			for b.Loop() {
				copy(work, rows)
				SortRows(work, by, false)
			}
		})
	}
}

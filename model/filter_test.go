package model

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

func TestFilterTerms(t *testing.T) {
	r := row("Web-01", func(r *Row) {
		r.StartedAt = time.Now().Add(-3 * time.Hour)
		r.PolledAt = time.Now()
	})
	for expr, want := range map[string]bool{
		// Substrings.
		"": true, "   ": true, "web": true, "WEB-0": true, "server": true, "hv1": true, "10.0.0": true, "fd00::5": true, "prod": true,
		"abcdef01": true, "abcdef01-0": true, "abcdef0": false, "abcd": false, "bcdef010": false, "nothing": false, "web hv1": true, "web hv2": false,
		`"Web server"`: true, `'web server'`: true, `"web  server"`: false, `"state:running"`: false, `web"-01"`: true,
		// Negation.
		"!web": false, "!db": true, "web !db": true, "!!web": true, "!state:running": false, "!tag:test": true, `!"Web server"`: false,
		// Regular expressions.
		"/^web-[0-9]+$/": true, "/^db/": false, "!/^db/": true, "re:^web": true, "/web server/": true, "/^Web-01$": true, "/(?-i)^web/": false, `/\d{2}/`: true, "re:'b s'": true,
		// Keys with text.
		"state:running": true, "state:run": true, "state:paused": false, "state:paused,running": true, "state:paused,": false, "state:,run": true, "uuid:ff,": false, "title:nix,": false, "state:active": true, "state:inactive": false, "state=running": true, "state!=running": false, "STATE:Running": true,
		"host:hv1": true, "host:hv": false, "host:hv*": true, "host:HV1": true, "tag:prod": true, "tag:pro": false, "tag:test,eu": true, "tag!=prod": false,
		"name:web-01": true, "name:web": false, "name:web*": true, "name:?eb-??": true, "name:*server": false, "name:'web-01'": true, "name:[w]eb*": false,
		"title:server": true, "os:debian": true, "os:ubuntu": false, "reason:boot": true, "uuid:abcdef": true, "uuid:bc": false,
		"ip:10.0": true, "ip:10.0.0.0/24": true, "ip:10.1.0.0/16": false, "ip:*::5": true, "ip:fd00::/8": true, "ip:0.0": false,
		"autostart:yes": false, "autostart:no": true, "persistent:true": true, "saved:yes": false, "agent:off": true, "stuck:no": true,
		// Figures.
		"cpu>49": true, "cpu>50": false, "cpu>=50": true, "cpu<50": false, "cpu<=50%": true, "cpu=50": true, "cpu:50": true, "cpu!=50": false, "cpu==50": true, "cpu_own=25": true,
		"mem>=50%": true, "mem>50%": false, "mem>0.5G": true, "mem>1G": false, "mem>=1GiB": true, "mem>=1024M": true, "mem>0": true, "mem_percent>40": true,
		"vcpu=2": true, "vcpu>2": false, "disk_read>1000K": true, "disk_read>=1M": true, "disk_write>10M": false, "disk_write=2MB/s": true, "disk_ops>14": true,
		"net_rx>99b": true, "net_rx>1M": false, "net_tx>=200": true, "uptime>2h": true, "uptime>1d": false, "uptime<3h30m": true, "uptime>90": true, "uptime<1w1d": true,
		"snapshots>0": true, "snapshots=1": true, "disks=1": true, "nics!=1": false, "id=3": true, "stale<1m": true,
		"state:running tag:prod cpu>50": false, "state:running tag:prod cpu>=50": true,
	} {
		f, err := ParseFilter(expr)
		if err != nil {
			t.Errorf("%q: %v", expr, err)
			continue
		}
		if got := f.Match(r); got != want {
			t.Errorf("%q: %v, want %v", expr, got, want)
		}
		if again, err := ParseFilter(f.String()); err != nil || again.Match(r) != want {
			t.Errorf("%q does not survive String", expr)
		}
	}
}

// A word is found in addresses only if it looks like a part of one.
func TestWordsAndAddresses(t *testing.T) {
	r := row("cache", func(r *Row) { r.Title, r.Addresses = "", []string{"192.168.12.5/24", "2001:db8::F00d:1"} })
	for expr, want := range map[string]bool{
		"db": false, "b8": false, "db8": false, "f00d": false, "0": false, "01": false, "2001": false,
		"192": true, "19": true, "12": true, "12.5": true, "168.12": true, ".5": true, "5": true, "5/24": true,
		"92": false, "2.5": false, "68.12": false, "192.168.1.": false, "192.168.13": false,
		"2001:": true, "2001:db8": true, "2001:DB8::f00d": true, "f00d:1": true, "::f00d": true, "001:db8": false, "2001:db9": false,
		"52:54:00:12:34:56": false, "!2001:db8": false, "!db": true, "/db8/": true, "/^192/": true, "ip:2001": true,
	} {
		f, err := ParseFilter(expr)
		if err != nil {
			t.Errorf("%q: %v", expr, err)
		} else if got := f.Match(r); got != want {
			t.Errorf("%q: %v, want %v", expr, got, want)
		}
	}
}

func TestUnknownFiguresNeverMatch(t *testing.T) {
	r := off("db1")
	for _, expr := range []string{"cpu>0", "cpu<1", "cpu=0", "cpu!=5", "!cpu>5", "mem<1G", "mem<50%", "!mem>1G", "vcpu<100", "uptime<9d", "snapshots=0", "!snapshots>0", "disk_ops<1", "id!=1", "disks=0"} {
		f, err := ParseFilter(expr)
		if err != nil {
			t.Errorf("%q: %v", expr, err)
		} else if f.Match(r) {
			t.Errorf("%q matches a VM of which it is not known", expr)
		}
	}
	for _, expr := range []string{"!tag:x", "!ip:10.0", "state:off", "state:inactive", "persistent:no", "!os:debian"} {
		f, err := ParseFilter(expr)
		if err != nil || !f.Match(r) {
			t.Errorf("%q should match: %v", expr, err)
		}
	}
}

func TestFilterErrorsSayWhereAndWhat(t *testing.T) {
	for expr, want := range map[string][]string{
		"web foo:bar":       {`at 5 "foo:bar"`, `no key "foo"`, "autostart", "vcpu"},
		"/a(b/":             {`at 1 "/a(b/"`, "/a(b/", "missing closing"},
		"x !re:[a":          {`at 3 "!re:[a"`, "missing closing ]"},
		"cpu>lots":          {`"lots" is not a number`},
		"cpu>":              {"a value is missing", "percent of one core"},
		"cpu>1G":            {"not a percentage"},
		"mem>80":            {"80 of what", "80%", "80G"},
		"mem>1X":            {"not a number"},
		"net_rx>1KM":        {"no known unit"},
		"vcpu>nan":          {"not a number"},
		"uptime>soon":       {"write 90s, 15m, 2h or 3d"},
		"uptime>xd":         {"not a time"},
		"state:flying":      {`no state "flying"`, "running", "shutoff"},
		"state:runing":      {`no state "runing"`, `did you mean "running"?`, "paused", "shutoff"},
		"state:run,puased":  {`no state "puased"`, `did you mean "paused"?`},
		"state:,":           {"a value is missing"},
		"state:":            {"a value is missing", "running"},
		"autostart:perhaps": {"neither yes nor no"},
		"name>web":          {"write key:value"},
		"colour=red":        {`no key "colour"`, "in quotes"},
		"db:1":              {`no key "db"`},
	} {
		_, err := ParseFilter(expr)
		var fe *FilterError
		if !errors.As(err, &fe) {
			t.Errorf("%q: got %v", expr, err)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: error %q lacks %q", expr, err, w)
			}
		}
	}
}

// What is half typed must not be an error where a sensible reading exists.
func TestHalfTypedFilters(t *testing.T) {
	for _, expr := range []string{"!", `"`, `"we`, "'", "/", "/we", "/web-[0-9]", "re", "sta", "state:r", "state:SHUT", "!/", "a:b:c:d", "2001:", "fd00:1", "::1", "52:54:00:12:34:56", "tag:x,", "<", ">5", ":x"} {
		if _, err := ParseFilter(expr); err != nil {
			t.Errorf("%q: %v", expr, err)
		}
	}
}

func TestFilterKeysAreDocumented(t *testing.T) {
	for _, k := range FilterKeys() {
		if k.Help == "" {
			t.Errorf("%s has no help", k.Name)
		}
		if strings.ContainsAny(k.Name, "0123456789") {
			t.Errorf("%s would be read as an address", k.Name)
		}
	}
	f, err := ParseFilter("web cpu>5 !state:running cpu<9 /x/")
	if err != nil || !slices.Equal(f.Keys(), []string{"", "cpu", "state"}) {
		t.Errorf("keys %q, %v", f.Keys(), err)
	}
	var zero Filter
	if !zero.Empty() || !zero.Match(off("a")) || f.Empty() {
		t.Error("the zero filter must match everything")
	}
}

func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{"web !db", `"a b" '`, "/a(b/", "cpu>50 mem>=80%", "state:running,paused", "ip:10.0.0.0/8", "uptime<1w2d3h", "name:w*?[", "re:\xff", "!!!\\"} {
		f.Add(s)
	}
	rows := []*Row{row("web1"), off("db1"), row("ü\x1b\xff", func(r *Row) { r.Rates.CPU, r.State = math.NaN(), backend.Crashed })}
	f.Fuzz(func(t *testing.T, expr string) {
		flt, err := ParseFilter(expr)
		if err != nil {
			var fe *FilterError
			if !errors.As(err, &fe) || fe.Pos < 0 || fe.Pos >= len(expr) || !strings.HasPrefix(expr[fe.Pos:], fe.Term) {
				t.Fatalf("%q: bad error %#v", expr, err)
			}
			return
		}
		again, err := ParseFilter(flt.String())
		if err != nil {
			t.Fatalf("%q: %q does not parse: %v", expr, flt.String(), err)
		}
		for _, r := range rows {
			if flt.Match(r) != again.Match(r) {
				t.Fatalf("%q and %q differ on %q", expr, flt.String(), r.Name)
			}
		}
	})
}

func BenchmarkFilter10000(b *testing.B) {
	rows := manyRows(10000)
	for _, expr := range []string{"web-12", "!cache state:running cpu>50", "/^vm-db-[0-9]{3}$/", "name:*-99*", "uptime>2h"} {
		b.Run(expr, func(b *testing.B) {
			f, err := ParseFilter(expr)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				n := 0
				for _, r := range rows {
					if f.Match(r) {
						n++
					}
				}
			}
		})
	}
}

package demo

import (
	"math"
	"testing"
	"time"

	"berth/backend"
)

// A host's CPUs count all the time that passed, and sum up to its total.
func TestHostCPUsAddUp(t *testing.T) {
	f, clock := newFleet(t, whole)
	before := samples(t, f)
	clock.Advance(97*time.Second + 310*time.Millisecond)
	for i, s := range samples(t, f) {
		passed := s.At.Sub(before[i].At)
		var per backend.HostCPU
		for n, c := range s.PerCPU {
			d := c.Total() - before[i].PerCPU[n].Total()
			if off := (d - passed).Abs(); off > time.Microsecond {
				t.Errorf("%s: CPU %d counts %v in %v", s.Hostname, n, d, passed)
			}
			per.User += c.User
			per.System += c.System
			per.Idle += c.Idle
			per.IOWait += c.IOWait
		}
		if per != s.CPU {
			t.Errorf("%s: its CPUs sum up to %+v, it says %+v", s.Hostname, per, s.CPU)
		}
	}
}

// A host's CPUs do what its guests use, and little more.
func TestHostCPUIsThatOfItsGuests(t *testing.T) {
	f, clock := newFleet(t, Options{Seed: 5, Calm: true})
	hostsBefore, guestsBefore := samples(t, f), polls(t, f)
	const span = 120 * time.Second
	clock.Advance(span)
	hosts, guests := samples(t, f), polls(t, f)
	for i := range hosts {
		busy := hosts[i].CPU.User + hosts[i].CPU.System - hostsBefore[i].CPU.User - hostsBefore[i].CPU.System
		var used time.Duration
		for n := range guests[i].VMs {
			used += guests[i].VMs[n].CPU.Used - guestsBefore[i].VMs[n].CPU.Used
		}
		own := (busy - used).Seconds() / span.Seconds()
		if own < 0 || own > 0.5 {
			t.Errorf("%s: busy %v, guests %v: %.3f CPUs of its own", hosts[i].Hostname, busy, used, own)
		}
	}
}

// A host's memory is that of its guests' processes and its own.
func TestHostMemoryIsThatOfItsGuests(t *testing.T) {
	f, clock := newFleet(t, whole)
	clock.Advance(40 * time.Second)
	for i, s := range samples(t, f) {
		h := f.hosts[i]
		sum := h.ownMem
		for _, v := range h.vms {
			sum += v.resident()
		}
		if off := math.Abs(float64(s.MemTotal-s.MemFree) - sum); off > 4096 {
			t.Errorf("%s: %d in use, %.0f held by processes", s.Hostname, s.MemTotal-s.MemFree, sum)
		}
	}
}

// A host without enough CPUs gives each guest less than it asks for, and that
// shows as time its vCPUs wait.
func TestOvercommitMakesGuestsWait(t *testing.T) {
	f, clock := newFleet(t, Options{Seed: 5, Calm: true, Hosts: 1})
	h := f.hosts[0]
	h.cpus, h.cores = 2, make([]core, 2)
	clock.Advance(2 * time.Second)
	db := machine(t, f, "db")
	before, work := shows(t, db), db.at(f.now)
	clock.Advance(60 * time.Second)
	after, later := shows(t, db), db.at(f.now)
	if h.cpuShare >= 1 {
		t.Fatalf("the host meets all demand: share %v", h.cpuShare)
	}
	if later.wait <= work.wait {
		t.Error("its vCPUs did not wait")
	}
	if wanted := later.cpu - work.cpu + later.wait - work.wait; (later.cpu-work.cpu)/wanted > 0.98 {
		t.Errorf("it got %.3f of what it asked for", (later.cpu-work.cpu)/wanted)
	}
	var used float64
	for _, v := range h.vms {
		used += v.rates.cpu
	}
	if used > 2.02 {
		t.Errorf("guests use %.3f of 2 CPUs", used)
	}
	if after.CPU.Used <= before.CPU.Used {
		t.Error("it did not run at all")
	}
	if load := samples(t, f)[0].Load[0]; load < 2 {
		t.Errorf("load average %v on two CPUs that are not enough", load)
	}
}

// The disks of the databases follow the requests to the web tier: over a day
// the two go together, and when the web tier is off the disks fall quiet.
func TestWebTierDrivesDatabaseDisks(t *testing.T) {
	f, clock := newFleet(t, Options{Seed: 9, Calm: true})
	db := machine(t, f, "db")
	var asked, written []float64
	last := db.at(f.now)
	for range 96 {
		clock.Advance(15 * time.Minute)
		polls(t, f)
		m := db.at(f.now)
		asked = append(asked, db.service.asked)
		written = append(written, m.wrtBytes-last.wrtBytes)
		last = m
	}
	if r := correlation(asked, written); r < 0.7 {
		t.Errorf("requests and the database's writes correlate with %.2f", r)
	}
	before := db.rates.wrtBytes
	for _, v := range db.service.members {
		if v.role.key == "web" && v.row.State.Active() {
			act(t, v, backend.VerbDestroy)
		}
	}
	clock.Advance(5 * time.Second)
	polls(t, f)
	if after := db.rates.wrtBytes; after > before/5 {
		t.Errorf("the database writes %.0f B/s without a web tier, %.0f with it", after, before)
	}
}

func correlation(x, y []float64) float64 {
	mean := func(l []float64) (m float64) {
		for _, v := range l {
			m += v / float64(len(l))
		}
		return m
	}
	mx, my := mean(x), mean(y)
	var xy, xx, yy float64
	for i := range x {
		xy += (x[i] - mx) * (y[i] - my)
		xx += (x[i] - mx) * (x[i] - mx)
		yy += (y[i] - my) * (y[i] - my)
	}
	return xy / math.Sqrt(xx*yy)
}

// There are more requests in the afternoon than in the small hours.
func TestDaysHaveARhythm(t *testing.T) {
	busy := func(hour int) float64 {
		f, clock := newFleet(t, Options{Seed: 9, Calm: true, Start: time.Date(2026, 3, 4, hour, 0, 0, 0, time.UTC)})
		web := machine(t, f, "web")
		before := web.at(f.now).txBytes
		clock.Advance(10 * time.Minute)
		polls(t, f)
		return web.at(f.now).txBytes - before
	}
	if night, day := busy(3), busy(15); night*2 > day {
		t.Errorf("the web tier sends %.0f bytes at night, %.0f by day", night, day)
	}
}

// Where memory is short the balloons of guests grow, and give way again.
func TestBalloonsFollowTheHostsMemory(t *testing.T) {
	f, clock := newFleet(t, Options{Seed: 5, Calm: true, Hosts: 1})
	h := f.hosts[0]
	v := machine(t, f, "monitor")
	full := shows(t, v).Mem.Current
	used, _ := h.memory()
	h.memTotal = uint64(used * 1.01)
	clock.Advance(2 * time.Minute)
	small := shows(t, v).Mem
	if small.Current >= full {
		t.Errorf("its memory is %d on a host that has none to spare, was %d", small.Current, full)
	}
	if small.Used > small.Current {
		t.Errorf("it uses %d of %d", small.Used, small.Current)
	}
	h.memTotal = uint64(used * 3)
	clock.Advance(20 * time.Minute)
	if again := shows(t, v).Mem.Current; again != full {
		t.Errorf("its memory is %d where there is plenty, want %d", again, full)
	}
}

// No guest uses more than its vCPUs can give, at any tick of a day.
func TestGuestsStayWithinTheirSizes(t *testing.T) {
	f, clock := newFleet(t, whole)
	for range 200 {
		clock.Advance(5 * time.Minute)
		if err := f.catchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, h := range f.hosts {
			for _, v := range h.vms {
				if v.live == nil {
					continue
				}
				if most := float64(v.live.vcpus) * 1.6; v.rates.cpu > most || v.rates.cpu < 0 {
					t.Fatalf("%s uses %.2f CPUs and has %d", v.row.Name, v.rates.cpu, v.live.vcpus)
				}
				if v.draw.used > v.draw.balloon || v.draw.used < 0 {
					t.Fatalf("%s uses %.0f of %.0f bytes", v.row.Name, v.draw.used, v.draw.balloon)
				}
			}
			for i := range h.cores {
				if r := h.cores[i].rate; r.idle < -1e-9 || r.user < 0 || r.iowait < 0 {
					t.Fatalf("%s: CPU %d goes by %+v", h.name, i, r)
				}
			}
		}
	}
}

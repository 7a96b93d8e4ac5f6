package queue

import (
	"errors"
	"math"
	"math/rand"
	"slices"
	"testing"

	"berth/backend"
)

func TestEstimate(t *testing.T) {
	for _, c := range []struct {
		told, limit Time
		last        []Time
		want        Time
	}{
		{0, 0, nil, Never},
		{100, 0, []Time{5}, 100},
		{100, 60, nil, 60},
		{0, 60, []Time{5, 7}, 60},
		{0, 0, []Time{10, 20, 9000}, 15},
		{0, 0, []Time{10}, 10},
		{0, 0, []Time{0, 0}, 1},
	} {
		if got := Estimate(c.told, c.limit, c.last); got != c.want {
			t.Errorf("Estimate(%d, %d, %v) = %d instead of %d", c.told, c.limit, c.last, got, c.want)
		}
	}
}

func TestExtend(t *testing.T) {
	for _, c := range []struct {
		end, now, want Time
		steps          int
	}{
		{100, 50, 100, 0},
		{100, 100, 160, 1},
		{100, 159, 160, 1},
		{100, 160, 460, 2},
		{0, 60 + 300 + 900 + 1800, 60 + 300 + 900 + 1800 + 3600, 5},
		{0, 188*3600 + 3060 - 1, 188*3600 + 3060, 11},
		{0, 188*3600 + 3060, 288*3600 + 3060, 12},
		{Never, 5, Never, 0},
	} {
		if got, steps := Extend(c.end, c.now); got != c.want || steps != c.steps {
			t.Errorf("Extend(%d, %d) = %d, %d instead of %d, %d", c.end, c.now, got, steps, c.want, c.steps)
		}
	}
	if end, _ := Extend(0, 100*365*24*hour); end <= 100*365*24*hour {
		t.Error("a job that has outlived its estimate by a century")
	}
}

func TestParse(t *testing.T) {
	p, err := Parse(backend.QueuePolicy{Order: "HRRN", Placement: "dot", NPlus1: true})
	if err != nil || p != (Policy{Order: HRRN, Backfill: Default().Backfill, Placement: DotFit, NPlus1: true, Firm: true}) {
		t.Errorf("%+v, %v", p, err)
	}
	if again, err := Parse(p.Words()); err != nil || again != p {
		t.Errorf("%+v, %v", again, err)
	}
	for _, bad := range []backend.QueuePolicy{{Order: "x"}, {Backfill: "x"}, {Placement: "x"}} {
		if _, err := Parse(bad); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// The tree finds what looking at every host finds.
func TestTree(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	size := func() Size { return Size{r.Int63n(9), r.Int63n(9), r.Int63n(9)} }
	for _, n := range []int{1, 2, 3, 7, 8, 9, 100} {
		free := make([]Size, n)
		var tr tree
		tr.reset(n)
		for range 500 {
			h := r.Intn(n)
			free[h] = size()
			tr.set(h, free[h])
			s := size()
			from := r.Intn(n + 1)
			want := -1
			for i := from; i < n && want < 0; i++ {
				if (free[i] != Size{}) && s.fits(&free[i]) {
					want = i
				}
			}
			if got := tr.next(from, &s); got != want && (s != Size{}) {
				t.Fatalf("%d hosts: next(%d, %v) = %d instead of %d", n, from, s, got, want)
			}
		}
	}
}

// A profile finds what looking at every second finds.
func TestProfile(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for range 300 {
		const end = 60
		var free [end]int64
		for i := range free {
			free[i] = 10
		}
		p := profile{{0, Size{VCPU: 10}}}
		for range 8 {
			from := Time(r.Intn(end - 1))
			until := from + 1 + Time(r.Intn(int(end-from)-1))
			s := Size{VCPU: r.Int63n(5)}
			if r.Intn(4) == 0 {
				p = p.give(from, until, &s)
				s.VCPU = -s.VCPU
			} else {
				p = p.take(from, until, &s)
			}
			for i := from; i < until; i++ {
				free[i] -= s.VCPU
			}
		}
		for range 20 {
			s, d, from := Size{VCPU: r.Int63n(12)}, Time(1+r.Intn(20)), Time(r.Intn(end/2))
			want := Never
			for start := from; want == Never && start < end; start++ {
				ok := true
				for i := start; i < start+d; i++ {
					ok = ok && s.VCPU <= free[min(i, end-1)]
				}
				if ok {
					want = start
				}
			}
			if got := p.earliest(&s, d, from); got != want {
				t.Fatalf("%v: earliest(%v, %d, %d) = %d instead of %d", p, s, d, from, got, want)
			}
		}
	}
}

func TestRadix(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	keys := make([]key, 5000)
	for i := range keys {
		keys[i] = key{pick(r, 0, math.Copysign(0, -1), r.NormFloat64(), r.NormFloat64()*1e15, float64(r.Intn(5)), -float64(r.Intn(5)), math.Inf(1)), int32(i)}
	}
	want := slices.Clone(keys)
	slices.SortStableFunc(want, func(k, l key) int {
		switch {
		case k.score > l.score:
			return -1
		case k.score < l.score:
			return 1
		}
		return 0
	})
	got, _ := radix(slices.Clone(keys), make([]key, len(keys)))
	if !slices.Equal(got, want) {
		t.Error("not as a stable sort by falling score")
	}
}

// Long queues take the short cuts, short ones do not: both must say the same.
func TestLongQueueLikeShort(t *testing.T) {
	for _, p := range []Policy{Default(), {Order: HRRN, Backfill: EASY, Placement: BestFit, Firm: true}} {
		in := crowd(2*many, 40, 0.9, p)
		long := Schedule(in)
		for _, i := range long.Order[:50] { // those that start; a queue of them and the head is short
			if !long.Jobs[i].Starts {
				continue
			}
			if h := long.Jobs[i].Host; !in.Jobs[i].Size.fits(&in.Hosts[h].Capacity) {
				t.Errorf("job %d on host %d", i, h)
			}
		}
		var few Input = in
		few.Jobs = nil
		for _, i := range long.Order {
			if v := long.Jobs[i]; v.Starts || v.Host >= 0 || len(few.Jobs) < many-500 {
				few.Jobs = append(few.Jobs, in.Jobs[i])
			}
		}
		if len(few.Jobs) >= many {
			t.Fatalf("%d jobs are not few", len(few.Jobs))
		}
		short := Schedule(few)
		if len(short.Starts) != len(long.Starts) {
			t.Fatalf("%v: %d starts of few, %d of many", p, len(short.Starts), len(long.Starts))
		}
		for n := range short.Starts {
			a, b := short.Starts[n], long.Starts[n]
			if few.Jobs[a.Job].ID != in.Jobs[b.Job].ID || a.Host != b.Host {
				t.Errorf("%v: start %d: job %d on %d of few, job %d on %d of many", p, n, few.Jobs[a.Job].ID, a.Host, in.Jobs[b.Job].ID, b.Host)
			}
		}
	}
}

// Twenty times the jobs may take a hundred times as long, not four hundred
// times: no part of a pass looks at every pair of jobs.
func TestPassIsNotQuadratic(t *testing.T) {
	small, large := crowd(2000, 100, 1, Default()), crowd(40_000, 100, 1, Default())
	a := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			Schedule(small)
		}
	})
	b := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			Schedule(large)
		}
	})
	if ratio := float64(b.NsPerOp()) / float64(a.NsPerOp()); ratio > 100 {
		t.Errorf("20 times the jobs take %.0f times as long", ratio)
	}
}

func TestMemoryInWords(t *testing.T) {
	for mib, want := range map[int64][2]string{
		8: {"8M", "8M"}, 1023: {"1023M", "1023M"}, 1024: {"1.0G", "1.0G"}, 5009: {"4.9G", "4.8G"}, 6000: {"5.9G", "5.8G"}, 20000: {"20G", "19G"},
	} {
		if got := [2]string{amount(mib), offer(mib)}; got != want {
			t.Errorf("%d MiB: %q, want %q", mib, got, want)
		}
	}
}

package hail

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"berth/backend/queue"
)

// need is hail, or the end of the test: skipped where it is not installed,
// failed there when BERTH_LAB=1, as for everything that the lab's install
// script gets.
func need(t *testing.T) *Allocator {
	t.Helper()
	want := os.Getenv("BERTH_LAB")
	if want == "0" {
		t.Skip("left out: BERTH_LAB=0")
	}
	a, err := Find(t.TempDir())
	switch {
	case err != nil && want == "1":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
	return a
}

// ask is where hail places vm.
func ask(t *testing.T, a *Allocator, c *Cluster, vm VM) int {
	t.Helper()
	n, err := a.Place(t.Context(), c, vm)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// hosts is the cluster as berth sees it, with exactly the room that hail sees:
// hail keeps at least a MiB of every node free.
func hosts(c *Cluster) []queue.Host {
	var out []queue.Host
	for _, n := range c.Nodes {
		room := queue.Size{VCPU: int64(float64(n.CPU)*c.Ratio) - n.OwnCPU, Memory: n.Memory - n.Own - 1}
		out = append(out, queue.Host{Name: n.Name, Capacity: room})
	}
	return out
}

// schedule is where berth, by default, starts a VM that nobody expects to end,
// or -1.
func schedule(c *Cluster, vm VM) int {
	in := queue.Input{
		Policy: queue.Default(), Hosts: hosts(c),
		Jobs: []queue.Job{{ID: int64(len(c.VMs)) + 1, Size: size(vm), Estimate: queue.Never, Host: -1}},
	}
	for i, v := range c.VMs {
		in.Running = append(in.Running, queue.Running{ID: int64(i) + 1, Host: v.Node, Size: size(v), End: queue.Never})
	}
	for _, s := range queue.Schedule(in).Starts {
		return s.Host
	}
	return -1
}

func size(vm VM) queue.Size { return queue.Size{VCPU: vm.VCPU, Memory: vm.Memory} }

// filled is how many VMs of a stream found a place, and their memory in MiB,
// until one did not.
type filled struct{ vms, memory int64 }

func fill(c Cluster, stream []VM, place func(*Cluster, VM) int) (f filled) {
	c.VMs = append([]VM(nil), c.VMs...)
	for _, v := range stream {
		if v.Node = place(&c, v); v.Node < 0 {
			return f
		}
		c.VMs = append(c.VMs, v)
		f.vms++
		f.memory += v.Memory
	}
	return f
}

// compare fills a cluster by both.
func compare(t *testing.T, a *Allocator, c Cluster, stream []VM) (hail, berth filled) {
	t.Helper()
	hail = fill(c, stream, func(c *Cluster, v VM) int { return ask(t, a, c, v) })
	berth = fill(c, stream, schedule)
	if int(hail.vms) == len(stream) {
		t.Fatalf("the stream of %d VMs is too short to fill the cluster", len(stream))
	}
	return hail, berth
}

// machine is kinds of nodes.
type machine struct {
	name  string
	ratio float64 // vCPUs a processor: 4 leaves memory short, 1 the processors
	nodes []Node  // drawn from
}

var machines = []machine{
	{"alike", 4, []Node{{Memory: 256 << 10, Own: 4096, CPU: 32}}},
	{"mixed", 4, mixed},
	{"mixed, short of CPU", 1, mixed},
	{"mixed, short of both", 1.5, mixed},
}

var mixed = []Node{
	{Memory: 128 << 10, Own: 4096, CPU: 24, OwnCPU: 1}, {Memory: 256 << 10, Own: 4096, CPU: 32, OwnCPU: 1}, {Memory: 384 << 10, Own: 4096, CPU: 48, OwnCPU: 1},
}

func (m machine) cluster(rng *rand.Rand, n int) Cluster {
	c := Cluster{Ratio: m.ratio}
	for i := range n {
		node := m.nodes[rng.IntN(len(m.nodes))]
		node.Name = fmt.Sprintf("node%03d", i)
		c.Nodes = append(c.Nodes, node)
	}
	return c
}

// flavours are the sizes that clouds sell, vCPUs and MiB, small ones oftener.
var flavours = [][2]int64{
	{1, 2 << 10}, {1, 2 << 10}, {2, 4 << 10}, {2, 4 << 10}, {4, 8 << 10}, {4, 16 << 10}, {8, 16 << 10}, {8, 32 << 10}, {16, 64 << 10},
}

// stream is VMs of the sizes that draw gives, with more memory and vCPUs in
// all than the cluster has.
func stream(c *Cluster, draw func() (vcpu, memory int64)) []VM {
	var has, asked queue.Size
	for _, h := range hosts(c) {
		has.VCPU, has.Memory = has.VCPU+h.Capacity.VCPU, has.Memory+h.Capacity.Memory
	}
	var out []VM
	for asked.VCPU <= has.VCPU && asked.Memory <= has.Memory {
		vcpu, memory := draw()
		asked.VCPU, asked.Memory = asked.VCPU+vcpu, asked.Memory+memory
		out = append(out, VM{Name: fmt.Sprintf("vm%05d", len(out)), VCPU: vcpu, Memory: memory})
	}
	return out
}

// sizes of clusters, in nodes.
var sizes = []int{2, 3, 5, 8, 13, 21}

// VMs placed one by one until the first that does not fit: berth never places
// fewer than hail, nor uses less memory, on any of these clusters.
func TestLabNeverFewerThanHail(t *testing.T) {
	for _, m := range machines {
		for _, n := range sizes {
			t.Run(fmt.Sprintf("%d %s", n, m.name), func(t *testing.T) {
				t.Parallel()
				a := need(t)
				rng := rand.New(rand.NewPCG(uint64(n), 1))
				c := m.cluster(rng, n)
				vms := stream(&c, func() (int64, int64) {
					f := flavours[rng.IntN(len(flavours))]
					return f[0], f[1]
				})
				if hail, berth := compare(t, a, c, vms); berth.vms < hail.vms || berth.memory < hail.memory {
					t.Errorf("berth %+v, hail %+v", berth, hail)
				} else {
					t.Logf("berth %+v, hail %+v", berth, hail)
				}
			})
		}
	}
}

// VMs all of one size, as hspace counts the room of a cluster.
func TestLabOneSize(t *testing.T) {
	for _, m := range machines {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a := need(t)
			for _, n := range sizes[:3] {
				rng := rand.New(rand.NewPCG(uint64(n), 2))
				c := m.cluster(rng, n)
				for _, f := range flavours[6:] {
					vms := stream(&c, func() (int64, int64) { return f[0], f[1] })
					if hail, berth := compare(t, a, c, vms); berth != hail { // no order can matter
						t.Errorf("%d nodes, VMs of %v: berth %+v, hail %+v", n, f, berth, hail)
					}
				}
			}
		})
	}
}

// VMs of any size at all. On a few nodes luck decides, so that no placement
// can win each; over all of them berth places more.
func TestLabAnySize(t *testing.T) {
	a := need(t)
	var hail, berth filled
	worse, better := 0, 0
	for _, m := range machines {
		for _, n := range sizes[:4] {
			rng := rand.New(rand.NewPCG(uint64(n), 3))
			c := m.cluster(rng, n)
			vms := stream(&c, func() (int64, int64) { return 1 + rng.Int64N(16), 1024 * (1 + rng.Int64N(64)) })
			h, b := compare(t, a, c, vms)
			hail.vms, hail.memory = hail.vms+h.vms, hail.memory+h.memory
			berth.vms, berth.memory = berth.vms+b.vms, berth.memory+b.memory
			if b.vms < h.vms {
				worse++
			} else if b.vms > h.vms {
				better++
			}
		}
	}
	t.Logf("berth %+v, hail %+v; better on %d clusters, worse on %d", berth, hail, better, worse)
	if berth.vms < hail.vms || berth.memory < hail.memory {
		t.Errorf("berth %+v, hail %+v", berth, hail)
	}
}

// The clusters beside this repository, which are busy and out of balance, are
// filled up.
func TestLabGivenClusters(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "..", "shared", "data", "sched", "cluster", "c*.data"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("no ../shared/data/sched/cluster beside the repository")
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			a := need(t)
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			c, err := Read(f)
			if err != nil || len(c.Nodes) == 0 || len(c.VMs) == 0 {
				t.Fatalf("%d nodes, %d VMs, %v", len(c.Nodes), len(c.VMs), err)
			}
			rng := rand.New(rand.NewPCG(4, 4))
			vms := stream(&c, func() (int64, int64) {
				f := flavours[rng.IntN(len(flavours))]
				return f[0], f[1]
			})
			for i := range vms {
				vms[i].Name = "new-" + vms[i].Name
			}
			hail, berth := compare(t, a, c, vms)
			t.Logf("berth %+v, hail %+v", berth, hail)
			if berth.vms < hail.vms || berth.memory < hail.memory {
				t.Errorf("berth %+v, hail %+v", berth, hail)
			}
		})
	}
}

// Both see the same room: what just fits one just fits the other.
func TestLabSameRoom(t *testing.T) {
	a := need(t)
	for _, own := range []int64{0, 1} {
		c := Cluster{Nodes: []Node{{Name: "node", Memory: 10_000, Own: 1000, CPU: 4, OwnCPU: own}}, Ratio: 2}
		for _, vm := range []VM{
			{VCPU: 8 - own, Memory: 8999}, {VCPU: 9 - own, Memory: 100}, {VCPU: 1, Memory: 9000}, {VCPU: 1, Memory: 20_000},
		} {
			vm.Name = "vm"
			if h, b := ask(t, a, &c, vm), schedule(&c, vm); h != b {
				t.Errorf("%+v: hail places it on %d, berth on %d", vm, h, b)
			}
		}
		if got := ask(t, a, &c, VM{Name: "vm", VCPU: 8 - own, Memory: 8999}); got != 0 {
			t.Errorf("hail has room for nothing: %d", got)
		}
	}
}

// A request that hail cannot understand is an error, not a full cluster.
func TestLabHailFails(t *testing.T) {
	a := need(t)
	c := Cluster{Nodes: []Node{{Name: "a|b", Memory: 1}}, Ratio: 2}
	if n, err := a.Place(t.Context(), &c, VM{Name: "vm", VCPU: 1, Memory: 1}); err == nil {
		t.Errorf("it went to %d", n)
	}
}

func TestReadWhatIsWritten(t *testing.T) {
	want := Cluster{
		Nodes: []Node{{Name: "n1", Memory: 1000, Own: 10, CPU: 4, OwnCPU: 1}, {Name: "n2", Memory: 2000, CPU: 8}},
		VMs:   []VM{{Name: "v1", Memory: 100, VCPU: 2, Node: 1}, {Name: "v2", Memory: 200, VCPU: 1, Node: 0}},
		Ratio: 1.5,
	}
	got, err := Read(strings.NewReader(want.text()))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"g\n\nn1|many":             "line 3",
		"g\n\nn1|1|2":              "line 3: 3 fields",
		"g\n\n\nv1|1|2|3|r|Y|n7||": "line 4: v1 is on no node",
		"g\n\n\n\n\n|a|b|c|x":      "line 6",
	} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

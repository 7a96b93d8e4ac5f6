// Package hail asks hail, the allocator of Ganeti (https://ganeti.org), where
// it would place a VM: the measure for berth's own placement. Clusters are in
// Ganeti's text format (htools(1), TEXT-BASED BACKEND), requests in that of
// its allocators (doc/iallocator.rst).
package hail

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Node is a host of a cluster. Memory is in MiB.
type Node struct {
	Name   string
	Memory int64 // what it has
	Own    int64 // what the host itself takes of it
	CPU    int64 // its processors
	OwnCPU int64 // vCPUs that count for the host itself
}

// VM is a virtual machine on a node, by its index.
type VM struct {
	Name   string
	Memory int64
	VCPU   int64
	Node   int
}

// Cluster is what hail places on.
type Cluster struct {
	Nodes []Node
	VMs   []VM
	Ratio float64 // vCPUs a processor
}

// Allocator is hail as it is installed.
type Allocator struct {
	path string
	dir  string // for its input
	// NPlus1 has it refuse what would leave a node's VMs without room on the
	// others if that node failed, which it does unless told otherwise.
	NPlus1 bool
}

// Find finds hail, which Debian installs beside the PATH (package
// ganeti-htools), and prepares dir for its input.
func Find(dir string) (*Allocator, error) {
	path, err := exec.LookPath("hail")
	if err == nil {
		return &Allocator{path: path, dir: dir}, nil
	}
	for _, pattern := range []string{"/usr/lib/ganeti/*/usr/lib/ganeti/iallocators/hail", "/usr/lib/ganeti/iallocators/hail"} {
		found, globErr := filepath.Glob(pattern)
		if globErr != nil {
			return nil, globErr
		}
		if len(found) > 0 {
			return &Allocator{path: slices.Max(found), dir: dir}, nil
		}
	}
	return nil, fmt.Errorf("hail: %w; it is in Debian's ganeti-htools-3.0", err)
}

// Place asks where vm would go, and returns a node's index or -1.
func (a *Allocator) Place(ctx context.Context, c *Cluster, vm VM) (int, error) {
	state, request := filepath.Join(a.dir, "cluster"), filepath.Join(a.dir, "request")
	asked, err := json.Marshal(newMessage(vm))
	if err != nil {
		return -1, err
	}
	if err := errors.Join(os.WriteFile(state, []byte(c.text()), 0o600), os.WriteFile(request, asked, 0o600)); err != nil {
		return -1, err
	}
	args := []string{"-t", state, request}
	if !a.NPlus1 {
		args = slices.Insert(args, 0, "--no-capacity-checks")
	}
	out, err := exec.CommandContext(ctx, a.path, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return -1, fmt.Errorf("hail: %w: %s", err, exit.Stderr)
	}
	if err != nil {
		return -1, err
	}
	return c.answer(out)
}

// message is a request as allocators get it. What it says of the cluster is
// empty, for that comes from the file; the keys have to be there.
type message struct {
	Tags        []string       `json:"cluster_tags"`
	Hypervisors []string       `json:"enabled_hypervisors"`
	Policy      map[string]any `json:"ipolicy"`
	Groups      map[string]any `json:"nodegroups"`
	Nodes       map[string]any `json:"nodes"`
	Instances   map[string]any `json:"instances"`
	Request     request        `json:"request"`
}

type request struct {
	Type       string   `json:"type"`
	Name       string   `json:"name"`
	Memory     int64    `json:"memory"`
	VCPU       int64    `json:"vcpus"`
	Disk       int64    `json:"disk_space_total"`
	Disks      []disk   `json:"disks"`
	Template   string   `json:"disk_template"`
	Nodes      int      `json:"required_nodes"`
	Spindles   int      `json:"spindle_use"`
	NICs       []any    `json:"nics"`
	OS         string   `json:"os"`
	Tags       []string `json:"tags"`
	Hypervisor string   `json:"hypervisor"`
}

type disk struct {
	Size int64  `json:"size"`
	Mode string `json:"mode"`
}

// diskSize is that of every VM, MiB: the disks are outside the nodes (Ganeti's
// template ext), so that only vCPUs and memory count.
const diskSize = 1024

func newMessage(vm VM) message {
	none := map[string]any{}
	return message{
		Tags: []string{}, Hypervisors: []string{"kvm"}, Policy: none, Groups: none, Nodes: none, Instances: none,
		Request: request{
			Type: "allocate", Name: vm.Name, Memory: vm.Memory, VCPU: vm.VCPU, Disk: diskSize,
			Disks: []disk{{diskSize, "rw"}}, Template: "ext", Nodes: 1, Spindles: 1,
			NICs: []any{}, OS: "linux", Tags: []string{}, Hypervisor: "kvm",
		},
	}
}

// answer reads what hail said. That nothing fits is no error.
func (c *Cluster) answer(out []byte) (int, error) {
	var said struct {
		Success bool
		Info    string
		Result  []string
	}
	if err := json.Unmarshal(out, &said); err != nil {
		return -1, fmt.Errorf("hail said %q: %w", out, err)
	}
	if !said.Success {
		if !strings.Contains(said.Info, "No valid allocation") && !strings.Contains(said.Info, "no valid group") {
			return -1, fmt.Errorf("hail: %s", said.Info)
		}
		return -1, nil
	}
	if len(said.Result) != 1 {
		return -1, fmt.Errorf("hail names %d nodes: %s", len(said.Result), said.Info)
	}
	node := slices.IndexFunc(c.Nodes, func(n Node) bool { return n.Name == said.Result[0] })
	if node < 0 {
		return -1, fmt.Errorf("hail names %s, which is not there", said.Result[0])
	}
	return node, nil
}

// text is the cluster in Ganeti's text format: groups, nodes, instances, tags
// and policies, parted by empty lines. No policy but the ratio of vCPUs is in
// the way of a VM that has room.
func (c *Cluster) text() string {
	free := make([]int64, len(c.Nodes))
	for i, n := range c.Nodes {
		free[i] = n.Memory - n.Own
	}
	for _, v := range c.VMs {
		free[v.Node] -= v.Memory
	}
	var b strings.Builder
	b.WriteString("default|uuid-1|preferred||\n\n")
	for i, n := range c.Nodes {
		fmt.Fprintf(&b, "%s|%d|%d|%d|2097152|2097152|%d|N|uuid-1|1||N|0|%d|1.0\n", n.Name, n.Memory, n.Own, free[i], n.CPU, n.OwnCPU)
	}
	b.WriteString("\n")
	for _, v := range c.VMs {
		fmt.Fprintf(&b, "%s|%d|%d|%d|running|Y|%s||ext||1|-\n", v.Name, v.Memory, diskSize, v.VCPU, c.Nodes[v.Node].Name)
	}
	policy := fmt.Sprintf("128,1,1024,1,1,1|1,1,1,1,1,1;16777216,4096,16777216,16,8,12|ext|%.2f|100000.0", c.Ratio)
	fmt.Fprintf(&b, "\n\n|%s\ndefault|%s\n", policy, policy)
	return b.String()
}

// Read reads a cluster in Ganeti's text format: its nodes, the VMs on them and
// the cluster's ratio of vCPUs.
func Read(r io.Reader) (Cluster, error) {
	var c Cluster
	part, number := 0, 0
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		number++
		line := lines.Text()
		if line == "" {
			part++
			continue
		}
		if err := c.line(part, strings.Split(line, "|")); err != nil {
			return c, fmt.Errorf("line %d: %w", number, err)
		}
	}
	return c, lines.Err()
}

// line takes up one line of a part of the file: 1 is nodes, 2 instances, 4
// policies.
func (c *Cluster) line(part int, f []string) error {
	var errs []error
	whole := func(i int) int64 {
		if i >= len(f) {
			errs = append(errs, fmt.Errorf("%d fields", len(f)))
			return 0
		}
		n, err := strconv.ParseInt(f[i], 10, 64)
		errs = append(errs, err)
		return n
	}
	switch part {
	case 1:
		c.Nodes = append(c.Nodes, Node{Name: f[0], Memory: whole(1), Own: whole(2), CPU: whole(6), OwnCPU: whole(13)})
	case 2:
		v := VM{Name: f[0], Memory: whole(1), VCPU: whole(3), Node: -1}
		if len(f) > 6 {
			v.Node = slices.IndexFunc(c.Nodes, func(n Node) bool { return n.Name == f[6] })
		}
		if v.Node < 0 {
			return fmt.Errorf("%s is on no node", f[0])
		}
		c.VMs = append(c.VMs, v)
	case 4:
		if f[0] == "" && len(f) > 4 {
			var err error
			c.Ratio, err = strconv.ParseFloat(f[4], 64)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

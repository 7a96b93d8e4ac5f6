package libvirt

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"berth/backend"
)

// node is an XML element reduced to what a restart could change.
type node struct {
	name     string
	attrs    map[string]string
	text     string
	children []*node
}

// definitionsDiffer reports whether the running domain's definition is another
// than the stored one, beyond what libvirt adds to any that runs: numbers,
// aliases, labels, device names and ports that it chose at the start, paths of
// sockets, the CPU it made of a model's name, the disks' backing chains.
func definitionsDiffer(live, stored string) (bool, error) {
	a, err := parseNode(live)
	if err != nil {
		return false, err
	}
	b, err := parseNode(stored)
	if err != nil {
		return false, err
	}
	forgiveListen(a.child("devices"), b.child("devices"))
	return a.canon() != b.canon(), nil
}

// forgiveListen drops the address that a live display got from the daemon's
// configuration where the stored one leaves it open.
func forgiveListen(live, stored *node) {
	if live == nil || stored == nil {
		return
	}
	shown := stored.all("graphics")
	for i, g := range live.all("graphics") {
		if i >= len(shown) || shown[i].attrs["listen"] != "" {
			continue
		}
		delete(g.attrs, "listen")
		want := shown[i].all("listen")
		for n, l := range g.all("listen") {
			if n < len(want) && want[n].attrs["address"] == "" {
				delete(l.attrs, "address")
			}
		}
	}
}

// parseNode reads a document, without namespaces' attributes.
func parseNode(text string) (*node, error) {
	dec := xml.NewDecoder(strings.NewReader(text))
	root := &node{}
	stack := []*node{root}
	for {
		t, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: the domain's XML cannot be read: %w", backend.ErrInvalid, err)
		}
		top := stack[len(stack)-1]
		switch t := t.(type) {
		case xml.StartElement:
			n := &node{name: t.Name.Local, attrs: map[string]string{}}
			for _, a := range t.Attr {
				n.attrs[a.Name.Local] = a.Value
			}
			top.children = append(top.children, n)
			stack = append(stack, n)
		case xml.EndElement:
			top.text = strings.TrimSpace(top.text)
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text += string(t)
		}
	}
	if len(root.children) != 1 {
		return nil, fmt.Errorf("%w: there is no domain in the XML", backend.ErrInvalid)
	}
	n := root.children[0]
	n.settle("")
	return n, nil
}

// runtimeElements are left out wherever they stand.
var runtimeElements = map[string]bool{
	"alias": true, "seclabel": true, "backingStore": true, "mirror": true, "resource": true, "currentMemory": true,
	"metadata": true, "vcpus": true, "privateData": true,
}

// settle drops what only a running domain has; parent is the element above.
func (n *node) settle(parent string) {
	n.children = slices.DeleteFunc(n.children, func(c *node) bool {
		return runtimeElements[c.name] || c.name == "address" && parent == "devices"
	})
	switch n.name {
	case "domain":
		delete(n.attrs, "id")
	case "clock":
		delete(n.attrs, "adjustment")
	case "cpu":
		n.keep("topology", "numa")
		n.attrs = nil
	case "os":
		if n.attrs["firmware"] != "" {
			n.drop("loader", "nvram", "firmware")
		}
	case "interface":
		n.settleInterface()
	case "disk":
		if s := n.child("source"); s != nil {
			delete(s.attrs, "index")
		}
	case "console", "serial", "parallel", "channel":
		n.settleCharacter()
	case "graphics":
		if n.attrs["autoport"] == "yes" {
			delete(n.attrs, "port")
			delete(n.attrs, "tlsPort")
			delete(n.attrs, "websocket")
		}
		n.settleListen()
	case "hostdev":
		n.drop("driver")
	case "tpm":
		n.drop("backend")
	}
	for _, c := range n.children {
		c.settle(n.name)
	}
}

// settleInterface undoes what a network made of its card: a live card shows
// the bridge and port it got.
func (n *node) settleInterface() {
	if s := n.child("source"); s != nil && s.attrs["network"] != "" {
		n.attrs["type"] = "network"
		for k := range s.attrs {
			if k != "network" && k != "portgroup" {
				delete(s.attrs, k)
			}
		}
	}
	if t := n.child("target"); t != nil && generated(t.attrs["dev"]) {
		delete(t.attrs, "dev")
		if len(t.attrs) == 0 {
			n.drop("target")
		}
	}
	n.drop("actual")
}

// generated reports whether libvirt chose the name of a host device
// (VIR_NET_GENERATED_*_PREFIX in src/util/virnetdev.h).
func generated(dev string) bool {
	for _, p := range []string{"vnet", "macvtap", "macvlan", "vif"} {
		if strings.HasPrefix(dev, p) {
			return true
		}
	}
	return false
}

// settleCharacter drops pseudo-terminals, sockets in libvirt's own folders and
// the state of their other end.
func (n *node) settleCharacter() {
	delete(n.attrs, "tty")
	switch n.attrs["type"] {
	case "pty":
		n.drop("source")
	case "unix":
		if s := n.child("source"); s != nil && (strings.Contains(s.attrs["path"], "/libvirt/") || s.attrs["path"] == "") {
			n.drop("source")
		}
	}
	if t := n.child("target"); t != nil {
		delete(t.attrs, "state")
	}
}

// settleListen drops the address that a network gave a display.
func (n *node) settleListen() {
	for _, c := range n.children {
		if c.name == "listen" && c.attrs["type"] == "network" {
			delete(c.attrs, "address")
		}
		if c.name == "listen" && c.attrs["type"] == "socket" {
			delete(c.attrs, "socket")
		}
	}
}

func (n *node) child(name string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (n *node) all(name string) (out []*node) {
	for _, c := range n.children {
		if c.name == name {
			out = append(out, c)
		}
	}
	return out
}

func (n *node) drop(names ...string) {
	n.children = slices.DeleteFunc(n.children, func(c *node) bool { return slices.Contains(names, c.name) })
}

func (n *node) keep(names ...string) {
	n.children = slices.DeleteFunc(n.children, func(c *node) bool { return !slices.Contains(names, c.name) })
}

// canon writes an element so that equal ones read equal, whatever the order of
// attributes and children.
func (n *node) canon() string {
	keys := make([]string, 0, len(n.attrs))
	for k := range n.attrs {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	parts := make([]string, 0, len(n.children))
	for _, c := range n.children {
		parts = append(parts, c.canon())
	}
	slices.Sort(parts)
	var b strings.Builder
	b.WriteString("<" + n.name)
	for _, k := range keys {
		fmt.Fprintf(&b, " %s=%q", k, n.attrs[k])
	}
	b.WriteString(">" + n.text)
	for _, p := range parts {
		b.WriteString(p)
	}
	b.WriteString("</>")
	return b.String()
}

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// agentDeadline bounds one question to a guest agent.
const agentDeadline = 3 * time.Second

// Guest asks the domain's guest agent for what it knows. When it does not
// answer at all, or there is none, the error wraps backend.ErrNoAgent.
func (h *Host) Guest(ctx context.Context, u backend.UUID) (backend.Guest, error) {
	const op = "ask the guest agent of"
	name := h.label(u)
	if err := h.know(ctx, u); err != nil {
		return backend.Guest{}, failed(op, name, err)
	}
	vm, _ := h.table.vm(u, h.name)
	switch {
	case !vm.State.Active():
		return backend.Guest{}, failed(op, name, fmt.Errorf("%w: the VM is %s", backend.ErrNoAgent, vm.State))
	case !vm.HasAgent:
		return backend.Guest{}, failed(op, name, fmt.Errorf("%w: it has no channel %s", backend.ErrNoAgent, agentChannel))
	}
	d, _ := h.table.domain(u)
	params, err := askAgent(ctx, h, func(lv *libvirt.Libvirt) ([]libvirt.TypedParam, error) {
		return lv.DomainGetGuestInfo(d, 0, 0)
	})
	g := backend.Guest{At: h.now()}
	switch {
	case err == nil:
		readGuest(&g, params)
	case unsupported(err) && !errors.Is(coded(err), backend.ErrNoAgent): // libvirt before 5.7, or a driver without it
		g.Missing = append(g.Missing, "operating system: "+coded(err).Error())
	default:
		return g, failed(op, name, noAnswer(err))
	}
	if len(g.Interfaces) == 0 {
		ifaces, ierr := askAgent(ctx, h, func(lv *libvirt.Libvirt) ([]libvirt.DomainInterface, error) {
			return lv.DomainInterfaceAddresses(d, uint32(libvirt.DomainInterfaceAddressesSrcAgent), 0)
		})
		if ierr != nil && err != nil {
			return g, failed(op, name, noAnswer(ierr))
		}
		if ierr != nil {
			g.Missing = append(g.Missing, "interfaces: "+coded(ierr).Error())
		}
		g.Interfaces = guestInterfaces(ifaces)
	}
	if g.Hostname == "" {
		g.Missing = append(g.Missing, "host name: the agent does not tell")
	}
	return g, nil
}

// askAgent asks with a deadline; a guest that hangs must not hold up anything.
func askAgent[T any](ctx context.Context, h *Host, fn func(*libvirt.Libvirt) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, agentDeadline)
	defer cancel()
	return ask(ctx, h.single, fn)
}

// noAnswer says of a question that passed its deadline that the agent did not
// answer it.
func noAnswer(err error) error {
	if errors.Is(err, backend.ErrTimeout) {
		return fmt.Errorf("%w: no answer within %s", backend.ErrNoAgent, agentDeadline)
	}
	return err
}

// readGuest reads virDomainGetGuestInfo's parameters
// (docs/manpages/virsh.rst, guestinfo). The guest chose every string.
func readGuest(g *backend.Guest, params []libvirt.TypedParam) {
	fs := map[int]*backend.GuestFilesystem{}
	ifs := map[int]*guestIface{}
	var osName, osPretty, osVersion string
	for _, p := range params {
		v := backend.Clean(text(p))
		switch p.Field {
		case "hostname":
			g.Hostname = v
		case "timezone.name":
			g.Timezone = v
		case "os.kernel-release":
			g.Kernel = v
		case "os.pretty-name":
			osPretty = v
		case "os.name":
			osName = v
		case "os.version":
			osVersion = v
		}
		if f, ok := indexed(p.Field, "user."); ok && f.name == "name" {
			g.Users = append(g.Users, v)
		} else if f, ok := indexed(p.Field, "fs."); ok {
			readGuestFS(at(fs, f.index), f.name, v, p)
		} else if f, ok := indexed(p.Field, "if."); ok {
			at(ifs, f.index).read(f.name, v, p)
		}
	}
	g.OSName = osPretty
	if g.OSName == "" {
		g.OSName = strings.TrimSpace(osName + " " + osVersion)
	}
	for _, f := range byIndex(fs) {
		g.Filesystems = append(g.Filesystems, *f)
	}
	for _, i := range byIndex(ifs) {
		g.Interfaces = append(g.Interfaces, i.done())
	}
}

// at is the entry of m with that index, made when needed.
func at[T any](m map[int]*T, i int) *T {
	if m[i] == nil {
		m[i] = new(T)
	}
	return m[i]
}

func readGuestFS(f *backend.GuestFilesystem, name, v string, p libvirt.TypedParam) {
	switch name {
	case "mountpoint":
		f.Mount = v
	case "name":
		f.Device = v
	case "fstype":
		f.Type = v
	case "total-bytes":
		f.Total = unsigned(p)
	case "used-bytes":
		f.Used = unsigned(p)
	}
}

// guestIface gathers one interface, whose addresses come in parts.
type guestIface struct {
	backend.GuestInterface
	addrs map[int]*guestAddr
}

type guestAddr struct {
	addr   string
	prefix uint64
}

func (i *guestIface) read(name, v string, p libvirt.TypedParam) {
	switch name {
	case "name":
		i.Name = v
		return
	case "hwaddr":
		i.MAC = v
		return
	}
	f, ok := indexed(name, "addr.")
	if !ok {
		return
	}
	if i.addrs == nil {
		i.addrs = map[int]*guestAddr{}
	}
	switch a := at(i.addrs, f.index); f.name {
	case "addr":
		a.addr = v
	case "prefix":
		a.prefix = unsigned(p)
	}
}

func (i *guestIface) done() backend.GuestInterface {
	for _, a := range byIndex(i.addrs) {
		if s, ok := prefixed(a.addr, a.prefix); ok {
			i.Addresses = append(i.Addresses, s)
		}
	}
	return i.GuestInterface
}

// guestInterfaces reads the older call's answer.
func guestInterfaces(ifaces []libvirt.DomainInterface) (out []backend.GuestInterface) {
	for _, i := range ifaces {
		g := backend.GuestInterface{Name: backend.Clean(i.Name)}
		if len(i.Hwaddr) == 1 {
			g.MAC = backend.Clean(i.Hwaddr[0])
		}
		for _, a := range i.Addrs {
			if s, ok := prefixed(a.Addr, uint64(a.Prefix)); ok {
				g.Addresses = append(g.Addresses, s)
			}
		}
		out = append(out, g)
	}
	return out
}

// prefixed is an address with its prefix length; false when a guest sent
// something else.
func prefixed(addr string, bits uint64) (string, bool) {
	ip, err := netip.ParseAddr(addr)
	if err != nil || bits > 128 {
		return "", false
	}
	p := netip.PrefixFrom(ip.WithZone(""), int(bits))
	return p.String(), p.IsValid()
}

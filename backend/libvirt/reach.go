package libvirt

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// Reach says why a domain of this definition cannot run here, as far as that
// can be told without starting it: an emulator, machine type or CPU that this
// host lacks, a network that does not run (backend.ErrUnsupported), a disk that
// this host does not see (backend.ErrNoStorage). A file is seen when a storage
// pool has it or, over a unix socket and ssh, by looking; disks on the network
// are taken to be reachable. A file of which nobody can tell is refused, for
// the error says what to do about it and a start that fails costs more.
func (h *Host) Reach(ctx context.Context, xml string) error {
	const op = "run"
	x, err := parseDomain(xml)
	if err == nil && x.Name == "" {
		err = fmt.Errorf("%w: this is no domain's XML", backend.ErrInvalid)
	}
	if err != nil {
		return failed(op, "a VM on "+h.name, err)
	}
	for _, check := range []func(context.Context, *domainXML) error{
		h.reachMachine, h.reachCPU, h.reachDisks, h.reachBootFiles, h.reachNetworks,
	} {
		if err := check(ctx, x); err != nil {
			return failed(op, x.Name+" on "+h.name, err)
		}
	}
	return nil
}

// lacks is the error of a host without something, in libvirt's words.
func lacks(err error) error { return fmt.Errorf("%w: %w", backend.ErrUnsupported, coded(err)) }

// refusedBy is the daemon's own answer in err: what it has no call for or does
// not let berth ask speaks neither for nor against a host.
func refusedBy(err error) (*daemonError, bool) {
	var d *daemonError
	if !errors.As(coded(err), &d) || d.code == libvirt.ErrNoSupport || errors.Is(d.kind, backend.ErrAuth) {
		return nil, false
	}
	return d, true
}

// verdict turns the answer to a question about what the host has into Reach's:
// a refusal means that it lacks that, what cannot be asked is no obstacle, and
// a lost connection is an error.
func verdict(err error) error {
	if err == nil {
		return nil
	}
	if d, ok := refusedBy(err); ok {
		return lacks(d)
	}
	if errors.As(coded(err), new(*daemonError)) {
		return nil
	}
	return err
}

// capabilitiesXML is what berth reads of virConnectGetCapabilities
// (docs/formatcaps.rst).
type capabilitiesXML struct {
	Guests []struct {
		Arch struct {
			Name    string `xml:"name,attr"`
			Domains []struct {
				Type string `xml:"type,attr"`
			} `xml:"domain"`
		} `xml:"arch"`
	} `xml:"guest"`
}

// offers reports whether domains of that type and architecture can run.
func (c *capabilitiesXML) offers(kind, arch string) bool {
	for _, g := range c.Guests {
		for _, d := range g.Arch.Domains {
			if d.Type == kind && (arch == "" || g.Arch.Name == arch) {
				return true
			}
		}
	}
	return false
}

// reachMachine asks for the domain's type, emulator and machine type.
func (h *Host) reachMachine(ctx context.Context, x *domainXML) error {
	text, err := ask(ctx, h.single, (*libvirt.Libvirt).ConnectGetCapabilities)
	if err != nil {
		return verdict(err)
	}
	var caps capabilitiesXML
	if err := xml.Unmarshal([]byte(text), &caps); err != nil {
		return fmt.Errorf("the host's capabilities cannot be read: %w", err)
	}
	if !caps.offers(x.Type, x.OS.Type.Arch) {
		return fmt.Errorf("%w: it has no %s for %s guests", backend.ErrUnsupported, backend.Clean(x.Type), backend.Clean(x.OS.Type.Arch))
	}
	if !h.qemu {
		return nil
	}
	_, err = ask(ctx, h.single, func(lv *libvirt.Libvirt) (string, error) {
		return lv.ConnectGetDomainCapabilities(optional(x.Devices.Emulator), optional(x.OS.Type.Arch), optional(x.OS.Type.Machine), optional(x.Type), 0)
	})
	return verdict(err)
}

// optional is a string that libvirt may be left without.
func optional(s string) libvirt.OptString {
	if s == "" {
		return nil
	}
	return libvirt.OptString{s}
}

// compareIncompatible is VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE: tell by an
// error, which names the features that are missing.
const compareIncompatible = 1

// reachCPU compares a CPU that the definition names with the host's; those that
// follow the host fit any.
func (h *Host) reachCPU(ctx context.Context, x *domainXML) error {
	if x.CPU.Model == "" || x.CPU.Mode != "" && x.CPU.Mode != "custom" || x.CPU.Check == "none" || !h.qemu {
		return nil
	}
	cpu := `<cpu mode="custom" match="exact">` + x.CPU.Text + `</cpu>`
	_, err := ask(ctx, h.single, func(lv *libvirt.Libvirt) (int32, error) {
		return lv.ConnectCompareHypervisorCPU(optional(x.Devices.Emulator), optional(x.OS.Type.Arch), optional(x.OS.Type.Machine),
			optional(x.Type), cpu, compareIncompatible)
	})
	if hasCode(err, libvirt.ErrCPUIncompatible) {
		return verdict(err)
	}
	if errors.As(coded(err), new(*daemonError)) {
		return nil // a comparison that libvirt cannot make for this type of domain
	}
	return err
}

// reachDisks looks for every image that a start needs.
func (h *Host) reachDisks(ctx context.Context, x *domainXML) error {
	for i := range x.Devices.Disks {
		d := &x.Devices.Disks[i]
		if d.Source.Startup == "optional" || d.Source.place() == "" || d.Source.Protocol != "" {
			continue
		}
		if err := h.reachImage(ctx, &d.Source); err != nil {
			return fmt.Errorf("disk %s: %w", backend.Clean(d.Target.Dev), err)
		}
	}
	return nil
}

// reachImage looks for one image: on the host itself, else in its pools.
func (h *Host) reachImage(ctx context.Context, s *sourceXML) error {
	if s.Pool == "" {
		there, known, err := h.exists(ctx, s.place())
		switch {
		case err != nil || there:
			return err
		case known:
			return fmt.Errorf("%w: there is no %s", backend.ErrNoStorage, backend.Clean(s.place()))
		}
	}
	_, err := h.volumeOf(ctx, s)
	switch refused, ok := refusedBy(err); {
	case err == nil || !errors.As(coded(err), new(*daemonError)):
		return err
	case s.Pool == "":
		return h.reachByRefresh(ctx, s.place())
	case ok:
		return fmt.Errorf("%w: %w", backend.ErrNoStorage, refused)
	}
	return nil
}

// reachByRefresh looks again in the pool of the image's directory, whose list
// is as old as its last refresh.
func (h *Host) reachByRefresh(ctx context.Context, image string) error {
	dir := path.Dir(image)
	p, err := ask(ctx, h.single, func(lv *libvirt.Libvirt) (libvirt.StoragePool, error) {
		return lv.StoragePoolLookupByTargetPath(dir)
	})
	if err == nil && !h.readOnly {
		err = h.set(ctx, func(lv *libvirt.Libvirt) error { return lv.StoragePoolRefresh(p, 0) })
	}
	if err == nil {
		_, err = h.volumeOf(ctx, &sourceXML{File: image})
	}
	switch {
	case err == nil:
		return nil
	case !errors.As(coded(err), new(*daemonError)):
		return err
	}
	return &backend.OpError{Op: "look for", Target: backend.Clean(image),
		Err:  fmt.Errorf("%w: no storage pool of this host has it", backend.ErrNoStorage),
		Hint: "if it is there, make its directory " + backend.Clean(dir) + " a pool of this host, or connect by ssh"}
}

// reachBootFiles looks for kernel, initrd and firmware, which no pool has: only
// their absence counts, not that nobody can tell.
func (h *Host) reachBootFiles(ctx context.Context, x *domainXML) error {
	for _, f := range []string{x.OS.Kernel, x.OS.Initrd, x.OS.Loader.Path} {
		f = strings.TrimSpace(f)
		if !path.IsAbs(f) {
			continue
		}
		there, known, err := h.exists(ctx, f)
		if err != nil {
			return err
		}
		if known && !there {
			return fmt.Errorf("%w: there is no %s", backend.ErrNoStorage, backend.Clean(f))
		}
	}
	return nil
}

// reachNetworks looks for libvirt's own networks; of bridges it does not tell.
func (h *Host) reachNetworks(ctx context.Context, x *domainXML) error {
	var names []string
	for i := range x.Devices.Interfaces {
		if n := &x.Devices.Interfaces[i]; n.Type == "network" && n.Source.Network != "" {
			names = append(names, n.Source.Network)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		active, err := ask(ctx, h.single, func(lv *libvirt.Libvirt) (int32, error) {
			n, err := lv.NetworkLookupByName(name)
			if err != nil {
				return 0, err
			}
			return lv.NetworkIsActive(n)
		})
		if err := verdict(err); err != nil {
			return err
		}
		if err == nil && active == 0 {
			return fmt.Errorf("%w: its network %s is not active", backend.ErrUnsupported, backend.Clean(name))
		}
	}
	return nil
}

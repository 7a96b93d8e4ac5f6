package libvirt

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// live selects the running domain's own settings. Reading them berth must say
// that it knows strings, of which there are some beside what it wants; setting
// them it must not.
const (
	live      = uint32(libvirt.DomainAffectLive)
	liveWords = live | uint32(libvirt.TypedParamStringOkay)
)

// errNoShares is the error of a host whose libvirt controls neither CPU nor I/O.
var errNoShares = fmt.Errorf("%w: this host's libvirt has no cgroup controllers for its VMs", backend.ErrUnsupported)

// Shares reads the running domain's CPU shares and I/O weight. What the host
// has no cgroup controller for is zero; when that is so of both the error wraps
// backend.ErrUnsupported. The error wraps backend.ErrState while it is off.
//
// libvirt hands the kernel's own numbers through, so their scale is that of
// the host's cgroups: CPU shares are 2 to 262144 and 1024 by default under
// version 1, 1 to 10000 and 100 by default under version 2; the I/O weight is 10
// to 1000 under version 1 and 1 to 10000 under version 2, where it needs the
// BFQ scheduler or a kernel with io.cost (libvirt's docs/formatdomain.rst,
// "CPU Tuning" and "Block I/O Tuning"; src/util/vircgroupv2.c).
func (h *Host) Shares(ctx context.Context, u backend.UUID) (backend.Shares, error) {
	const op = "read the shares of"
	d, err := h.find(ctx, u)
	if err != nil {
		return backend.Shares{}, failed(op, h.label(u), err)
	}
	cpu, cpuErr := ask(ctx, h.single, func(lv *libvirt.Libvirt) (uint64, error) { return cpuShares(lv, d) })
	if cpuErr != nil && !unsupported(cpuErr) {
		return backend.Shares{}, failed(op, h.label(u), cpuErr)
	}
	io, ioErr := ask(ctx, h.single, func(lv *libvirt.Libvirt) (uint64, error) { return ioWeight(lv, d) })
	switch {
	case ioErr != nil && errors.As(coded(ioErr), new(*daemonError)): // as of CPU shares, or a kernel without weights
		io = 0
	case ioErr != nil:
		return backend.Shares{}, failed(op, h.label(u), ioErr)
	}
	if cpu == 0 && io == 0 {
		return backend.Shares{}, failed(op, h.label(u), errNoShares)
	}
	return backend.Shares{CPU: cpu, IO: io}, nil
}

// SetShares sets those that are not zero, of the running domain only. The CPU
// shares are set though the I/O weight cannot be; the error then wraps
// backend.ErrUnsupported and says so.
func (h *Host) SetShares(ctx context.Context, u backend.UUID, s backend.Shares) error {
	const op = "set the shares of"
	name := h.label(u)
	if err := h.writable(op, name); err != nil {
		return err
	}
	d, err := h.find(ctx, u)
	if err != nil {
		return failed(op, name, err)
	}
	if s.CPU > 0 {
		err := h.set(ctx, func(lv *libvirt.Libvirt) error {
			return lv.DomainSetSchedulerParametersFlags(d, param(libvirt.DomainSchedulerCPUShares, libvirt.NewTypedParamValueUllong(s.CPU)), live)
		})
		if err != nil {
			return failed(op, name, err)
		}
	}
	if s.IO == 0 {
		return nil
	}
	weight := uint32(min(s.IO, math.MaxUint32)) // libvirt refuses what is too much
	err = h.set(ctx, func(lv *libvirt.Libvirt) error {
		return lv.DomainSetBlkioParameters(d, param(libvirt.DomainBlkioWeight, libvirt.NewTypedParamValueUint(weight)), live)
	})
	if err != nil {
		return failed(op, name, fmt.Errorf("its I/O weight: %w", coded(err)))
	}
	return nil
}

// set carries out a call that may be sent twice, for it says what shall be.
func (h *Host) set(ctx context.Context, call func(*libvirt.Libvirt) error) error {
	_, err := ask(ctx, h.action, func(lv *libvirt.Libvirt) (struct{}, error) { return struct{}{}, call(lv) })
	return err
}

// param is the one parameter to set.
func param(name string, v *libvirt.TypedParamValue) []libvirt.TypedParam {
	return []libvirt.TypedParam{{Field: name, Value: *v}}
}

// cpuShares is the domain's cpu_shares, 0 where the driver has none.
func cpuShares(lv *libvirt.Libvirt, d libvirt.Domain) (uint64, error) {
	_, n, err := lv.DomainGetSchedulerType(d)
	if err != nil {
		return 0, err
	}
	params, err := lv.DomainGetSchedulerParametersFlags(d, n, liveWords)
	return valueOf(params, libvirt.DomainSchedulerCPUShares), err
}

// ioWeight is the domain's blkio weight.
func ioWeight(lv *libvirt.Libvirt, d libvirt.Domain) (uint64, error) {
	_, n, err := lv.DomainGetBlkioParameters(d, 0, liveWords)
	if err != nil {
		return 0, err
	}
	params, _, err := lv.DomainGetBlkioParameters(d, n, liveWords)
	return valueOf(params, libvirt.DomainBlkioWeight), err
}

// valueOf is the number of that name, or 0.
func valueOf(params []libvirt.TypedParam, name string) uint64 {
	for _, p := range params {
		if p.Field == name {
			return unsigned(p)
		}
	}
	return 0
}

package demo

import (
	"context"
	"fmt"

	"berth/backend"
)

// usualShares are what cgroups of version 2 give to a machine of which nobody
// said more; at most mostShares can be given.
var usualShares = backend.Shares{CPU: 100, IO: 100}

const mostShares = 10_000

// Shares reads the weights of a running machine.
func (h *host) Shares(ctx context.Context, id backend.UUID) (backend.Shares, error) {
	v, err := h.runs(ctx, "read the shares of", id)
	if err != nil {
		return backend.Shares{}, err
	}
	defer h.leave()
	return v.shares, nil
}

// SetShares changes the weights that are not zero; they are felt from the next
// tick on. The machine's next start has the usual ones.
func (h *host) SetShares(ctx context.Context, id backend.UUID, s backend.Shares) error {
	if h.ReadOnly() {
		return failed(opSetShares, id.String(), backend.ErrReadOnly, hintReadOnly)
	}
	return h.setShares(ctx, id, s)
}

const opSetShares = "set the shares of"

// setShares is SetShares for whoever may change the host.
func (h *host) setShares(ctx context.Context, id backend.UUID, s backend.Shares) error {
	if s.CPU > mostShares || s.IO > mostShares {
		return failed(opSetShares, id.String(), fmt.Errorf("%w: shares are 1 to %d", backend.ErrInvalid, mostShares), "")
	}
	v, err := h.runs(ctx, opSetShares, id)
	if err != nil {
		return err
	}
	defer h.leave()
	if s.CPU > 0 {
		v.shares.CPU = s.CPU
	}
	if s.IO > 0 {
		v.shares.IO = s.IO
	}
	return nil
}

// runs is find for what only a running machine has.
func (h *host) runs(ctx context.Context, op string, id backend.UUID) (*vm, error) {
	v, err := h.find(ctx, op, id)
	if err != nil {
		return nil, err
	}
	if !v.row.State.Active() {
		defer h.leave()
		return nil, failed(op, v.row.Name, fmt.Errorf("%w: domain is not running", backend.ErrState), "")
	}
	return v, nil
}

// divide says which part of what it asks for each machine gets of the host's
// CPU and disk. Where all have the usual weights, that is the same part.
func (h *host) divide(cpu, disk float64) {
	usual := true
	for _, v := range h.vms {
		v.cpuPart, v.ioPart = h.cpuShare, h.diskShare
		usual = usual && (v.shares == usualShares || !v.row.State.Active())
	}
	if usual {
		return
	}
	if h.cpuShare < 1 {
		h.fill(cpu, func(v *vm) (float64, float64, *float64) { return v.draw.cpu, float64(v.shares.CPU), &v.cpuPart })
	}
	if h.diskShare < 1 {
		h.fill(disk, func(v *vm) (float64, float64, *float64) {
			return v.draw.read + v.draw.write, float64(v.shares.IO), &v.ioPart
		})
	}
}

// fill gives out what there is by weights: each gets weight × level of what it
// asks for, at most all, with the level at which everything is given out.
func (h *host) fill(have float64, of func(*vm) (want, weight float64, part *float64)) {
	full := map[*vm]bool{}
	for {
		left, weighed := have, 0.0
		for _, v := range h.vms {
			want, weight, _ := of(v)
			switch {
			case !v.row.State.Active():
			case full[v]:
				left -= want
			default:
				weighed += want * weight
			}
		}
		level, again := max(left, 0)/max(weighed, 1e-9), false
		for _, v := range h.vms {
			_, weight, part := of(v)
			if full[v] || !v.row.State.Active() {
				continue
			}
			*part = weight * level
			if *part >= 1 {
				*part, full[v], again = 1, true, true
			}
		}
		if !again {
			return
		}
	}
}

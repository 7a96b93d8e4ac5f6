package demo

import (
	"context"

	"berth/backend"
)

// keeper is a host as those see it who run it.
type keeper struct{ *host }

var (
	_ backend.Host    = keeper{}
	_ backend.Definer = keeper{}
	_ backend.Tuner   = keeper{}
)

// Keeper is one of a fleet's hosts as those see it who run the fleet: when the
// console may change nothing (Options.ReadOnly), they still do, as a queue's
// engine goes on while somebody only looks. A Host of another kind is
// returned as it is.
func Keeper(h backend.Host) backend.Host {
	if d, ok := h.(*host); ok {
		return keeper{d}
	}
	return h
}

// ReadOnly is never so.
func (k keeper) ReadOnly() bool { return false }

// Do carries out one verb.
func (k keeper) Do(ctx context.Context, a backend.Action) error {
	target := a.Name
	if target == "" {
		target = a.UUID.String()
	}
	return k.do(ctx, a, target)
}

// Define stores a definition.
func (k keeper) Define(ctx context.Context, text string) (backend.UUID, error) {
	return k.define(ctx, text)
}

// SetShares changes weights.
func (k keeper) SetShares(ctx context.Context, id backend.UUID, s backend.Shares) error {
	return k.setShares(ctx, id, s)
}

package demo

import (
	"context"
	"errors"
	"slices"
	"testing"

	"berth/backend"
)

// Those who run a fleet change it though the console may not.
func TestKeepersMayChangeWhatTheConsoleMayNot(t *testing.T) {
	f, _ := newFleet(t, Options{Seed: 7, ReadOnly: true, Calm: true})
	ctx := context.Background()
	looker, k := f.Hosts()[0], Keeper(f.Hosts()[0])
	i := slices.IndexFunc(f.hosts[0].vms, func(v *vm) bool { return v.row.State == backend.Running })
	v := f.hosts[0].vms[i]
	pause := backend.Action{Verb: backend.VerbSuspend, UUID: v.row.UUID}
	if err := looker.Do(ctx, pause); !errors.Is(err, backend.ErrReadOnly) || !looker.ReadOnly() || k.ReadOnly() {
		t.Errorf("the console's answer is %v", err)
	}
	if err := k.(backend.Tuner).SetShares(ctx, v.row.UUID, backend.Shares{CPU: 300}); err != nil {
		t.Error(err)
	}
	if err := k.Do(ctx, pause); err != nil {
		t.Error(err)
	}
	xml, err := k.XML(ctx, v.row.UUID, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.(backend.Definer).Define(ctx, xml); err != nil {
		t.Error(err)
	}
	s, err := looker.(backend.Tuner).Shares(ctx, v.row.UUID)
	if row := shows(t, v); err != nil || s.CPU != 300 || row.State != backend.Paused {
		t.Errorf("the console sees %+v, %v, %s", s, err, row.State)
	}
	if Keeper(nil) != nil {
		t.Error("nothing became a host")
	}
}

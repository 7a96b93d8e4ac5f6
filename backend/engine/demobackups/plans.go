package demobackups

import (
	"context"
	"slices"
	"time"

	"berth/backend"
	"berth/backend/store"
)

// plan makes the schedules, and the transfer that failed last night.
func (p *past) plan(ctx context.Context) error {
	if readOnly(p.b.o.Hosts) {
		return nil
	}
	keep := backend.Retention{Last: 3, Daily: 7, Weekly: 4}
	nightly := backend.Schedule{Name: "nightly", Cron: "30 2 * * *", Tag: "prod", Repo: p.ref, Keep: keep, Verify: 5, Fresh: 36 * time.Hour, Owner: "nightly"}
	hourly := backend.Schedule{Name: "databases", Cron: "15 * * * *", Tag: "db", Repo: p.ref, Keep: keep, Fresh: 24 * time.Hour, Owner: "barbara"}
	desks := backend.Schedule{Name: "desktops", Cron: "@weekly", Tag: "desk", Repo: p.ref, Disabled: true, Owner: "ken"}
	now := p.b.o.Clock.Now()
	failed, name, err := p.failed(ctx, now)
	if err != nil {
		return err
	}
	for _, s := range []backend.Schedule{nightly, hourly, desks} {
		id, err := p.b.PutSchedule(ctx, s)
		if err != nil {
			return err
		}
		if s.Name != "nightly" {
			continue
		}
		err = p.b.store.Update(ctx, func(tx *store.Tx) error {
			s, err := tx.Schedule(id)
			if err != nil {
				return err
			}
			if s.Last = now.Add(-8 * time.Hour).Truncate(time.Second); failed != "" {
				s.LastBad = name + ": " + failed
			}
			_, err = tx.PutSchedule(s)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func readOnly(hosts []backend.Host) bool {
	return slices.ContainsFunc(hosts, func(h backend.Host) bool { return h.ReadOnly() })
}

// failed enters a transfer that failed for want of room, of a VM that writes
// faster than it is read.
func (p *past) failed(ctx context.Context, now time.Time) (words, name string, err error) {
	for _, h := range p.b.hosts {
		poll, err := h.Poll(ctx)
		if err != nil {
			continue // lost just now
		}
		i := slices.IndexFunc(poll.VMs, func(v backend.VM) bool { return slices.Contains(v.Tags, "log") && v.Persistent })
		if i < 0 {
			continue
		}
		vm := &poll.VMs[i]
		words = "not enough free space for scratch files: the guest writes faster than it is read; make room, or name another folder for scratch files"
		at := now.Add(-8 * time.Hour).Truncate(time.Second)
		return words, vm.Name, p.b.store.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.AddTransfer(backend.Transfer{
				Spec:  backend.TransferSpec{Kind: backend.TransferBackup, VM: vm.Key(), Name: vm.Name, Repo: p.ref, Limit: Pace},
				Owner: "nightly", State: backend.TransferFailed, Since: at.Add(9 * time.Second), Ordered: at, Started: at, Ended: at.Add(9 * time.Second),
				Attempts: 1, Words: words,
				Progress: backend.Progress{At: at.Add(9 * time.Second), Phase: backend.PhaseReading, Disk: "vdb", Done: 5 << 20, Total: 16 << 20, Mean: Pace},
			})
			return err
		})
	}
	return "", "", nil
}

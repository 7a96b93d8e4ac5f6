package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"berth/backend"
	"berth/model"
)

// needsBackups reports whether the backups have to be asked for the list.
func (p *listPlan) needsBackups() bool {
	if p.format == "json" || p.format == "csv" && !p.chosen || p.by == "backup" || slices.Contains(p.filter.Keys(), "backup") {
		return true
	}
	return slices.ContainsFunc(p.columns, func(c model.Column) bool { return c.ID == "backup" })
}

// noteBackups writes on the rows what there is to restore them from, as far as
// it is known without opening a repository. Where nothing is kept nothing is
// made; what cannot be read is complained about.
func (a *app) noteBackups(ctx context.Context, rows []*model.Row) {
	if _, err := os.Stat(filepath.Join(a.config.Paths.StateDir, stateFile)); err != nil || a.flags.demo || a.Backups == nil {
		return
	}
	b, err := a.openBackups(ctx, func() []backend.Host { return nil })
	if err != nil {
		a.complain(err)
		return
	}
	st, err := b.State(ctx)
	if cerr := b.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		a.complain(err)
		return
	}
	if len(st.Points) == 0 && len(st.Schedules) == 0 {
		return // nobody makes backups here
	}
	for _, r := range rows {
		r.Backup = rowBackup(st.Points, r.UUID, st.At.Add(-a.config.Backup.Fresh))
	}
}

// rowBackup is what points, the latest first, say of a VM; one since fresh is
// recent.
func rowBackup(points []backend.Point, vm backend.UUID, fresh time.Time) model.RowBackup {
	b := model.RowBackup{Fresh: model.FreshNone}
	for i := range points {
		p := &points[i]
		if p.VM != vm {
			continue
		}
		if p.Damaged != "" {
			if b.Good.IsZero() {
				b.Fresh = model.FreshDamaged
			}
			continue
		}
		if b.Good.IsZero() {
			b.Good, b.Fresh = p.At, model.FreshOK
			if p.At.Before(fresh) {
				b.Fresh = model.FreshOld
			}
		}
		if !p.Verified.IsZero() && b.Verified.IsZero() {
			b.Verified = p.At
		}
	}
	return b
}

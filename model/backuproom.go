package model

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// diskPlan is where one disk goes and how much is written for it.
type diskPlan struct {
	disk backend.PointDisk
	to   string
	dir  string // the folder whose room counts; empty: the pool's
}

// diskPlans are the disks that a restore writes.
func diskPlans(s *backend.TransferSpec, p *backend.Point) []diskPlan {
	var out []diskPlan
	for _, d := range p.Disks {
		switch to, named := s.Restore.Disks[d.Target]; {
		case named:
			out = append(out, diskPlan{d, to, path.Dir(to)})
		case s.Restore.DisksOnly:
		case s.Restore.Pool != "":
			out = append(out, diskPlan{d, "pool " + s.Restore.Pool, ""})
		case s.Restore.NewName != "":
			out = append(out, diskPlan{d, "a new file in " + path.Dir(d.Path), path.Dir(d.Path)})
		default:
			out = append(out, diskPlan{d, d.Path, path.Dir(d.Path)})
		}
	}
	return out
}

// written is how many bytes a restore writes.
func written(plans []diskPlan) (n int64) {
	for _, d := range plans {
		n += d.disk.Data
	}
	return n
}

// restoreLines say what a restore would write.
func (a *App) restoreLines(f *Form, r *restorePlan) []PreviewLine {
	p := a.Backups.Point(r.point)
	s, err := a.restoreSpec(f, r)
	if p == nil || err != nil {
		return nil
	}
	need := written(diskPlans(&s, p))
	out := []PreviewLine{{LevelInfo, fmt.Sprintf("%s are written.", Bytes(float64(need)))}}
	if i := slices.IndexFunc(r.pools, func(x backend.Pool) bool { return x.Name == s.Restore.Pool }); i >= 0 {
		out = append(out, roomLine(need, r.pools[i].Available, "pool "+s.Restore.Pool+" on "+r.host))
	}
	if p.Damaged != "" {
		out = append(out, PreviewLine{LevelBad, "The point is damaged: " + backend.Clean(p.Damaged)})
	}
	return out
}

func roomLine(need int64, free uint64, where string) PreviewLine {
	if uint64(max(need, 0)) > free {
		return PreviewLine{LevelBad, fmt.Sprintf("Not enough room: %s has %s free.", where, Bytes(float64(free)))}
	}
	return PreviewLine{LevelOK, fmt.Sprintf("There is room: %s has %s free.", where, Bytes(float64(free)))}
}

// checkRoom asks the host for the room where the disks go, then shows the
// summary.
func (a *App) checkRoom(f *Form, r *restorePlan) tea.Cmd {
	s, err := a.restoreSpec(f, r)
	p := a.Backups.Point(r.point)
	h := a.Fleet.HostState(r.host)
	switch {
	case err != nil:
		return a.Warn(err.Error())
	case h == nil:
		return a.Warn(r.host + " is not connected any more")
	}
	plans := diskPlans(&s, p)
	host, parent := h.Host, a.ctx
	return tea.Batch(a.Info("asking "+r.host+" what room there is"), func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, restoreDeadline)
		defer cancel()
		lines, short, err := roomFor(ctx, host, s.Restore.Pool, plans)
		return result(func(a *App) tea.Cmd {
			if r.left(a) {
				return nil
			}
			if err != nil {
				lines = append(lines, "What room there is could not be found out: "+err.Error())
			}
			if short {
				a.Push(f) // so that another place can be chosen
				return a.Warn(strings.Join(lines, " "))
			}
			return a.summary(s, r, lines)
		})
	})
}

// roomFor compares what is written with what is free, place by place.
func roomFor(ctx context.Context, host backend.Host, pool string, plans []diskPlan) (lines []string, short bool, err error) {
	need := map[string]int64{}
	var dirs []string
	for _, d := range plans {
		if _, seen := need[d.dir]; !seen {
			dirs = append(dirs, d.dir)
		}
		need[d.dir] += d.disk.Data
	}
	add := func(n int64, free uint64, where string) {
		l := roomLine(n, free, where)
		short = short || l.Level == LevelBad
		lines = append(lines, l.Text)
	}
	for _, dir := range dirs {
		switch files, ok := host.(backend.HostFiles); {
		case dir == "":
			store, is := host.(backend.Storage)
			if !is {
				return lines, short, backend.ErrUnsupported
			}
			pools, err := store.Pools(ctx)
			if err != nil {
				return lines, short, err
			}
			i := slices.IndexFunc(pools, func(x backend.Pool) bool { return x.Name == pool })
			if i < 0 || !pools[i].Active {
				return lines, short, fmt.Errorf("pool %s does not run", pool)
			}
			add(need[dir], pools[i].Available, "pool "+pool+" on "+host.Name())
		case !ok:
			return lines, short, fmt.Errorf("%s cannot say what room %s has", host.Name(), dir)
		default:
			free, err := files.Room(ctx, dir)
			if err != nil {
				return lines, short, err
			}
			add(need[dir], free, dir+" on "+host.Name())
		}
	}
	return lines, short, nil
}

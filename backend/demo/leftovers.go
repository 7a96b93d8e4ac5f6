package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/backend"
)

// ownPrefix is what the names of berth's checkpoints begin with.
const ownPrefix = "berth-"

// leaveBehind gives one machine a checkpoint of a backup that never ended: the
// power went while it ran.
func (f *Fleet) leaveBehind() {
	if f.opts.Calm {
		return
	}
	for _, h := range f.hosts {
		for _, v := range h.vms {
			if v.role.key != "mail" || v.stored == nil {
				continue
			}
			at := f.base.Add(-9*24*time.Hour - 47*time.Minute).Truncate(time.Second)
			cp := backend.Checkpoint{Name: fmt.Sprintf("%s5eed1e55-%d", ownPrefix, at.Unix()), Created: at, Disks: []string{"vda"}}
			v.checkpoints = append([]backend.Checkpoint{cp}, v.checkpoints...)
			v.lose(cp.Name)
			return
		}
	}
}

// Leftovers finds what broken-off backups left on the host.
func (h *host) Leftovers(ctx context.Context, alive []string) ([]backend.Leftover, error) {
	if err := h.enter(ctx, "look for leftovers on"); err != nil {
		return nil, err
	}
	defer h.leave()
	h.fleet.allImages()
	var list []backend.Leftover
	for _, v := range h.byName() {
		left := backend.Leftover{Host: h.name, VM: v.row.UUID, Name: v.row.Name}
		open := ""
		if s := v.backup; s != nil {
			open = s.r.Checkpoint
			if !slices.Contains(alive, s.token) {
				left.Kind, left.What, left.Since = "job", s.token, h.fleet.shown(s.began)
				left.Size = uint64(s.scratch())
				list = append(list, left)
			}
		}
		for i := range v.checkpoints {
			cp := &v.checkpoints[i]
			if strings.HasPrefix(cp.Name, ownPrefix) && cp.Name != open && !v.kept[cp.Name] {
				left.Kind, left.What, left.Since, left.Size = "checkpoint", cp.Name, cp.Created, 0
				list = append(list, left)
			}
		}
	}
	return list, nil
}

// CleanUp removes one.
func (h *host) CleanUp(ctx context.Context, l backend.Leftover) error {
	if err := h.writable(opClean, l.Name); err != nil {
		return err
	}
	return h.cleanUp(ctx, l)
}

const opClean = "clean up after a backup of"

func (h *host) cleanUp(ctx context.Context, l backend.Leftover) error {
	v, err := h.find(ctx, opClean, l.VM)
	if err != nil {
		return err
	}
	s := v.backup
	switch {
	case l.Kind == "job" && s != nil && s.token == l.What:
		h.leave()
		return s.Abort(ctx)
	case l.Kind == "checkpoint" && v.checkpoint(l.What) != nil && (s == nil || s.r.Checkpoint != l.What):
		var images []*diskImage
		for _, k := range v.writableDisks(v.def()) {
			if img := h.fleet.imageOf(v, v.def(), k); img != nil {
				images = append(images, img)
			}
		}
		v.dropCheckpoint(l.What)
		h.leave()
		dropMarks(images, l.What)
		return nil
	}
	h.leave()
	return failed(opClean, l.Name, fmt.Errorf("%w: there is no %s %s", backend.ErrNoJob, l.Kind, backend.Clean(l.What)), "look again: it is gone")
}

package libvirt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/digitalocean/go-libvirt"
	"golang.org/x/sync/errgroup"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

// The kinds of leftovers.
const (
	leftJob        = "job"
	leftCheckpoint = "checkpoint"
	leftScratch    = "scratch"
	leftFrozen     = "frozen"
)

// draftAge is how long an image under way must not have been written to before
// it counts as left over: of one that is being made nobody but its maker knows.
const draftAge = time.Hour

// search is one look for leftovers.
type search struct {
	h     *Host
	m     dial.Machine // nil: only libvirt is reached
	alive []*token

	mu    sync.Mutex
	found []backend.Leftover
	dirs  map[string]bool // where images lie
	busy  map[string]bool // scratch files that jobs use

	running []*subject
}

// Leftovers implements backend.Backuper.
func (h *Host) Leftovers(ctx context.Context, alive []string) ([]backend.Leftover, error) {
	const op = "look for leftovers on"
	f := &search{h: h, dirs: map[string]bool{"/var/lib/libvirt/images": true}, busy: map[string]bool{}}
	for _, a := range alive {
		if t, err := parseToken(a); err == nil { // else it is another backend's
			f.alive = append(f.alive, t)
			for _, s := range t.Scratch {
				f.busy[s] = true
			}
		}
	}
	var err error
	if f.m, err = h.machine(ctx); err != nil && !errors.Is(err, backend.ErrUnsupported) {
		return nil, h.broken(op, err)
	}
	doms, err := ask(ctx, h.backup, func(lv *libvirt.Libvirt) ([]libvirt.Domain, error) {
		list, _, err := lv.ConnectListAllDomains(1, 0)
		return list, err
	})
	if err != nil {
		return nil, h.broken(op, err)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for _, d := range doms {
		g.Go(func() error { return f.domain(gctx, d) })
	}
	if err := g.Wait(); err != nil {
		return nil, h.broken(op, err)
	}
	err = f.pools(ctx)
	if err == nil {
		err = f.files(ctx)
	}
	if err != nil {
		return nil, h.broken(op, err)
	}
	slices.SortFunc(f.found, func(a, b backend.Leftover) int {
		return strings.Compare(a.Name+"\x00"+a.Kind+"\x00"+a.What, b.Name+"\x00"+b.Kind+"\x00"+b.What)
	})
	return f.found, nil
}

// domain looks at one domain. What a driver does not have is not left over.
func (f *search) domain(ctx context.Context, d libvirt.Domain) error {
	s, err := f.h.subject(ctx, backend.UUID(d.UUID))
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	f.folders(s)
	if s.runs {
		if err := f.job(ctx, s); err != nil {
			return err
		}
		f.frozen(ctx, s)
	}
	return f.checkpoints(ctx, s)
}

func (f *search) add(s *subject, l backend.Leftover) {
	l.Host, l.VM, l.Name = f.h.name, s.uuid(), backend.Clean(s.name)
	f.mu.Lock()
	f.found = append(f.found, l)
	f.mu.Unlock()
}

// folders notes where the domain's images lie.
func (f *search) folders(s *subject) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.runs {
		f.running = append(f.running, s)
	}
	for i := range s.xml.Devices.Disks {
		x := &s.xml.Devices.Disks[i]
		if dir := folder(x, x.Source.File); dir != "" {
			f.dirs[dir] = true
		}
	}
}

// pools notes the folders of the pools that run: images in them may be named by
// volume, and what is left over of a VM that is gone lies there still.
func (f *search) pools(ctx context.Context) error {
	list, err := f.h.Pools(ctx)
	if isDaemons(err) {
		return nil
	}
	for _, p := range list {
		if p.Active && path.IsAbs(p.Path) && !strings.HasPrefix(p.Path, "/dev") {
			f.dirs[p.Path] = true
		}
	}
	return err
}

// job looks for a backup job that nobody minds any more.
func (f *search) job(ctx context.Context, s *subject) error {
	j, err := s.backupJob(ctx)
	if err != nil || j == nil {
		return err
	}
	f.mu.Lock()
	for _, file := range j.scratches() {
		f.busy[file] = true
		f.dirs[path.Dir(file)] = true
	}
	f.mu.Unlock()
	if !j.mine() || slices.ContainsFunc(f.tokens(), func(t *token) bool { return t.Socket == j.Server.Socket }) {
		return nil
	}
	if checkpoint, ok := f.minded(ctx, j.Server.Socket); ok {
		f.spare(s.uuid(), j.Server.Socket, checkpoint)
		return nil
	}
	l := backend.Leftover{Kind: leftJob, What: j.Server.Socket}
	if f.m != nil {
		if st, err := f.m.Stat(ctx, j.Server.Socket); err == nil {
			l.Since = st.Modified
		}
	}
	f.add(s, l)
	return nil
}

// frozen looks for the note of a guest that was not thawed.
func (f *search) frozen(ctx context.Context, s *subject) {
	if f.m == nil {
		return
	}
	dir, err := s.runDir(ctx, f.m)
	if err != nil {
		return // a domain of another driver has none
	}
	at := path.Join(dir, noteName)
	b, err := dial.ReadWhole(ctx, f.m, at, 4096)
	if err != nil {
		return
	}
	var n note
	if json.Unmarshal(b, &n) == nil && f.h.now().Sub(n.Since) > frozenMost+thawWait { // else it is being thawed
		f.add(s, backend.Leftover{Kind: leftFrozen, What: at, Since: n.Since})
	}
}

// checkpoints looks for those whose backup was never finished.
func (f *search) checkpoints(ctx context.Context, s *subject) error {
	list, err := s.checkpoints(ctx)
	if unsupported(err) || gone(err) {
		return nil
	}
	for _, c := range list {
		if !strings.HasPrefix(c.Name, checkpointPrefix) || !strings.HasPrefix(c.Description, begunWords) ||
			slices.ContainsFunc(f.tokens(), func(t *token) bool { return t.VM == s.uuid() && t.Checkpoint == c.Name }) {
			continue
		}
		f.add(s, backend.Leftover{Kind: leftCheckpoint, What: c.Name, Since: time.Unix(c.Created, 0)})
	}
	return err
}

// files looks for scratch files and unfinished images.
func (f *search) files(ctx context.Context) error {
	if f.m == nil {
		return nil
	}
	var files []backend.Leftover
	for dir := range f.dirs {
		list, err := f.m.List(ctx, dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range list {
			at := path.Join(dir, e.Name)
			scratch := strings.HasSuffix(e.Name, scratchSuffix)
			if !strings.HasPrefix(e.Name, dial.DraftPrefix) || !e.Mode.IsRegular() || f.busy[at] ||
				!scratch && f.h.now().Sub(e.Modified) < draftAge {
				continue
			}
			size := e.Real
			if size < 0 { // SFTP does not tell
				size = e.Size
			}
			files = append(files, backend.Leftover{Host: f.h.name, Kind: leftScratch, What: at, Since: e.Modified, Size: uint64(size)})
		}
	}
	if len(files) == 0 {
		return nil
	}
	if err := f.recheck(ctx); err != nil {
		return err
	}
	for _, l := range files {
		if !f.busy[l.What] {
			f.found = append(f.found, l)
		}
	}
	return nil
}

// recheck notes the scratch files of jobs that began while files were listed.
func (f *search) recheck(ctx context.Context) error {
	for _, s := range f.running {
		j, err := s.backupJob(ctx)
		if err != nil && !gone(err) {
			return err
		}
		if j != nil {
			for _, file := range j.scratches() {
				f.busy[file] = true
			}
		}
	}
	return nil
}

// CleanUp implements backend.Backuper. It touches nothing that berth did not make.
func (h *Host) CleanUp(ctx context.Context, l backend.Leftover) error {
	op := "clean up the " + l.Kind + " of"
	name := l.Name
	if name == "" {
		name = l.What
	}
	if err := h.writable(op, name); err != nil {
		return err
	}
	var err error
	switch l.Kind {
	case leftScratch:
		err = h.cleanScratch(ctx, l.What)
	case leftJob, leftCheckpoint, leftFrozen:
		var s *subject
		if s, err = h.subject(ctx, l.VM); err == nil {
			err = s.cleanUp(ctx, l)
		}
	default:
		err = fmt.Errorf("%w: nothing of the kind %q is left by berth", backend.ErrInvalid, l.Kind)
	}
	return failed(op, name, err)
}

func (s *subject) cleanUp(ctx context.Context, l backend.Leftover) error {
	switch l.Kind {
	case leftCheckpoint:
		if !strings.HasPrefix(l.What, checkpointPrefix) {
			return fmt.Errorf("%w: %s is no checkpoint of berth's", backend.ErrInvalid, backend.Clean(l.What))
		}
		return s.deleteCheckpoint(ctx, l.What)
	case leftFrozen:
		return s.cleanFrozen(ctx, l.What)
	}
	m, err := s.h.machine(ctx)
	if err != nil {
		return err
	}
	j, err := s.backupJob(ctx)
	if err != nil || j == nil || !j.mine() || j.Server.Socket != l.What { // it has ended
		return err
	}
	return (&liveSession{s: s, m: m, t: &token{Socket: j.Server.Socket, Scratch: j.scratches()}}).clean(ctx)
}

func (s *subject) cleanFrozen(ctx context.Context, at string) error {
	m, err := s.h.machine(ctx)
	if err != nil {
		return err
	}
	if path.Base(at) != noteName {
		return fmt.Errorf("%w: %s is no note of berth's", backend.ErrInvalid, backend.Clean(at))
	}
	if err := s.thaw(ctx); err != nil && !nothingFrozen(err) {
		return err
	}
	if err := m.Remove(ctx, at); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return onFile(err)
	}
	return nil
}

// cleanScratch removes a file of berth's that no job uses.
func (h *Host) cleanScratch(ctx context.Context, at string) error {
	if !path.IsAbs(at) || path.Clean(at) != at || !strings.HasPrefix(path.Base(at), dial.DraftPrefix) {
		return fmt.Errorf("%w: %s is no file of berth's", backend.ErrInvalid, backend.Clean(at))
	}
	left, err := h.Leftovers(ctx, nil)
	if err != nil {
		return err
	}
	m, err := h.machine(ctx)
	if err != nil {
		return err
	}
	if _, err := m.Stat(ctx, at); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !slices.ContainsFunc(left, func(l backend.Leftover) bool { return l.Kind == leftScratch && l.What == at }) {
		return fmt.Errorf("%w: a job uses it", backend.ErrBusy)
	}
	return onFile(m.Remove(ctx, at))
}

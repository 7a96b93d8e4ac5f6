// Package placetest has places for tests: one in memory, and one that fails
// where it is told to.
package placetest

import (
	"context"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"berth/backend"
	"berth/backend/image/place"
)

// Memory is a place in memory.
type Memory struct {
	// Clock is the place's own; nil: time.Now. Set it before use.
	Clock func() time.Time

	mu     sync.Mutex
	files  map[string]stored
	drafts map[*memoryDraft]bool
	room   int64 // bytes that files may take; 0: any
	used   int64
}

type stored struct {
	content []byte // never changed, only replaced
	at      time.Time
	draft   bool // left by a process that died
}

// NewMemory makes an empty one.
func NewMemory() *Memory {
	return &Memory{files: map[string]stored{}, drafts: map[*memoryDraft]bool{}}
}

// Clone is a copy of what is in it; drafts that are being written are in it as
// those of a process that died.
func (m *Memory) Clone() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &Memory{Clock: m.Clock, files: maps.Clone(m.files), drafts: map[*memoryDraft]bool{}, room: m.room, used: m.used}
	for d := range m.drafts {
		c.files[d.temp()] = stored{content: slices.Clone(d.content), at: d.at, draft: true}
	}
	return c
}

// SetRoom bounds how many bytes files may take; 0: any.
func (m *Memory) SetRoom(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.room = bytes
}

// Used is how many bytes files take.
func (m *Memory) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// Files returns the names of all files, sorted, without drafts.
func (m *Memory) Files() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name, s := range m.files {
		if !s.draft {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Content is a file's content, or nil.
func (m *Memory) Content(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.files[name].content)
}

// Put sets a file's content, as only a disk that fails does.
func (m *Memory) Put(name string, content []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(name, slices.Clone(content))
}

// Flip turns one bit of a file around.
func (m *Memory) Flip(name string, bit int64) {
	content := m.Content(name)
	content[bit/8] ^= 1 << (bit % 8)
	m.Put(name, content)
}

func (m *Memory) put(name string, content []byte) {
	m.used += int64(len(content)) - int64(len(m.files[name].content))
	m.files[name] = stored{content: content, at: m.now()}
}

func (m *Memory) now() time.Time {
	if m.Clock != nil {
		return m.Clock()
	}
	return time.Now()
}

// fits reports whether so many more bytes find room. Those of drafts count.
func (m *Memory) fits(more int64) bool {
	used := m.used + more
	for d := range m.drafts {
		used += int64(len(d.content))
	}
	return m.room == 0 || used <= m.room
}

// URL says what it is.
func (m *Memory) URL() string { return "memory" }

// Close does nothing.
func (m *Memory) Close() error { return nil }

func missing(op, name string) error {
	return &backend.OpError{Op: op, Target: name, Err: fs.ErrNotExist}
}

func (m *Memory) find(ctx context.Context, op, name string) (stored, error) {
	if err := ctx.Err(); err != nil {
		return stored{}, err
	}
	s, ok := m.files[name]
	if !ok || s.draft {
		return stored{}, missing(op, name)
	}
	return s, nil
}

// Open opens a file.
func (m *Memory) Open(ctx context.Context, name string) (place.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.find(ctx, "open", name)
	if err != nil {
		return nil, err
	}
	return &memoryFile{ctx: ctx, content: s.content}, nil
}

type memoryFile struct {
	ctx     context.Context
	content []byte
}

func (f *memoryFile) Size() int64 { return int64(len(f.content)) }

func (f *memoryFile) Close() error { return nil }

func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	if off >= int64(len(f.content)) {
		return 0, io.EOF
	}
	n := copy(p, f.content[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Stat describes a file.
func (m *Memory) Stat(ctx context.Context, name string) (place.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.find(ctx, "stat", name)
	if err != nil {
		return place.Entry{}, err
	}
	return place.Entry{Name: name, Size: int64(len(s.content)), ModTime: s.at}, nil
}

// CreateExclusive makes a file whose name is free.
func (m *Memory) CreateExclusive(ctx context.Context, name string, content []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, ok := m.files[name]; ok {
		return &backend.OpError{Op: "create", Target: name, Err: fs.ErrExist}
	}
	if !m.fits(int64(len(content))) {
		return full(name)
	}
	m.put(name, slices.Clone(content))
	return nil
}

func full(name string) error {
	return &backend.OpError{Op: "write", Target: name, Err: fullError{}}
}

// fullError is what a place that is full says.
type fullError struct{}

func (fullError) Error() string   { return backend.ErrNoRoom.Error() + " (no space left on device)" }
func (fullError) Unwrap() []error { return []error{backend.ErrNoRoom, syscall.ENOSPC} }

// List returns the files of a folder.
func (m *Memory) List(ctx context.Context, dir string) ([]place.Entry, error) {
	return m.list(ctx, func(name string, s stored) bool { return path.Dir(name) == dir && !s.draft })
}

func (m *Memory) list(ctx context.Context, want func(name string, s stored) bool) ([]place.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []place.Entry
	for name, s := range m.files {
		if want(name, s) {
			all = append(all, place.Entry{Name: name, Size: int64(len(s.content)), ModTime: s.at})
		}
	}
	slices.SortFunc(all, func(a, b place.Entry) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Folders returns the folders of a folder.
func (m *Memory) Folders(ctx context.Context, dir string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	found := map[string]bool{}
	for name := range m.files {
		rest, below := name, true
		if dir != "." {
			rest, below = strings.CutPrefix(name, dir+"/")
		}
		if first, _, deeper := strings.Cut(rest, "/"); below && deeper {
			found[first] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// Drafts returns those that are being written or were left.
func (m *Memory) Drafts(ctx context.Context) ([]place.Entry, error) {
	all, err := m.list(ctx, func(_ string, s stored) bool { return s.draft })
	m.mu.Lock()
	defer m.mu.Unlock()
	for d := range m.drafts {
		all = append(all, place.Entry{Name: d.temp(), Size: int64(len(d.content)), ModTime: d.at})
	}
	return all, err
}

// RemoveDrafts removes those that have not changed for so long.
func (m *Memory) RemoveDrafts(ctx context.Context, unchanged time.Duration) (int, error) {
	all, err := m.Drafts(ctx)
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	removed := 0
	for _, e := range all {
		if m.now().Sub(e.ModTime) < unchanged {
			continue
		}
		removed++
		m.used -= int64(len(m.files[e.Name].content))
		delete(m.files, e.Name)
		for d := range m.drafts {
			if d.temp() == e.Name {
				d.gone = true
				delete(m.drafts, d)
			}
		}
	}
	return removed, nil
}

// Remove removes a file.
func (m *Memory) Remove(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.find(ctx, "remove", name)
	if err != nil {
		return err
	}
	m.used -= int64(len(s.content))
	delete(m.files, name)
	return nil
}

// Touch sets a file's time to now.
func (m *Memory) Touch(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.find(ctx, "touch", name)
	if err != nil {
		return err
	}
	s.at = m.now()
	m.files[name] = s
	return nil
}

// Now is the place's clock.
func (m *Memory) Now(ctx context.Context) (time.Time, error) { return m.now(), ctx.Err() }

// Room is what is free of SetRoom.
func (m *Memory) Room(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.room == 0 {
		return 0, backend.ErrUnsupported
	}
	return max(m.room-m.used, 0), nil
}

// Create begins a file.
func (m *Memory) Create(ctx context.Context, name string, sizeHint int64) (place.Draft, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !fs.ValidPath(name) || name == "." {
		return nil, &backend.OpError{Op: "create", Target: name, Err: fs.ErrInvalid}
	}
	if !m.fits(sizeHint) {
		return nil, full(name)
	}
	d := &memoryDraft{ctx: ctx, m: m, name: name, at: m.now()}
	m.drafts[d] = true
	return d, nil
}

type memoryDraft struct {
	ctx     context.Context
	m       *Memory
	name    string
	content []byte
	at      time.Time
	gone    bool
	ended   bool
}

func (d *memoryDraft) temp() string {
	dir, base := path.Split(d.name)
	return dir + ".draft-" + base + ".0"
}

func (d *memoryDraft) Size() int64 { return int64(len(d.content)) }

func (d *memoryDraft) Write(p []byte) (int, error) {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if err := d.ctx.Err(); err != nil {
		return 0, err
	}
	if !d.m.fits(int64(len(p))) {
		return 0, full(d.name)
	}
	d.content = append(d.content, p...)
	d.at = d.m.now()
	return len(p), nil
}

func (d *memoryDraft) Commit(ctx context.Context) error {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.gone || d.ended {
		return missing("write", d.name)
	}
	d.ended = true
	delete(d.m.drafts, d)
	d.m.put(d.name, d.content)
	return nil
}

func (d *memoryDraft) Discard() error {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	d.ended = true
	delete(d.m.drafts, d)
	return nil
}

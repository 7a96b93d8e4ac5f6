package image

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"

	"github.com/zeebo/blake3"

	"berth/backend"
	"berth/backend/image/disk"
)

// Target is a place that a copy goes to.
type Target struct {
	Name string // for messages
	// Open begins a copy of size bytes, of which at most data are not zeroes.
	Open   func(ctx context.Context, size, data int64) (Sink, error)
	folder string // of a file of this machine
}

// Sink takes one copy. Its methods are called from one goroutine at a time,
// unless it is a ParallelSink.
type Sink interface {
	// Write takes a stretch; they come in ascending order, and what is left out
	// is zeroes.
	Write(ctx context.Context, p []byte, offset int64) error
	// Sync ends the copy and makes it durable. It need not have its name yet.
	Sync(ctx context.Context) error
	// Reread opens what was written, to be read from start to end.
	Reread(ctx context.Context) (disk.Reader, error)
	// Commit gives the copy its name.
	Commit(ctx context.Context) error
	// Discard leaves nothing behind. It is not called after Commit succeeded.
	Discard(ctx context.Context) error
}

// ParallelSink is a Sink that takes several stretches at once, in any order.
type ParallelSink interface {
	Sink
	Parallel() int // how many
}

func workersOf(s Sink) int {
	if p, ok := s.(ParallelSink); ok {
		return p.Parallel()
	}
	return 1
}

// CopyOptions say how to copy.
type CopyOptions struct {
	Force    bool // also when a VM writes to the source
	NoVerify bool // do not read the copies back
	NoHash   bool // do not hash on the way; with NoVerify alone
	// Sums are digests of the whole content to make on the way: "blake3",
	// "sha256".
	Sums     []string
	Progress Progress

	phase  backend.Phase     // empty: copying
	expect map[string]string // of Sums: what they must be, else no copy gets its name
	also   *summer           // gets everything, too, from where it stands
}

// CopyResult is what became of a copy.
type CopyResult struct {
	Size    int64             // of the image, in bytes
	Data    int64             // that were read: not holes
	Sums    map[string]string // by algorithm, in hexadecimal
	Targets []TargetResult    // in the order of the targets
}

// TargetResult is what became of one target.
type TargetResult struct {
	Name     string
	Err      error // nil: the copy is there, whole and durable
	Verified bool
}

// Err joins what went wrong with targets.
func (r *CopyResult) Err() error {
	var errs []error
	for i := range r.Targets {
		errs = append(errs, r.Targets[i].Err)
	}
	return errors.Join(errs...)
}

// copying is one copy under way.
type copying struct {
	o       CopyOptions
	src     disk.Reader
	result  *CopyResult
	sums    digests
	summers map[string]*summer
	meter   *meter
	mu      sync.Mutex // guards result.Sums
	summing sync.WaitGroup
}

// Copy reads an image file once and writes it, byte for byte, to all targets
// side by side. A target that fails is told in the result, and the others
// finish; the error is about the source, or all of them.
func Copy(ctx context.Context, path string, targets []Target, o CopyOptions) (_ *CopyResult, err error) {
	src, err := openSource(ctx, "copy", path, o.Force)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	return copyFrom(ctx, src.Reader, src.data, targets, o)
}

func sizeOf(f *os.File) (int64, error) { return f.Seek(0, io.SeekEnd) }

// measure is a file's or device's size, and how many bytes of it are not holes
// as far as is told.
func measure(f *os.File) (size, data int64, err error) {
	st, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	if size, err = sizeOf(f); err != nil || !st.Mode().IsRegular() {
		return size, size, err
	}
	return size, allocated(st), nil
}

func copyFrom(ctx context.Context, src disk.Reader, data int64, targets []Target, o CopyOptions) (*CopyResult, error) {
	c := &copying{o: o, src: src, sums: digests{}, meter: &meter{report: o.Progress}, result: &CopyResult{Size: src.Size()}}
	if err := c.prepareSums(); err != nil {
		return nil, err
	}
	c.result.Targets = make([]TargetResult, len(targets))
	sinks := make([]Sink, len(targets))
	errs := roomForAll(targets, data)
	for i, t := range targets {
		c.result.Targets[i] = TargetResult{Name: t.Name, Err: errs[i]}
		if errs[i] == nil {
			sinks[i], c.result.Targets[i].Err = t.Open(ctx, src.Size(), data)
		}
	}
	if err := c.result.Err(); err != nil && allNil(sinks) {
		return c.result, err
	}
	c.meter.begin(cmp.Or(o.phase, PhaseCopying), data)
	err := c.run(ctx, sinks)
	switch {
	case ctx.Err() != nil:
		return c.result, context.Cause(ctx)
	case len(targets) == 0: // nobody else tells it
		return c.result, err
	}
	return c.result, nil
}

func allNil(sinks []Sink) bool {
	for _, s := range sinks {
		if s != nil {
			return false
		}
	}
	return true
}

func (c *copying) prepareSums() error {
	c.summers = map[string]*summer{}
	for _, name := range c.o.Sums {
		h, err := newHash(name)
		if err != nil {
			return err
		}
		c.summers[name] = &summer{h: h, size: c.src.Size()}
	}
	return nil
}

// newHash returns a hash by its name.
func newHash(name string) (hash.Hash, error) {
	switch name {
	case "blake3":
		return blake3.New(), nil
	case "sha256":
		return sha256.New(), nil
	}
	return nil, fmt.Errorf("%w: there is no checksum %q; use blake3 or sha256", backend.ErrInvalid, backend.Clean(name))
}

// run reads once and writes to every sink. What it returns is why the source
// was not read to its end; every sink has it, too.
func (c *copying) run(ctx context.Context, sinks []Sink) error {
	f := newFanout()
	failed := make(chan struct{}) // closed, with why set, when the source is not read to its end
	var why error
	c.startSums(f)
	for i, s := range sinks {
		if s == nil {
			continue
		}
		t := &c.result.Targets[i]
		f.add(workersOf(s), func(p []byte, at int64) error { return s.Write(ctx, p, at) }, func(err error) {
			select {
			case <-failed:
				err = errors.Join(err, why)
			default:
			}
			t.Err = c.finish(ctx, s, t, err)
		})
	}
	if why = c.read(ctx, f); why != nil {
		close(failed)
	}
	f.end()
	return why
}

// startSums begins to make the digests of the whole.
func (c *copying) startSums(f *fanout) {
	c.summing.Add(len(c.summers))
	for name, s := range c.summers {
		f.add(1, s.write, func(error) { // a hash never fails
			s.finish()
			c.noteSum(name, s)
			c.summing.Done()
		})
	}
	if s := c.o.also; s != nil {
		from := s.at
		f.add(1, func(p []byte, at int64) error { return s.write(p, from+at) }, func(error) { s.zeroesTo(from + c.src.Size()) })
	}
}

func (c *copying) noteSum(name string, s *summer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.result.Sums == nil {
		c.result.Sums = map[string]string{}
	}
	c.result.Sums[name] = hex.EncodeToString(s.h.Sum(nil))
}

var errNobodyLeft = errors.New("no target is left")

func (c *copying) read(ctx context.Context, f *fanout) error {
	err := walk(ctx, c.src, func() ([]byte, error) { return f.take(ctx) }, func(p []byte, at int64) error {
		if !c.o.NoHash && !disk.AllZero(p) {
			c.sums[at] = digestOf(p)
		}
		c.result.Data += int64(len(p))
		wanted, err := f.send(ctx, p, at)
		if err == nil && !wanted {
			err = errNobodyLeft
		}
		return err
	}, c.meter.add)
	if errors.Is(err, errNobodyLeft) {
		return nil // each has its own reason
	}
	return err
}

// finish ends one target's copy: durable, read back, named; or nothing at all.
func (c *copying) finish(ctx context.Context, s Sink, t *TargetResult, err error) error {
	if err == nil {
		err = s.Sync(ctx)
	}
	if err == nil && !c.o.NoVerify && !c.o.NoHash {
		if err = c.verify(ctx, s); err == nil {
			t.Verified = true
		}
	}
	if err == nil {
		err = c.asExpected()
	}
	if err == nil {
		err = s.Commit(ctx)
	}
	if err == nil {
		return nil
	}
	t.Verified = false
	// The context may be why; what was begun must go all the same.
	err = errors.Join(err, s.Discard(context.WithoutCancel(ctx)))
	var known *backend.OpError
	if errors.As(err, &known) && known.Target == backend.Clean(t.Name) {
		return err
	}
	return opError("copy to", t.Name, err, "")
}

// asExpected compares the digests of the whole with what they must be.
func (c *copying) asExpected() error {
	if len(c.o.expect) == 0 {
		return nil
	}
	c.summing.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, want := range c.o.expect {
		if got := c.result.Sums[name]; got != want {
			return fmt.Errorf("%w: its %s is %s and should be %s", backend.ErrDamaged, name, got, want)
		}
	}
	return nil
}

func (c *copying) verify(ctx context.Context, s Sink) (err error) {
	r, err := s.Reread(ctx)
	if err != nil {
		return fmt.Errorf("reading back: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	c.meter.more(backend.PhaseVerifying, c.result.Data)
	return c.sums.compare(ctx, r, c.meter.add)
}

// summer makes a digest of the whole content, of which it gets the parts that
// are not holes.
type summer struct {
	h    hash.Hash
	at   int64
	size int64
}

var zeroPiece [64 << 10]byte

func (s *summer) write(p []byte, offset int64) error {
	s.zeroesTo(offset)
	s.h.Write(p) // a hash never fails
	s.at += int64(len(p))
	return nil
}

func (s *summer) finish() { s.zeroesTo(s.size) }

func (s *summer) zeroesTo(offset int64) {
	for s.at < offset {
		n := min(offset-s.at, int64(len(zeroPiece)))
		s.h.Write(zeroPiece[:n])
		s.at += n
	}
}

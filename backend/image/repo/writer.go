package repo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"berth/backend"
)

// maxFile is how large a file of AddFile may be, in bytes.
const maxFile = 64 << 20

var errWriterEnded = errors.New("the backup has ended")

// Writer writes one point. AddDisk and AddFile are called one after the other.
type Writer struct {
	repo   *Repo
	o      WriteOptions
	ctx    context.Context // all that is written ends with it
	cancel context.CancelCauseFunc
	lock   *lock
	job    fileID
	packer *packer

	disks []Disk
	files []File
	read  int64
	fresh atomic.Int64 // bytes read of chunks that were not there
	err   error
	ended bool

	progress sync.Mutex
	told     time.Time
}

// Begin begins a point. The repository is locked against those who remove
// something until Commit or Close.
func (r *Repo) Begin(ctx context.Context, o WriteOptions) (*Writer, error) {
	l, err := r.lockShared(ctx, "backup")
	if err != nil {
		return nil, err
	}
	w := &Writer{repo: r, o: o, lock: l}
	// Disks are written until Close, whatever becomes of ctx's deadline.
	w.ctx, w.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	if err := w.begin(ctx); err != nil {
		w.cancel(errWriterEnded)
		return nil, errors.Join(err, l.release(context.WithoutCancel(ctx)))
	}
	return w, nil
}

func (w *Writer) begin(ctx context.Context) error {
	if err := w.repo.index.load(ctx); err != nil {
		return err
	}
	if err := w.repo.mendIndex(ctx); err != nil {
		return err
	}
	if w.o.Job == "" {
		w.o.Job = "once " + newFileID().String()
	}
	id, again, err := w.repo.beginJob(ctx, w.o.Job)
	if err != nil {
		return err
	}
	if w.job = id; again {
		if err := w.repo.adopt(ctx, id); err != nil {
			return err
		}
	}
	w.packer = w.repo.newPacker(w.ctx, id)
	return nil
}

// during makes writing end with ctx, too. The Writer is of no use after that.
func (w *Writer) during(ctx context.Context) (done func() bool) {
	return context.AfterFunc(ctx, func() { w.cancel(context.Cause(ctx)) })
}

// usable says why the Writer cannot go on.
func (w *Writer) usable() error {
	if w.ended {
		return errWriterEnded
	}
	return w.err
}

// stowed is a chunk that is ready to be written.
type stowed struct {
	frame
	buf []byte
	out []byte // the buffer to be given back; nil: none
}

// stow names a chunk and, unless it is there already, compresses it: then
// chunk is not nil and is to be given to write. buf is a buffer with the chunk
// behind frameLen bytes of room.
func (w *Writer) stow(c *codec, buf []byte, n int, kind chunkKind) (id ChunkID, chunk *stowed) {
	content := buf[frameLen : frameLen+n]
	id = c.id(content)
	if !w.packer.claim(id) {
		return id, nil
	}
	s := &stowed{frame: frame{raw: uint32(n), kind: kind, id: id, alg: algRaw}, buf: buf[:frameLen+n]}
	out := w.repo.buffers.get()
	if small, ok := c.compress(out[:frameLen], content); ok {
		s.alg, s.buf, s.out = algZstd, small, out
		return id, s
	}
	w.repo.buffers.put(out)
	return id, s
}

// write stores what stow made; nil is nothing.
func (w *Writer) write(s *stowed) error {
	if s == nil {
		return nil
	}
	err := w.packer.add(s.frame, s.buf)
	if s.out != nil {
		w.repo.buffers.put(s.out)
	}
	return err
}

// store is stow and write.
func (w *Writer) store(c *codec, buf []byte, n int, kind chunkKind) (ChunkID, error) {
	id, s := w.stow(c, buf, n, kind)
	return id, w.write(s)
}

// AddFile keeps a small file.
func (w *Writer) AddFile(ctx context.Context, kind, path string, content []byte) error {
	if err := w.usable(); err != nil {
		return err
	}
	if len(content) > maxFile {
		return &backend.OpError{Op: "back up", Target: path, Err: fmt.Errorf("%w: it has %d bytes, of at most %d", backend.ErrInvalid, len(content), maxFile)}
	}
	defer w.during(ctx)()
	c := newCodec(w.repo.crypt)
	defer c.close()
	buf := w.repo.buffers.get()
	defer w.repo.buffers.put(buf)
	f := File{Kind: kind, Path: path, Size: int64(len(content))}
	w.packer.expecting(f.Size)
	for len(content) > 0 {
		n := copy(buf[frameLen:frameLen+ChunkSize], content)
		content = content[n:]
		id, err := w.store(c, buf, n, kindFile)
		if err != nil {
			w.err = err
			return &backend.OpError{Op: "back up", Target: path, Err: err}
		}
		f.Chunks = append(f.Chunks, id)
	}
	w.files = append(w.files, f)
	return nil
}

// Commit makes the point of all that was added, and ends the Writer. The point
// is durable when it returns.
func (w *Writer) Commit(ctx context.Context, m Manifest) (Manifest, error) {
	if err := w.usable(); err != nil {
		return m, err
	}
	defer w.during(ctx)()
	m.Disks, m.Files = w.disks, w.files
	m.Read, m.New = w.read, w.fresh.Load()
	m.Full = len(m.Disks) > 0
	for _, d := range m.Disks {
		m.Full = m.Full && d.Full
	}
	if err := w.commit(ctx, &m); err != nil {
		w.err = err
		return m, &backend.OpError{Op: "commit the backup of", Target: m.Name, Err: err}
	}
	w.ended = true
	return m, w.end(ctx)
}

// commit: packs, index, and last the manifest, each durable before the next.
func (w *Writer) commit(ctx context.Context, m *Manifest) error {
	if err := w.packer.flush(ctx); err != nil {
		return err
	}
	m.Stored = w.packer.stored.Load()
	m.Finished = w.repo.now().UTC()
	// Who has lost the lock cannot know that all chunks are still there.
	if err := w.lock.held(ctx); err != nil {
		return err
	}
	return w.repo.writePoint(ctx, m)
}

// end does what is to be done after the point is safe.
func (w *Writer) end(ctx context.Context) error {
	err := errors.Join(w.repo.index.tidy(ctx), w.repo.saveDamage(ctx), w.repo.endJob(ctx, w.job))
	w.cancel(errWriterEnded)
	return errors.Join(err, w.lock.release(context.WithoutCancel(ctx)))
}

// closeTime is how long Close may take to note what can be reused.
const closeTime = 30 * time.Second

// Close ends writing. What was written without Commit stays for a while, for
// a Writer of the same job. It does nothing after Commit has succeeded.
func (w *Writer) Close() error {
	if w.ended {
		return nil
	}
	w.ended = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), closeTime)
	defer cancel()
	w.cancel(errWriterEnded)
	return errors.Join(w.packer.abandon(ctx), w.repo.saveDamage(ctx), w.lock.release(ctx))
}

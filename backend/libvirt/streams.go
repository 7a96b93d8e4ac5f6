package libvirt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

var _ backend.VolumeStreamer = (*Host)(nil)

// Download implements backend.VolumeStreamer.
func (h *Host) Download(ctx context.Context, pool, volume string, w io.Writer) error {
	const op = "download"
	v, err := h.volumeIn(ctx, pool, volume)
	if err == nil {
		sink := &sink{w: w, failed: make(chan struct{})}
		err = h.stream(ctx, sink.failed, func(lv *libvirt.Libvirt, _ *wire) error { return lv.StorageVolDownload(v, sink, 0, 0, 0) })
		err = errors.Join(err, sink.err)
	}
	return failed(op, pool+"/"+volume, err)
}

// Upload implements backend.VolumeStreamer. The volume is there whole, or not at all.
func (h *Host) Upload(ctx context.Context, pool, volume, format string, r io.Reader, size int64) error {
	const op = "upload"
	target := pool + "/" + volume
	if err := h.writable(op, target); err != nil {
		return err
	}
	if size <= 0 || volume == "" || strings.ContainsAny(volume, "/\x00") || !plainWord(format) {
		return failed(op, target, fmt.Errorf("%w: a volume needs a name, a format and at least one byte", backend.ErrInvalid))
	}
	p, err := h.pool(ctx, pool)
	if err != nil {
		return failed(op, target, err)
	}
	// It is made raw, so that the bytes are what lies there in whatever format.
	x := volumeXML{Name: volume, Capacity: volumeSizeXML{"bytes", strconv.FormatInt(size, 10)}, Allocation: volumeSizeXML{"bytes", "0"}}
	x.Target.Format.Type = "raw"
	var v libvirt.StorageVol
	err = changePool(ctx, h, func(lv *libvirt.Libvirt) (err error) {
		v, err = lv.StorageVolCreateXML(p, marshal(x), 0)
		return err
	})
	if err != nil {
		return failed(op, target, err)
	}
	src := &source{r: bufio.NewReaderSize(io.LimitReader(r, size), grain), left: size}
	err = h.stream(ctx, nil, func(lv *libvirt.Libvirt, w *wire) error {
		src.wire = w
		return lv.StorageVolUpload(v, src, 0, uint64(size), libvirt.StorageVolUploadSparseStream)
	})
	if err == nil {
		err = src.complete()
	}
	if err != nil {
		undo := changePool(context.WithoutCancel(ctx), h, func(lv *libvirt.Libvirt) error { return lv.StorageVolDelete(v, 0) })
		return failed(op, target, errors.Join(err, undo))
	}
	return failed(op, target, changePool(ctx, h, func(lv *libvirt.Libvirt) error { return lv.StoragePoolRefresh(p, 0) }))
}

func (h *Host) volumeIn(ctx context.Context, pool, volume string) (libvirt.StorageVol, error) {
	p, err := h.pool(ctx, pool)
	if err != nil {
		return libvirt.StorageVol{}, err
	}
	return onPool(ctx, h, func(lv *libvirt.Libvirt) (libvirt.StorageVol, error) { return lv.StorageVolLookupByName(p, volume) })
}

// stream makes a call that carries a stream, over a connection of its own that
// is closed when ctx ends, when stop is, or with the Host.
func (h *Host) stream(ctx context.Context, stop <-chan struct{}, call func(*libvirt.Libvirt, *wire) error) error {
	cl, err := within(ctx, h.openStreams)
	if err != nil {
		return err
	}
	defer cl.wire.Close()
	done := make(chan error, 1)
	h.spawn(func() {
		_, err := guarded(cl.Libvirt, func(lv *libvirt.Libvirt) (struct{}, error) { return struct{}{}, call(lv, cl.wire) })
		if err != nil && isConnectionError(err) {
			err = lostBecause(err, cl.wire.reason())
		}
		done <- err
	})
	select {
	case err = <-done:
		return err
	case <-ctx.Done():
		err = ended(ctx)
	case <-h.life.Done():
		err = backend.ErrClosed
	case <-stop:
	}
	cl.wire.Close()
	<-done
	return err
}

// sink passes a download on. go-libvirt locks up when a stream's writer fails:
// the error is kept, and the connection closed.
type sink struct {
	w      io.Writer
	failed chan struct{}
	err    error
}

// Write never fails.
func (s *sink) Write(p []byte) (int, error) {
	if s.err == nil {
		if _, s.err = s.w.Write(p); s.err != nil {
			close(s.failed)
		}
	}
	return len(p), nil
}

const (
	// grain is the shortest run of zeroes that is sent as a hole.
	grain = 64 << 10
	// holeMost bounds one hole, so that the stream is never silent for long.
	holeMost = 1 << 30
)

var zeroGrain [grain]byte

// source is what is uploaded; it knows whether it all was. Zeroes are sent as
// holes.
type source struct {
	r    *bufio.Reader // of one grain
	wire *wire
	left int64
	err  error
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (n int, err error) {
	if hole := s.zeroes(); hole > 0 {
		s.wire.hole = hole
		return copy(p, holeMark[:]), nil
	}
	for n+grain <= len(p) {
		b, zero, err := s.next()
		if n > 0 && (zero || err != nil) {
			break
		}
		if err != nil {
			return 0, err
		}
		n += copy(p[n:], b)
		s.take(len(b))
	}
	return n, nil
}

// zeroes takes what is zero in front.
func (s *source) zeroes() (n int64) {
	for n < holeMost {
		b, zero, err := s.next()
		if err != nil || !zero {
			break
		}
		n += int64(len(b))
		s.take(len(b))
	}
	return n
}

// next looks at the next grain, which is shorter at the end.
func (s *source) next() (b []byte, zero bool, err error) {
	b, err = s.r.Peek(grain)
	if len(b) > 0 && (err == nil || errors.Is(err, io.EOF)) {
		return b, bytes.Equal(b, zeroGrain[:len(b)]), nil
	}
	if !errors.Is(err, io.EOF) {
		s.err = err
	}
	return nil, false, err
}

func (s *source) take(n int) {
	s.left -= int64(n)
	_, _ = s.r.Discard(n) // it was looked at
}

func (s *source) complete() error {
	if s.err == nil && s.left > 0 {
		return fmt.Errorf("%w: %d bytes are missing: %w", backend.ErrInvalid, s.left, io.ErrUnexpectedEOF)
	}
	return s.err
}

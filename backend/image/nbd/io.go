package nbd

import (
	"context"
	"fmt"
	"time"

	"berth/backend"
)

// ReadAt fills p from offset on, or fails.
func (c *Client) ReadAt(ctx context.Context, p []byte, offset int64) error {
	if err := c.within(offset, int64(len(p))); err != nil {
		return err
	}
	from, to := c.rounded(offset, int64(len(p)))
	if from == offset && to-from == int64(len(p)) {
		return c.read(ctx, p, offset)
	}
	wide := make([]byte, to-from)
	if err := c.read(ctx, wide, from); err != nil {
		return err
	}
	copy(p, wide[offset-from:])
	return nil
}

// rounded widens a stretch to whole blocks of the server's.
func (c *Client) rounded(offset, length int64) (from, to int64) {
	b := c.info.MinBlock
	return offset / b * b, min((offset+length+b-1)/b*b, c.info.Size)
}

func (c *Client) read(ctx context.Context, p []byte, offset int64) error {
	for len(p) > 0 {
		n := min(int64(len(p)), c.info.MaxBlock)
		_, _, err := c.again(ctx, func() *call { return newCall(cmdRead, 0, offset, n, p[:n]) })
		if err != nil {
			return err
		}
		p, offset = p[n:], offset+n
	}
	return nil
}

// BlockStatus describes the stretch from offset on in each meta context that
// was agreed on, by name. It may describe less than was asked for, but never
// nothing.
func (c *Client) BlockStatus(ctx context.Context, offset, length int64) (map[string][]Span, error) {
	if err := c.within(offset, length); err != nil {
		return nil, err
	}
	if len(c.info.Contexts) == 0 {
		return nil, fmt.Errorf("%w: which parts hold data", ErrNoContext)
	}
	from, to := c.rounded(offset, length)
	to = min(to, from+maxStatus)
	call, conn, err := c.again(ctx, func() *call { return newCall(cmdBlockStatus, 0, from, to-from, nil) })
	if err != nil {
		return nil, err
	}
	byName := map[string][]Span{}
	for id, spans := range call.spans {
		byName[conn.Info().Contexts[id]] = without(spans, offset-from)
	}
	return byName, nil
}

// without drops the first n bytes, which are fewer than a block.
func without(spans []Span, n int64) []Span {
	for len(spans) > 1 && spans[0].Length <= n {
		n -= spans[0].Length
		spans = spans[1:]
	}
	spans[0].Length -= min(n, spans[0].Length-1)
	return spans
}

// WriteAt writes p, which must lie on the server's blocks.
func (c *Client) WriteAt(ctx context.Context, p []byte, offset int64) error {
	if err := c.writable(offset, int64(len(p))); err != nil {
		return err
	}
	for len(p) > 0 {
		n := min(int64(len(p)), c.info.MaxBlock)
		if err := c.change(ctx, newCall(cmdWrite, 0, offset, n, p[:n])); err != nil {
			return err
		}
		p, offset = p[n:], offset+n
	}
	return nil
}

// ZeroOptions say how zeroes are written.
type ZeroOptions struct {
	Allocate bool // keep the space allocated: make no hole
	Fast     bool // fail with EOPNOTSUPP where it would be no faster than writing
}

// WriteZeroes makes a stretch zero; unless told otherwise the server may make
// it a hole. It wraps backend.ErrUnsupported where the server cannot.
func (c *Client) WriteZeroes(ctx context.Context, offset, length int64, o ZeroOptions) error {
	if !c.info.Has(CanWriteZeroes) || o.Fast && !c.info.Has(CanFastZero) {
		return fmt.Errorf("%w: the NBD server cannot write zeroes", backend.ErrUnsupported)
	}
	flags := uint16(0)
	if o.Allocate {
		flags |= cmdFlagNoHole
	}
	if o.Fast {
		flags |= cmdFlagFast
	}
	return c.inPieces(ctx, cmdWriteZeroes, flags, offset, length)
}

// Trim tells the server that a stretch is not needed any more; what it reads as
// afterwards is not known. A server without trim ignores it.
func (c *Client) Trim(ctx context.Context, offset, length int64) error {
	if !c.info.Has(CanTrim) {
		return nil
	}
	return c.inPieces(ctx, cmdTrim, 0, offset, length)
}

func (c *Client) inPieces(ctx context.Context, cmd, flags uint16, offset, length int64) error {
	if err := c.writable(offset, length); err != nil {
		return err
	}
	for length > 0 {
		n := min(length, 1<<30)
		if err := c.change(ctx, newCall(cmd, flags, offset, n, nil)); err != nil {
			return err
		}
		offset, length = offset+n, length-n
	}
	return nil
}

// Flush makes durable what was written. A server that does not offer it has
// nothing to flush.
func (c *Client) Flush(ctx context.Context) error {
	if !c.info.Has(CanFlush) {
		return nil
	}
	_, err := c.once(ctx, 10*c.o.Timeout, newCall(cmdFlush, 0, 0, 0, nil))
	return err
}

func (c *Client) change(ctx context.Context, call *call) error {
	c.wrote.Store(true)
	_, err := c.once(ctx, c.changeTimeout(), call)
	return err
}

// changeTimeout is longer than that of reads: writes wait for disks that flush.
func (c *Client) changeTimeout() time.Duration { return 5 * c.o.Timeout }

func (c *Client) writable(offset, length int64) error {
	if c.info.Has(ReadOnly) {
		return fmt.Errorf("export %s: %w", exportLabel(c.o.Export), backend.ErrReadOnly)
	}
	if from, to := c.rounded(offset, length); from != offset || to != offset+length {
		return fmt.Errorf("%w: %d bytes at %d are no whole blocks of %d bytes", backend.ErrInvalid, length, offset, c.info.MinBlock)
	}
	return c.within(offset, length)
}

func (c *Client) within(offset, length int64) error {
	if offset < 0 || length < 0 || offset > c.info.Size || length > c.info.Size-offset {
		return fmt.Errorf("%w: %d bytes at %d of an export of %d", backend.ErrInvalid, length, offset, c.info.Size)
	}
	return nil
}

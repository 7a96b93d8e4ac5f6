package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"berth/backend"
)

// ConvertOptions say how to convert.
type ConvertOptions struct {
	From     string // format of the source; empty: as it is found to be
	To       string // "qcow2", "raw", or another that QEMU writes
	Compress bool   // qcow2 only, with zstd
	Force    bool   // also when a VM writes to the source
	NoVerify bool   // do not compare the two afterwards
	Progress Progress
}

// Convert writes what a guest sees of an image (its backing chain included,
// its snapshots not) into a new one of another format, and compares the two.
func Convert(ctx context.Context, path, target string, o ConvertOptions) (err error) {
	const op = "convert to"
	if err := mustNotExist(op, target); err != nil {
		return err
	}
	src, err := openSource(ctx, "convert", path, o.Force)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	from, err := absolute(path)
	if err != nil {
		return err
	}
	if o.From == "" {
		i, err := Inspect(ctx, path, "")
		if err != nil {
			return err
		}
		o.From = i.Format
	}
	need, err := o.need(ctx, from)
	if err != nil {
		return opError("convert", path, err, "")
	}
	if err := needRoom(op, target, need); err != nil {
		return err
	}
	d, err := newDraft(op, target, src.mode)
	if err != nil {
		return err
	}
	if err := o.run(ctx, from, src.data, d); err != nil {
		return errors.Join(opError(op, target, err, ""), d.discard())
	}
	return nil
}

// need is how many bytes the result takes: of a qcow2 image as QEMU reckons it,
// of others what the source holds besides zeroes.
func (o *ConvertOptions) need(ctx context.Context, from string) (n int64, err error) {
	if o.To == "qcow2" {
		var m struct {
			Required int64 `json:"required"`
		}
		err = o.ask(ctx, &m, "measure", "-f", o.From, "-O", o.To, from)
		n = m.Required
	} else {
		var extents []struct {
			Length int64 `json:"length"`
			Data   bool  `json:"data"`
			Zero   bool  `json:"zero"`
		}
		err = o.ask(ctx, &extents, "map", "-f", o.From, from)
		for _, e := range extents {
			if e.Data && !e.Zero {
				n += e.Length
			}
		}
	}
	switch {
	case errors.Is(err, backend.ErrUnsupported), err != nil && ctx.Err() != nil:
		return 0, err
	case err != nil:
		return 0, nil // what cannot be measured is tried
	case o.Compress: // how far nobody knows; a hundredth is the least
		return n / 100, nil
	}
	return n, nil
}

// ask has qemu-img tell something of the source.
func (o *ConvertOptions) ask(ctx context.Context, into any, command string, args ...string) error {
	out, err := qemuImg(ctx, nil, append(append(o.shared(command), "--output=json"), args...)...)
	if err != nil {
		return err
	}
	return json.Unmarshal(out, into)
}

// shared begins a command line; with Force a writer is put up with.
func (o *ConvertOptions) shared(command string) []string {
	if o.Force {
		return []string{command, "-U"}
	}
	return []string{command}
}

// run converts into the draft; on failure nothing has the name.
func (o *ConvertOptions) run(ctx context.Context, from string, total int64, d *draft) error {
	m := &meter{report: o.Progress}
	phase := PhaseConverting
	temp, err := absolute(d.temp)
	if err != nil {
		return err
	}
	// qemu-img makes the file itself.
	args := append(o.shared("convert"), "-p", "-W", "-m", "16", "-f", o.From, "-O", o.To)
	if o.Compress {
		args = append(args, "-c", "-o", "compression_type=zstd")
		phase = PhaseCompressing
	}
	if _, err := qemuImg(ctx, &percents{m: m, phase: phase, total: total}, append(args, from, temp)...); err != nil {
		return err
	}
	if err := syncPath(d.temp); err != nil {
		return plain(err)
	}
	if !o.NoVerify {
		if err := forgetCached(d.temp); err != nil {
			return plain(err)
		}
		args := append(o.shared("compare"), "-p", "-f", o.From, "-F", o.To, from, temp)
		if _, err := qemuImg(ctx, &percents{m: m, phase: backend.PhaseVerifying, total: total}, args...); err != nil {
			if ctx.Err() == nil {
				err = fmt.Errorf("%w: the new image is not what the old one is: %w", backend.ErrDamaged, err)
			}
			return err
		}
	}
	return d.commit()
}

// percents reads qemu-img's progress, "    (12.34/100%)\r".
type percents struct {
	m     *meter
	phase backend.Phase
	total int64
	begun bool
	done  int64
	rest  []byte
}

func (p *percents) Write(b []byte) (int, error) {
	if !p.begun {
		p.m.begin(p.phase, p.total)
		p.begun = true
	}
	p.rest = append(p.rest, b...)
	for {
		line, after, found := bytes.Cut(p.rest, []byte("/100%)"))
		if !found {
			p.rest = p.rest[max(0, len(p.rest)-64):]
			return len(b), nil
		}
		p.rest = after
		if i := bytes.LastIndexByte(line, '('); i >= 0 {
			p.take(string(line[i+1:]))
		}
	}
}

func (p *percents) take(number string) {
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || v < 0 || v > 100 {
		return // it is for the eye only
	}
	if done := int64(v / 100 * float64(p.total)); done > p.done {
		p.m.add(done - p.done)
		p.done = done
	}
}

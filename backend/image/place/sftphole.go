package place

import (
	"hash/crc32"
	"io/fs"

	"github.com/pkg/sftp"
)

var _ Skipper = (*remoteDraft)(nil)

// Skip implements Skipper: what is written next lies behind a hole.
func (d *remoteDraft) Skip(n int64) error {
	if d.ended || d.broken {
		return inWords("write", d.name, fs.ErrClosed)
	}
	for d.hole = true; n > 0; {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		part := zeroes[:min(n, int64(len(zeroes)))]
		d.sum = crc32.Update(d.sum, castagnoli, part)
		d.size += int64(len(part))
		n -= int64(len(part))
	}
	return nil
}

var zeroes [1 << 20]byte

// stretch makes a file as long as what was written, when that ends in a hole.
func (d *remoteDraft) stretch(f *sftp.File) error {
	if !d.hole {
		return nil
	}
	return f.Truncate(d.size)
}

package demo

import (
	"errors"
	"io"
	"os"
)

// copySparse writes the data of src to dst at the same offsets; both files may
// have holes. dst had nothing there.
func copySparse(dst io.WriterAt, src *os.File, size int64) error {
	buf := make([]byte, 256*kib)
	for at := int64(0); at < size; {
		from, to, err := nextData(src, at, size)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for at = from; at < to; {
			n, err := src.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
			if n == 0 && err != nil {
				return err
			}
			if !isZero(buf[:n]) {
				if _, err := dst.WriteAt(buf[:n], at); err != nil {
					return err
				}
			}
			at += int64(n)
		}
	}
	return nil
}

// copyFile makes a sparse copy of the given size, which may be larger than the
// original.
func copyFile(to, from string, size int64) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	return makeFile(to, size, func(f *os.File) error { return copySparse(f, src, min(size, info.Size())) })
}

// makeFile makes a sparse file of that size and lets fill write to it. Nothing
// is there when it fails.
func makeFile(name string, size int64, fill func(*os.File) error) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err = f.Truncate(size); err == nil {
		err = fill(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

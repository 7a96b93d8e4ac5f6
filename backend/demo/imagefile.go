package demo

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"berth/backend"
)

// bring makes the image's file if there is none, and has it hold what was
// written until now. img.mu is held.
func (f *Fleet) bring(img *diskImage) error {
	due := f.dueNow(img)
	if img.file == "" {
		name, err := f.newFile("image")
		if err != nil {
			return err
		}
		if err := f.makeAt(name, img.layout, due); err != nil {
			return diskError(err)
		}
		img.file, img.writes = name, due
		return nil
	}
	if due <= img.writes {
		return nil
	}
	err := writeOn(img.file, img.layout, img.writes, due)
	if err == nil {
		img.writes = due
	}
	return diskError(err)
}

// makeAt makes a file that holds what an image of that layout does after so
// many writes.
func (f *Fleet) makeAt(name string, l *layout, writes int64) error {
	t, err := f.template(l.os)
	if err != nil {
		return err
	}
	fill := func(file *os.File) error {
		return errors.Join(l.fill(file, t), l.write(file, 0, writes))
	}
	f.settle(l, t)
	if t == nil {
		return makeFile(name, l.size, fill)
	}
	if err := copyFile(name, t.file, l.size); err != nil {
		return err
	}
	return changeFile(name, fill)
}

// settle completes a layout; the file systems' lock guards that.
func (f *Fleet) settle(l *layout, t *fsTemplate) {
	f.stock.mu.Lock()
	defer f.stock.mu.Unlock()
	l.settle(t)
}

func writeOn(name string, l *layout, from, to int64) error {
	return changeFile(name, func(file *os.File) error { return l.write(file, from, to) })
}

func changeFile(name string, change func(*os.File) error) error {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(change(file), file.Close())
}

// diskError says it when this machine's own disk is full.
func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w for the demo's files: %w", backend.ErrNoRoom, err)
	}
	return err
}

// Package image works on disk images as files: it copies them to several
// places at once, converts, compresses, splits and joins them, and tells what
// they are. Whatever it makes appears whole or not at all, is durable when the
// call returns, keeps holes and makes zeroes holes; what it reads is locked as
// QEMU locks images, so that no VM writes to it meanwhile.
package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"berth/backend"
)

// Progress is told how far a work is: a phase, and bytes done of total (0: not
// known). It is called often, from one goroutine at a time, and must be quick.
type Progress func(phase backend.Phase, done, total int64)

// The phases of works on images, besides those of transfers.
const (
	PhaseCopying     backend.Phase = "copying"
	PhaseConverting  backend.Phase = "converting"
	PhaseCompressing backend.Phase = "compressing"
	PhaseExpanding   backend.Phase = "decompressing"
	PhaseSplitting   backend.Phase = "splitting"
	PhaseJoining     backend.Phase = "joining"
	PhaseHashing     backend.Phase = "hashing"
	PhaseMeasuring   backend.Phase = "measuring" // how much room it will take
)

// opError says what was tried on which file.
func opError(op, path string, err error, hint string) error {
	if err == nil {
		return nil
	}
	var p *os.PathError
	if errors.As(err, &p) && p.Path == path {
		err = p.Err
	}
	return &backend.OpError{Op: op, Target: backend.Clean(path), Err: err, Hint: hint}
}

// mustNotExist refuses to overwrite.
func mustNotExist(op, path string) error {
	switch _, err := os.Lstat(path); {
	case err == nil:
		return opError(op, path, errExists, overwritesNothing)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return opError(op, path, err, "")
	}
}

// regular returns the description of a regular file or block device.
func regular(op, path string) (fs.FileInfo, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, opError(op, path, err, "")
	}
	if !st.Mode().IsRegular() && (st.Mode()&fs.ModeDevice == 0 || st.Mode()&fs.ModeCharDevice != 0) {
		return nil, opError(op, path, fmt.Errorf("%w: neither a file nor a block device", backend.ErrInvalid), "")
	}
	return st, nil
}

var errExists = fs.ErrExist

const overwritesNothing = "berth overwrites no image: give another name, or delete it first"

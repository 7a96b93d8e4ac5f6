package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"berth/backend"
)

// maxOutput bounds what is taken of a tool's output: an image can be made to
// have a description of any length.
const maxOutput = 4 << 20

// bounded keeps the first maxOutput bytes, and tells whether there were more.
type bounded struct {
	buf  bytes.Buffer
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	room := maxOutput - b.buf.Len()
	if len(p) > room {
		b.over = true
		b.buf.Write(p[:room])
		return len(p), nil
	}
	return b.buf.Write(p)
}

// qemuImg runs qemu-img and returns what it printed; live is told of the output
// as it comes, and may be nil.
func qemuImg(ctx context.Context, live io.Writer, args ...string) ([]byte, error) {
	path, err := exec.LookPath("qemu-img")
	if err != nil {
		return nil, &backend.OpError{Op: "run qemu-img", Err: fmt.Errorf("%w: it is not installed", backend.ErrUnsupported),
			Hint: "install the package qemu-utils (qemu-img on Fedora and its kin)"}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = 5 * time.Second
	var out, errs bounded
	cmd.Stdout, cmd.Stderr = &out, &errs
	if live != nil {
		cmd.Stdout = live
	}
	// Messages are understood in English.
	cmd.Env = append(cmd.Environ(), "LC_ALL=C")
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, toolError(err, errs.buf.String())
	}
	if out.over {
		return nil, fmt.Errorf("%w: qemu-img printed more than %d bytes", backend.ErrInvalid, maxOutput)
	}
	return out.buf.Bytes(), nil
}

// toolError is what qemu-img said, without its name, and what that means.
func toolError(err error, said string) error {
	said = strings.TrimSpace(said)
	if i := strings.LastIndexByte(said, '\n'); i >= 0 {
		said = said[i+1:]
	}
	said = strings.TrimPrefix(said, "qemu-img: ")
	if said == "" {
		return fmt.Errorf("qemu-img: %w", err)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("qemu-img: %w", err)
	}
	kinds := []struct {
		words string
		kind  error
	}{
		{"Failed to get", backend.ErrBusy}, {"No space left", backend.ErrNoRoom}, {"already exists", errExists},
		{"Unknown file format", backend.ErrInvalid}, {"not in qcow2 format", backend.ErrInvalid}, {"Image is corrupt", backend.ErrDamaged},
	}
	for _, k := range kinds {
		if strings.Contains(said, k.words) {
			return fmt.Errorf("%w: %s", k.kind, backend.Clean(said))
		}
	}
	return errors.New(backend.Clean(said))
}

// absolute makes a name that QEMU takes for a file's whatever it holds: "a:b"
// would be a protocol, "-x" an option.
func absolute(path string) (string, error) { return filepath.Abs(path) }

// optionValue quotes a value of an option list, where commas are doubled.
func optionValue(s string) string { return strings.ReplaceAll(s, ",", ",,") }

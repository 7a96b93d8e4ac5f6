package libvirt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"berth/backend"
)

// logTailMost bounds what LogTail reads of a log.
const logTailMost = 1 << 20

// LogTail returns at most n of the last lines of the domain's QEMU log. It
// works on the machine where libvirtd runs, for whoever may read its logs.
func (h *Host) LogTail(ctx context.Context, u backend.UUID, n int) ([]string, error) {
	const op = "read the log of"
	name := h.label(u)
	if h.procs == nil {
		return nil, failed(op, name, fmt.Errorf("%w: its log is on another machine", backend.ErrUnsupported))
	}
	d, err := h.find(ctx, u)
	if err != nil {
		return nil, failed(op, name, err)
	}
	path, err := h.logPath(d.Name)
	if err != nil {
		return nil, failed(op, name, err)
	}
	lines, err := tail(path, n)
	switch {
	case errors.Is(err, os.ErrNotExist):
		err = fmt.Errorf("%w: there is no %s; it has not been started here", backend.ErrUnsupported, path)
	case errors.Is(err, os.ErrPermission):
		err = fmt.Errorf("%w: %s is not yours to read", backend.ErrAuth, path)
	}
	return lines, failed(op, name, err)
}

// logPath is where libvirt's QEMU driver logs a domain.
func (h *Host) logPath(name string) (string, error) {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return "", fmt.Errorf("%w: %q cannot be the name of a log", backend.ErrInvalid, name)
	}
	if h.target.Driver() == "qemu:///session" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		return filepath.Join(cache, "libvirt", "qemu", "log", name+".log"), nil
	}
	path := filepath.Join("/var/log/libvirt/qemu", name+".log")
	// A daemon in a container has its logs there; its guests see them too.
	if pid := h.table.anyProcess(); pid > 0 {
		theirs := filepath.Join("/proc", strconv.Itoa(pid), "root", path)
		if _, err := os.Stat(theirs); err == nil {
			return theirs, nil
		}
	}
	return path, nil
}

// tail reads the last n lines of a file, cleaned.
func tail(path string, n int) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is no file", backend.ErrUnsupported, path)
	}
	from := max(0, st.Size()-logTailMost)
	b, err := io.ReadAll(io.NewSectionReader(f, from, st.Size()-from))
	if err != nil {
		return nil, err
	}
	if from > 0 { // the first line is cut
		_, b, _ = bytes.Cut(b, []byte("\n"))
	}
	return lastLines(b, n), nil
}

// lastLines is the last n lines of b, each cleaned.
func lastLines(b []byte, n int) []string {
	b = bytes.TrimRight(b, "\n")
	if len(b) == 0 || n <= 0 {
		return nil
	}
	at := len(b)
	for range n {
		i := bytes.LastIndexByte(b[:at], '\n')
		if i < 0 {
			at = -1
			break
		}
		at = i
	}
	lines := strings.Split(string(b[at+1:]), "\n")
	for i := range lines {
		lines[i] = backend.CleanLines(lines[i])
	}
	return lines
}

// anyProcess is the process of some running domain, or 0.
func (t *table) anyProcess() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.domains {
		if e.process != nil {
			return e.process.pid
		}
	}
	return 0
}

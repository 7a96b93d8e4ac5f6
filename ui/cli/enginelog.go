package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend"
)

// maxEngineLog is how large the engine's log grows before it is put aside as
// engine.log.1, which replaces the one before: two of these at most.
const maxEngineLog = 1 << 20

// boundedLog appends to a file and starts it anew when it has grown.
type boundedLog struct {
	path string
	most int64

	mu   sync.Mutex
	file *os.File
	size int64
}

// openLog opens a log, and makes it this process's standard error too, so that
// what the Go runtime prints when it dies is kept.
func openLog(path string, most int64) (*boundedLog, error) {
	l := &boundedLog{path: path, most: most}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *boundedLog) open() error {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return fmt.Errorf("the engine's log: %w", err)
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("the engine's log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("the engine's log: %w", err), f.Close())
	}
	l.file, l.size = f, info.Size()
	return unix.Dup3(int(f.Fd()), int(os.Stderr.Fd()), 0)
}

// Write appends p whole. A log that cannot be put aside goes on growing: what
// happens is worth more than the bound.
func (l *boundedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > 0 && l.size+int64(len(p)) > l.most && os.Rename(l.path, l.path+".1") == nil {
		old := l.file
		if err := l.open(); err != nil {
			l.file = old
		} else if err := old.Close(); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	return n, err
}

// Close closes the file.
func (l *boundedLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}

// logHandler writes a line a record: time, level and message, then what goes
// with it as name=value. For systemd's journal the time is left out and the
// level is written as sd-daemon(3) has it.
type logHandler struct {
	mu      *sync.Mutex
	w       io.Writer
	journal bool
	prefix  string // attributes of WithAttrs
	group   string
}

func newLogHandler(w io.Writer, journal bool) *logHandler {
	return &logHandler{mu: &sync.Mutex{}, w: w, journal: journal}
}

// Enabled leaves out debugging.
func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// Handle writes one record.
func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	if h.journal {
		fmt.Fprintf(&b, "<%d>", journalPriority(r.Level))
	} else {
		fmt.Fprintf(&b, "%s %-5s ", r.Time.Format(time.DateTime), r.Level)
	}
	b.WriteString(backend.Clean(r.Message))
	b.WriteString(h.prefix)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(h.attr(a))
		return true
	})
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, b.String())
	return err
}

func (h *logHandler) attr(a slog.Attr) string {
	if a.Equal(slog.Attr{}) {
		return ""
	}
	value := backend.Clean(a.Value.Resolve().String())
	if value == "" || strings.ContainsAny(value, " \"=") {
		value = fmt.Sprintf("%q", value)
	}
	return " " + h.group + a.Key + "=" + value
}

// WithAttrs returns a handler that writes these with every record.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := *h
	for _, a := range attrs {
		out.prefix += h.attr(a)
	}
	return &out
}

// WithGroup returns a handler that writes name. before the names to come.
func (h *logHandler) WithGroup(name string) slog.Handler {
	out := *h
	if name != "" {
		out.group += name + "."
	}
	return &out
}

// journalPriority is syslog's number for a level.
func journalPriority(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	}
	return 6
}

// tail is the end of a file from an offset on: its last lines, at most so many.
func tail(path string, from int64, lines int) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // it was only read
	const most = 16 << 10
	if info, err := f.Stat(); err == nil {
		from = min(from, info.Size()) // it was put aside meanwhile
		from = max(from, info.Size()-most)
	}
	text, err := io.ReadAll(io.NewSectionReader(f, from, most))
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// unitQuote writes a word as systemd units have it.
func unitQuote(s string) string {
	s = strings.NewReplacer(`%`, `%%`, `\`, `\\`, `"`, `\"`, `$`, `$$`).Replace(s)
	if strings.ContainsAny(s, " \t'\"\\;") {
		return `"` + s + `"`
	}
	return s
}

package libvirt

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

// A backup job that berth began says nothing of whether its berth still lives:
// whoever does not have its token, because another person's engine minds it,
// would take it for left over. So who minds one says so on the host, again and
// again, beside the job's socket.
const (
	aliveSuffix = ".alive"
	aliveEvery  = 20 * time.Second
	// aliveFor is how long that counts.
	aliveFor = 2 * time.Minute
	// aliveMost bounds what such a file holds: a checkpoint's name.
	aliveMost = 1 << 10
)

// sayAlive says that somebody minds the session. That it cannot be said is no
// reason to end a backup.
func (l *liveSession) sayAlive(ctx context.Context) {
	now := l.s.h.now()
	l.mu.Lock()
	due := !l.over && now.Sub(l.said) >= aliveEvery
	if due {
		l.said = now
	}
	l.mu.Unlock()
	if !due {
		return
	}
	if st, err := l.m.Stat(ctx, l.t.Socket); err == nil {
		_ = l.m.WriteFile(ctx, l.t.Socket+aliveSuffix, []byte(l.t.Checkpoint), 0o600, st.UID, st.GID)
	}
}

// sayNoMore takes that back.
func (l *liveSession) sayNoMore(ctx context.Context) error {
	if l.t.Socket == "" {
		return nil
	}
	if err := l.m.Remove(ctx, l.t.Socket+aliveSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return onFile(err)
	}
	return nil
}

// minded reports whether somebody minds the job with that socket, and which
// checkpoint is its.
func (f *search) minded(ctx context.Context, socket string) (checkpoint string, ok bool) {
	if f.m == nil {
		return "", false
	}
	at := socket + aliveSuffix
	st, err := f.m.Stat(ctx, at)
	if err != nil {
		return "", false
	}
	if age := f.h.now().Sub(st.Modified); age > aliveFor || age < -aliveFor { // or its clock is wrong
		return "", false
	}
	b, err := dial.ReadWhole(ctx, f.m, at, aliveMost)
	return strings.TrimSpace(string(b)), err == nil
}

// tokens are those of sessions that are known to live.
func (f *search) tokens() []*token {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.alive
}

// spare has a domain's checkpoint not be taken for left over.
func (f *search) spare(u backend.UUID, socket, checkpoint string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alive = append(f.alive, &token{VM: u, Socket: socket, Checkpoint: checkpoint})
}

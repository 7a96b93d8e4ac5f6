package dial

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"time"

	"berth/backend"
)

// Machine is the one that a daemon runs on, worked on beside libvirt: its
// files, its unix sockets, its programs. Paths are absolute and as the daemon
// sees them, which in a container is not as this process does. Methods may be
// called from several goroutines. Errors wrap those of io/fs where they fit.
type Machine interface {
	// Local is where this process finds a file of the machine; ok is false when
	// that is another machine.
	Local(path string) (here string, ok bool)
	// DialUnix connects to a unix socket.
	DialUnix(ctx context.Context, path string) (net.Conn, error)
	// Start starts a program that ends, at the latest, with this process or
	// with the connection; ctx only bounds the start.
	Start(ctx context.Context, argv ...string) (*Program, error)
	// Run runs a program to its end and returns its standard output, of which
	// there may be a MiB.
	Run(ctx context.Context, argv ...string) (string, error)

	// Guard has a program run, again and again until it succeeds, should this
	// process or the connection end before the guard is dismissed.
	Guard(ctx context.Context, argv ...string) (*Guard, error)

	Stat(ctx context.Context, path string) (FileStat, error)
	// Real is the path of the same file without symbolic links.
	Real(ctx context.Context, path string) (string, error)
	// ReadAt reads at most n bytes; fewer at the file's end.
	ReadAt(ctx context.Context, path string, offset int64, n int) ([]byte, error)
	// WriteFile writes a file, whole or not at all, replacing what is there.
	WriteFile(ctx context.Context, path string, content []byte, mode fs.FileMode, uid, gid int) error
	// Allocate makes an empty sparse file of that size; fs.ErrExist.
	Allocate(ctx context.Context, path string, size int64, mode fs.FileMode) error
	// List returns what a folder has, folders too.
	List(ctx context.Context, dir string) ([]FileStat, error)
	// Rename refuses to overwrite (fs.ErrExist) and is durable when it returns.
	Rename(ctx context.Context, from, to string) error
	Remove(ctx context.Context, path string) error
	// Mkdir makes a folder; one that is there is no error.
	Mkdir(ctx context.Context, path string, mode fs.FileMode) error
	// Own sets a file's owner and mode.
	Own(ctx context.Context, path string, uid, gid int, mode fs.FileMode) error
	// Sync makes a file's content durable.
	Sync(ctx context.Context, path string) error
	// Room is what the file system that holds path has, in bytes.
	Room(ctx context.Context, path string) (free, size uint64, err error)

	// Alive is false once nothing more can be had from it.
	Alive() bool
	Close() error
}

// FileStat describes a file.
type FileStat struct {
	Name     string // its last part
	Size     int64
	Real     int64 // bytes that it takes; -1: not known
	Mode     fs.FileMode
	Modified time.Time
	UID, GID int
}

// Machine connects to the machine that t's daemon runs on, for as long as the
// caller wants; ctx only bounds the connecting. Over TCP and TLS there is no
// way there: the error wraps backend.ErrUnsupported. With readOnly a socket
// that only allows reading is enough to find the daemon.
func (t *Target) Machine(ctx context.Context, readOnly bool) (Machine, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := t.road(ctx, readOnly)
	if err != nil {
		return nil, t.explain(ctx, err)
	}
	return m, nil
}

func (t *Target) road(ctx context.Context, readOnly bool) (Machine, error) {
	switch t.via {
	case viaUnix:
		c, err := t.dialUnix(ctx, readOnly)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		h, ok := hereOf(c).(here)
		if !ok {
			return nil, faultf(backend.ErrUnsupported, "connect to it by ssh", "the daemon behind this socket runs where its files cannot be seen from here")
		}
		return newLocalMachine(h)
	case viaSSH:
		return t.roadSSH(ctx)
	}
	return nil, faultf(backend.ErrUnsupported, "connect by ssh: qemu+ssh://"+t.host+t.path,
		"over %s berth reaches libvirt alone, not the host's images and sockets", t.via)
}

// roadSSH is an ssh connection of its own, which data may keep busy.
func (t *Target) roadSSH(ctx context.Context) (Machine, error) {
	h, err := t.env.hop(ctx, t.host, t.user, t.port)
	if err != nil {
		return nil, err
	}
	t.applyTo(h)
	client, err := t.env.connect(ctx, h, 0)
	if err != nil {
		return nil, err
	}
	m := newSSHMachine(client)
	go keepalive(client.Client, h.aliveEvery, h.aliveMisses, func(error) { _ = m.Close() })
	return m, nil
}

// tooLarge is the error of a file that has more than it may.
func tooLarge(path string, limit int64) error {
	return fmt.Errorf("%w: %s has more than %d bytes", backend.ErrInvalid, backend.Clean(path), limit)
}

// ReadWhole reads a file of at most limit bytes.
func ReadWhole(ctx context.Context, m Machine, path string, limit int64) ([]byte, error) {
	b, err := m.ReadAt(ctx, path, 0, int(limit)+1)
	if err == nil && int64(len(b)) > limit {
		return nil, tooLarge(path, limit)
	}
	return b, err
}

// IsPrivateDir reports whether it is a folder that nobody but its owner, which
// is who asks or root, can enter.
func (f FileStat) IsPrivateDir() bool {
	return f.Mode.IsDir() && f.Mode.Perm()&0o077 == 0
}

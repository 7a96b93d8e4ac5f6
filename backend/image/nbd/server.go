package nbd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"berth/backend"
)

// Source is the content of an export; disk.Reader is one. A Source that is also
// a Sink is exported for writing, unless the export says otherwise.
type Source interface {
	Size() int64
	// Extents describes a stretch, in order and without gaps; less than was asked
	// for, but never nothing.
	Extents(ctx context.Context, offset, length int64) ([]backend.Extent, error)
	ReadAt(ctx context.Context, p []byte, offset int64) error
}

// Sink takes what a client writes; disk.Writer is one.
type Sink interface {
	WriteAt(ctx context.Context, p []byte, offset int64) error
	WriteZeroes(ctx context.Context, offset, length int64) error
	Flush(ctx context.Context) error
}

// Export is one disk that a Server offers.
type Export struct {
	Name        string // empty: what a client gets that names none
	Description string
	Source      Source
	Sink        Sink // nil: read-only
	// Bitmap is the name of a dirty bitmap to offer: what of the Source is not
	// ExtentClean. Empty: none.
	Bitmap string
}

// Server offers disks over NBD. Set its fields before the first connection.
type Server struct {
	Exports []Export
	// Connections is how many are served at once; 0: 16. Others are turned away.
	Connections int
	// Idle is how long a client may leave an answer unread, or a handshake
	// undone, before it is dropped; 0: a minute.
	Idle time.Duration
	// Complain is told why a connection ended other than by intent; may be nil.
	Complain func(error)

	once   sync.Once
	memory *semaphore.Weighted
}

// serverMemory bounds what all requests under way hold at once, in bytes.
const serverMemory = 2 * MaxPayload

func (s *Server) init() {
	s.once.Do(func() {
		s.memory = semaphore.NewWeighted(serverMemory)
		if s.Connections <= 0 {
			s.Connections = 16
		}
		if s.Idle <= 0 {
			s.Idle = time.Minute
		}
	})
}

// Serve accepts connections until ctx ends, and closes l. It returns when all
// of them have ended; nil when ctx was why.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.init()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := closeWith(ctx, l)
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, s.Connections)
	for {
		nc, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			cancel()
			return fmt.Errorf("NBD server: %w", errors.Join(err, dropped(l)))
		}
		select {
		case slots <- struct{}{}:
		default:
			s.complain(errors.Join(fmt.Errorf("%w: %d connections are open already", backend.ErrBusy, s.Connections), dropped(nc)))
			continue
		}
		running.Go(func() {
			defer func() { <-slots }()
			if err := s.ServeConn(ctx, nc); err != nil && ctx.Err() == nil {
				s.complain(err)
			}
		})
	}
}

func (s *Server) complain(err error) {
	if s.Complain != nil {
		s.Complain(err)
	}
}

// ServeConn serves one connection until the client ends it or ctx does, and
// closes it.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) (err error) {
	s.init()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := closeWith(ctx, nc)
	defer func() {
		stop()
		err = errors.Join(err, dropped(nc))
	}()
	if err := nc.SetDeadline(time.Now().Add(s.Idle)); err != nil {
		return err
	}
	t := &terms{server: s, rw: nc}
	switch err := t.agree(); {
	case errors.Is(err, errEnough):
		return nil
	case err != nil:
		return fmt.Errorf("NBD handshake: %w", err)
	}
	if err := nc.SetDeadline(time.Time{}); err != nil {
		return err
	}
	return newSession(s, t, nc).run(ctx)
}

// find returns the export of a name; the only one has every name's place when
// none is asked for.
func (s *Server) find(name string) *Export {
	for i := range s.Exports {
		if s.Exports[i].Name == name {
			return &s.Exports[i]
		}
	}
	if name == "" && len(s.Exports) == 1 {
		return &s.Exports[0]
	}
	return nil
}

func (e *Export) flags() Flags {
	f := HasFlags | CanFlush | CanMultiConn | CanDontFragment
	if e.Sink == nil {
		return f | ReadOnly
	}
	return f | CanWriteZeroes | CanFUA | CanTrim
}

// contexts that the export has, by their numbers.
func (e *Export) contexts() []string {
	list := []string{ContextAllocation}
	if e.Bitmap != "" {
		list = append(list, ContextDirtyPrefix+e.Bitmap)
	}
	return list
}

package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ring tells other processes that something has changed. It opens nothing:
// closing a second descriptor of the file would drop SQLite's locks (see fcntl(2)).
func (s *Store) ring() {
	if s.file == nil {
		return
	}
	// Both times, or it would count as a read or a write, of which there are many.
	now := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
	_ = unix.UtimesNanoAt(unix.AT_FDCWD, s.name, now, 0) // who does not hear it looks by himself
}

// ear is a bell that is listened to (inotify(7)).
type ear struct {
	f    *os.File
	over chan struct{}
}

// hear calls heard whenever somebody has rung, until the bell is closed.
func hear(file string, heard func()) (bell, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	e := &ear{f: os.NewFile(uintptr(fd), "inotify"), over: make(chan struct{})}
	if _, err := unix.InotifyAddWatch(fd, file, unix.IN_ATTRIB); err != nil {
		return nil, errors.Join(err, e.f.Close())
	}
	go e.listen(heard)
	return e, nil
}

// listen takes several rings at once where they come faster than it reads.
func (e *ear) listen(heard func()) {
	defer close(e.over)
	var events [64 * unix.SizeofInotifyEvent]byte
	for {
		if _, err := e.f.Read(events[:]); err != nil {
			return // closed
		}
		heard()
	}
}

func (e *ear) close() error {
	err := e.f.Close()
	<-e.over
	return err
}

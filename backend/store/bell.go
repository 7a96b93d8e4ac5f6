package store

import "time"

// bellPoll is how often Wait looks all the same when it hears other processes'
// changes: an older berth does not ring, and a file system may not carry it.
const bellPoll = time.Second

// bell tells processes of each other's changes. Whoever has committed one
// touches the file's times, which the kernel tells those that listen: the data
// themselves are no sign, for they are written before they count.
type bell interface{ close() error }

// listen has changes of other processes wake this one's waits, from the first
// of these on. Where that is not to be had, they look more often.
func (s *Store) listen() (poll time.Duration) {
	if s.file == nil { // nobody else can open it
		return s.poll
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bell == nil && !s.closed && !s.deaf {
		var err error
		s.bell, err = hear(s.name, s.wake)
		s.deaf = err != nil
	}
	if s.deaf {
		return s.poll
	}
	return max(s.poll, bellPoll)
}

package image

import (
	"sync"

	"berth/backend"
)

// meter counts for a Progress, from several goroutines.
type meter struct {
	report Progress

	mu    sync.Mutex
	phase backend.Phase
	done  int64
	total int64
}

// begin starts a phase anew.
func (m *meter) begin(phase backend.Phase, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.phase, m.done, m.total = phase, 0, total
	m.tell()
}

// more begins a phase, or enlarges it when it is under way.
func (m *meter) more(phase backend.Phase, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.phase != phase {
		m.phase, m.done, m.total = phase, 0, 0
	}
	m.total += total
	m.tell()
}

func (m *meter) add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += n
	m.total = max(m.total, m.done)
	m.tell()
}

func (m *meter) tell() {
	if m.report != nil {
		m.report(m.phase, m.done, m.total)
	}
}

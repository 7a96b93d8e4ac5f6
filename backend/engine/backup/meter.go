package backup

import (
	"slices"
	"sync"
	"time"

	"berth/backend"
)

const (
	// sparkLength is how many samples of the rate are kept, one a second.
	sparkLength = 60
	// rateOver is how far back the rate of now looks, in samples.
	rateOver = 5
)

// meter follows how far a transfer is. Who works tells it; who watches takes a
// sample each second.
type meter struct {
	mu     sync.Mutex
	p      backend.Progress
	active time.Duration // at work, pauses left out
	last   time.Time     // the last sample
	lastAt int64         // Done then
	before int64         // Done when the present attempt began to count
	still  bool          // paused
	rates  []int64
}

// begin clears what an earlier attempt counted.
func (m *meter) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p = backend.Progress{Phase: backend.PhasePreparing, Why: m.p.Why}
	m.rates, m.active, m.last, m.lastAt, m.before = nil, 0, time.Time{}, 0, 0
}

func (m *meter) phase(p backend.Phase) { m.with(func(x *backend.Progress) { x.Phase = p }) }

func (m *meter) with(f func(p *backend.Progress)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.p)
}

// pause stops the time that counts for the mean.
func (m *meter) pause(still bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.still = still
}

// disks sets what each disk has to do, from its extents.
func (m *meter) disks(all []backend.DiskDone) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p.Disks, m.p.Disk = slices.Clone(all), ""
	m.sum()
}

// disk notes how far one is. What is to be done may turn out to be other than
// its extents said.
func (m *meter) disk(name string, done, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p.Disk = name
	for i := range m.p.Disks {
		if d := &m.p.Disks[i]; d.Disk == name {
			d.Done = done
			if total > 0 {
				d.Total = total
			}
		}
	}
	m.sum()
}

func (m *meter) sum() {
	m.p.Done, m.p.Total = 0, 0
	for _, d := range m.p.Disks {
		m.p.Done += d.Done
		m.p.Total += d.Total
	}
}

// done is how much is done, for telling whether there was progress.
func (m *meter) done() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.p.Done
}

// sample takes the rate since the last sample and returns how far it is. It is
// meant to be called each second.
func (m *meter) sample(now time.Time) backend.Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch span := now.Sub(m.last); {
	case m.last.IsZero() || m.p.Done < m.lastAt: // it begins, or began anew
		m.last, m.lastAt, m.before = now, m.p.Done, m.p.Done
	case span >= 200*time.Millisecond:
		m.rates = append(m.rates, int64(float64(m.p.Done-m.lastAt)/span.Seconds()))
		m.rates = m.rates[max(0, len(m.rates)-sparkLength):]
		if !m.still {
			m.active += span
		}
		m.last, m.lastAt = now, m.p.Done
	}
	m.p.At = now
	m.rate()
	p := m.p
	p.Disks, p.Spark = slices.Clone(m.p.Disks), slices.Clone(m.rates)
	return p
}

// rate works out what follows from the samples.
func (m *meter) rate() {
	m.p.Rate, m.p.Mean, m.p.ETA = 0, 0, 0
	latest := m.rates[max(0, len(m.rates)-rateOver):]
	for _, r := range latest {
		m.p.Rate += r / int64(len(latest))
	}
	if s := m.active.Seconds(); s > 0 {
		m.p.Mean = int64(float64(m.p.Done-m.before) / s)
	}
	left := m.p.Total - m.p.Done
	if m.still || left <= 0 || m.p.Mean <= 0 {
		return
	}
	// The present rate tells of a limit that was set just now; the mean keeps one
	// stall from showing days.
	speed := (3*m.p.Rate + m.p.Mean) / 4
	if speed > 0 {
		m.p.ETA = (time.Duration(float64(left) / float64(speed) * float64(time.Second))).Round(time.Second)
	}
}

package model

import "math"

// Hosts is the screen of hosts.
type Hosts struct {
	fleet *Fleet
	index int
	top   int
	page  int
}

// NewHosts makes the screen over fleet's hosts.
func NewHosts(fleet *Fleet) *Hosts { return &Hosts{fleet: fleet, page: 10} }

// Index is the selected host's index in Fleet.Hosts.
func (h *Hosts) Index() int { return h.index }

// Top is the index of the first host on the screen.
func (h *Hosts) Top() int { return h.top }

// Selected returns the selected host, or nil.
func (h *Hosts) Selected() *HostState {
	if h.index < len(h.fleet.hosts) {
		return h.fleet.hosts[h.index]
	}
	return nil
}

// SetPage tells how many hosts the screen has room for.
func (h *Hosts) SetPage(n int) {
	h.page = max(1, n)
	h.Move(0)
}

// Move moves the selection by n.
func (h *Hosts) Move(n int) {
	h.index = max(0, min(h.index+n, len(h.fleet.hosts)-1))
	h.top = max(0, max(min(h.top, h.index), h.index-h.page+1))
}

// CPUPercent is how busy the host's CPUs were between the last two samples,
// 100 being all of them, or NaN.
func (s *HostState) CPUPercent() float64 {
	total := s.Sample.CPU.Total() - s.Prev.CPU.Total()
	idle := (s.Sample.CPU.Idle + s.Sample.CPU.IOWait) - (s.Prev.CPU.Idle + s.Prev.CPU.IOWait)
	if s.Prev.At.IsZero() || total <= 0 {
		return math.NaN()
	}
	return max(0, min(100, 100*(1-float64(idle)/float64(total))))
}

// MemPercent is how much of the host's memory is in use, or NaN.
func (s *HostState) MemPercent() float64 {
	if s.Sample.MemTotal == 0 {
		return math.NaN()
	}
	return 100 * float64(s.Sample.MemTotal-s.Sample.MemFree) / float64(s.Sample.MemTotal)
}

package model

import (
	"math"

	"berth/backend"
)

// HistoryLen is how many polls of each figure are remembered.
const HistoryLen = 150

// Series is a ring of the last HistoryLen values of one figure. NaN is a gap.
type Series struct {
	v    [HistoryLen]float32
	next int
	n    int
}

// Add appends a value and drops the oldest when the ring is full.
func (s *Series) Add(v float64) {
	s.v[s.next] = float32(v)
	s.next = (s.next + 1) % HistoryLen
	s.n = min(s.n+1, HistoryLen)
}

// Last returns at most n of the newest values, oldest first.
func (s *Series) Last(n int) []float64 {
	n = min(n, s.n)
	out := make([]float64, n)
	for i := range out {
		out[i] = float64(s.v[(s.next-n+i+HistoryLen)%HistoryLen])
	}
	return out
}

// Max is the largest value held, 0 when there is none.
func (s *Series) Max() float64 {
	m := 0.0
	for _, v := range s.Last(HistoryLen) {
		if !math.IsNaN(v) {
			m = max(m, v)
		}
	}
	return m
}

// History is the recent past of one VM.
type History struct {
	CPU, Mem, DiskRead, DiskWrite, NetRx, NetTx Series
}

// History returns the VM's recent past, or nil when it has none: a VM that is
// off has no figures.
func (f *Fleet) History(k backend.Key) *History { return f.history[k] }

func (f *Fleet) record(r *Row) {
	k := r.Key()
	h := f.history[k]
	if h == nil {
		h = &History{}
		f.history[k] = h
	}
	h.CPU.Add(r.Rates.CPU)
	h.Mem.Add(float64(r.Mem.Used))
	h.DiskRead.Add(r.Rates.DiskRead)
	h.DiskWrite.Add(r.Rates.DiskWrite)
	h.NetRx.Add(r.Rates.NetRx)
	h.NetTx.Add(r.Rates.NetTx)
}

package model

import (
	"context"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

func (f *Fleet) figures(s *HostState) tea.Cmd {
	uuids := append([]backend.UUID(nil), f.wanted[s.Host.Name()]...)
	if s.figuring || len(uuids) == 0 {
		return nil
	}
	s.figuring = true
	host, parent := s.Host, f.ctx
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, figuresDeadline)
		defer cancel()
		fs, err := host.Figures(ctx, uuids)
		return figuresMsg{host: host.Name(), figures: fs, err: err}
	}
}

// onFigures brings dear figures into the rows. A failure is no event of its
// own: the figures grow old, which the rows show, and the cheap poll tells
// whether the host is there.
func (f *Fleet) onFigures(m figuresMsg) (Change, tea.Cmd) {
	s := f.byName[m.host]
	if s == nil {
		return Change{}, nil
	}
	s.figuring = false
	for i := range m.figures {
		fig := &m.figures[i]
		if r := f.rows[backend.Key{Host: m.host, UUID: fig.UUID}]; r != nil {
			r.TakeFigures(fig)
		}
	}
	return Change{Rows: len(m.figures) > 0}, nil
}

func (f *Fleet) sample(s *HostState) tea.Cmd {
	if s.sampling {
		return nil
	}
	s.sampling = true
	host, parent := s.Host, f.ctx
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, sampleDeadline)
		defer cancel()
		v, err := host.Sample(ctx)
		return sampleMsg{host: host.Name(), sample: v, err: err}
	}
}

func (f *Fleet) onSample(m sampleMsg) Change {
	s := f.byName[m.host]
	if s == nil {
		return Change{}
	}
	s.sampling = false
	s.SampleErr = m.err
	if m.err == nil {
		s.Prev, s.Sample = s.Sample, m.sample
	}
	return Change{Hosts: true}
}

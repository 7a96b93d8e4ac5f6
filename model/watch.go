package model

import (
	"errors"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

func (f *Fleet) watch(s *HostState) tea.Cmd {
	s.watching = true
	host, ctx := s.Host, f.ctx
	return func() tea.Msg {
		ch, err := host.Watch(ctx)
		return watchMsg{host: host.Name(), ch: ch, err: err}
	}
}

// onWatch: without events berth still polls, so a refusal is not shown; the
// next successful poll tries again.
func (f *Fleet) onWatch(m watchMsg) (Change, tea.Cmd) {
	s := f.byName[m.host]
	if s == nil {
		return Change{}, nil
	}
	if m.err != nil {
		s.watching = errors.Is(m.err, backend.ErrUnsupported) // then there is no use in asking again
		return Change{}, nil
	}
	return Change{}, waitEvents(m.host, m.ch)
}

// waitEvents blocks until the host tells something, then takes what else is
// there already.
func waitEvents(host string, ch <-chan backend.Event) tea.Cmd {
	return func() tea.Msg {
		m := eventsMsg{host: host, ch: ch}
		e, ok := <-ch
		if !ok {
			m.closed = true
			return m
		}
		m.events = append(m.events, e)
		for len(m.events) < 256 {
			select {
			case e, ok := <-ch:
				if !ok {
					return m // the next wait finds it closed
				}
				m.events = append(m.events, e)
			default:
				return m
			}
		}
		return m
	}
}

func (f *Fleet) onEvents(m eventsMsg) (Change, tea.Cmd) {
	s := f.byName[m.host]
	if s == nil {
		return Change{}, nil
	}
	if m.closed {
		s.watching = false
		return Change{}, f.pollSoon(s, 0) // the connection is gone: the poll says so, or renews it
	}
	return Change{Events: m.events}, tea.Batch(waitEvents(m.host, m.ch), f.pollSoon(s, eventJoin))
}

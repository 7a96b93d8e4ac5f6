package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"berth/backend"
	"berth/model"
)

// depth says how much of a VM a command needs to know.
type depth uint8

const (
	depthState depth = iota // identity and state: one poll
	depthFacts              // and what its definition tells, addresses, memory: a second poll
	depthRates              // and rates, which take two readings
)

const (
	// rateSpan is the time between the two readings that a rate is made from.
	// Shorter ones make CPU use, which the kernel counts in ticks of 10 ms,
	// come out coarse.
	rateSpan = 600 * time.Millisecond
	// gatherDeadline bounds one host's whole answer.
	gatherDeadline = 30 * time.Second
	// figuresRounds bounds how often Figures is asked for those it left out.
	figuresRounds = 50
	// factsRounds and factsPause bound how long definitions are waited for.
	factsRounds = 40
	factsPause  = 50 * time.Millisecond
)

// gathered is what one host told.
type gathered struct {
	host backend.Host
	rows []*model.Row
	err  error
}

// gather asks all hosts at the same time. One that fails holds back no other.
func gather(ctx context.Context, hosts []backend.Host, d depth) []gathered {
	out := make([]gathered, len(hosts))
	var wg sync.WaitGroup
	for i, h := range hosts {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, gatherDeadline)
			defer cancel()
			rows, err := gatherHost(ctx, h, d)
			out[i] = gathered{host: h, rows: rows, err: err}
		})
	}
	wg.Wait()
	return out
}

func gatherHost(ctx context.Context, h backend.Host, d depth) ([]*model.Row, error) {
	if u, ok := h.(unrationer); ok {
		u.Unration()
	}
	s := survey{host: h, rows: map[backend.UUID]*model.Row{}}
	if err := s.poll(ctx); err != nil {
		return nil, err
	}
	if d >= depthFacts {
		if err := s.facts(ctx); err != nil {
			return nil, err
		}
	}
	if d >= depthRates && s.anyActive() {
		if err := s.rates(ctx); err != nil {
			return nil, err
		}
	}
	return s.list(), nil
}

// unrationer is a host that spreads the cost of Figures over time, unless it
// is told that the program ends soon.
type unrationer interface{ Unration() }

// survey gathers one host's rows.
type survey struct {
	host  backend.Host
	rows  map[backend.UUID]*model.Row
	order []backend.UUID
}

func (s *survey) list() []*model.Row {
	out := make([]*model.Row, len(s.order))
	for i, u := range s.order {
		out[i] = s.rows[u]
	}
	return out
}

func (s *survey) poll(ctx context.Context) error {
	p, err := s.host.Poll(ctx)
	if err != nil {
		return err
	}
	rows := make(map[backend.UUID]*model.Row, len(p.VMs))
	s.order = s.order[:0]
	for i := range p.VMs {
		vm := p.VMs[i]
		row := &model.Row{VM: vm, Rates: model.UnknownRates(), PolledAt: p.At}
		if prev := s.rows[vm.UUID]; prev != nil && prev.ID == vm.ID {
			keepFigures(row, prev)
			row.Rates = model.DeriveRates(&prev.VM, &row.VM, prev.Rates)
		}
		rows[vm.UUID] = row
		s.order = append(s.order, vm.UUID)
	}
	s.rows = rows
	return nil
}

// keepFigures keeps what Figures told and a poll does not.
func keepFigures(row, prev *model.Row) {
	if row.Disk.At.IsZero() {
		row.Disk = prev.Disk
	}
	if row.Mem.At.IsZero() || prev.Mem.Source == backend.MemoryGuest {
		row.Mem = prev.Mem
	}
	if row.AddressesAt.IsZero() {
		row.Addresses, row.AddressesAt = prev.Addresses, prev.AddressesAt
	}
	if row.StuckSince.IsZero() {
		row.StuckSince = prev.StuckSince
	}
}

// facts polls until every definition has been read: the first poll tells only
// names and states. What a host does not tell within factsRounds stays unknown.
func (s *survey) facts(ctx context.Context) error {
	for range factsRounds {
		if err := s.poll(ctx); err != nil {
			return err
		}
		if !s.factsMissing() {
			break
		}
		if err := pause(ctx, factsPause); err != nil {
			return err
		}
	}
	return s.figures(ctx)
}

func (s *survey) factsMissing() bool {
	for _, r := range s.rows {
		if r.FactsAt.IsZero() {
			return true
		}
	}
	return false
}

// rates takes two readings. The first is a poll of its own because counters of
// network cards can only be read once definitions have named the cards.
func (s *survey) rates(ctx context.Context) error {
	if err := s.poll(ctx); err != nil {
		return err
	}
	if err := pause(ctx, rateSpan); err != nil {
		return err
	}
	if err := s.poll(ctx); err != nil {
		return err
	}
	return s.figures(ctx)
}

func (s *survey) anyActive() bool {
	for _, r := range s.rows {
		if r.State.Active() {
			return true
		}
	}
	return false
}

// figures asks for the dear figures of all running VMs. A host may answer for
// fewer than it was asked for, so those left out are asked for again.
func (s *survey) figures(ctx context.Context) error {
	var wanted []backend.UUID
	for _, u := range s.order {
		if s.rows[u].State.Active() {
			wanted = append(wanted, u)
		}
	}
	for range figuresRounds {
		if len(wanted) == 0 {
			return nil
		}
		figs, err := s.host.Figures(ctx, wanted)
		if err != nil && !errors.Is(err, backend.ErrStuck) && !errors.Is(err, backend.ErrTimeout) {
			return err
		}
		if len(figs) == 0 {
			return nil // nobody left who answers
		}
		wanted = s.apply(figs, wanted)
	}
	return nil
}

// apply brings figures into the rows and returns who is still left.
func (s *survey) apply(figs []backend.Figures, wanted []backend.UUID) []backend.UUID {
	told := make(map[backend.UUID]bool, len(figs))
	for i := range figs {
		fig := &figs[i]
		told[fig.UUID] = true
		if r := s.rows[fig.UUID]; r != nil {
			r.TakeFigures(fig)
		}
	}
	var left []backend.UUID
	for _, u := range wanted {
		if !told[u] {
			left = append(left, u)
		}
	}
	return left
}

// pause waits, but no longer than ctx allows.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", backend.ErrTimeout, ctx.Err())
	}
}

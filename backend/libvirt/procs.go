package libvirt

import (
	"context"
	"time"

	"berth/backend"
	"berth/backend/libvirt/proc"
)

// findAgain is how soon the process of a domain is looked for again after it
// was not found, as when the daemon's guests live on another machine.
const findAgain = 10 * time.Second

// processSource reads this machine's QEMU processes; tests have their own.
type processSource interface {
	find(ctx context.Context) (map[backend.UUID]int, error)
	open(pid int) (processReader, error)
	devices(pid int) (map[string]backend.NetCounter, error)
}

// processReader reads one process again and again.
type processReader interface {
	Read() (proc.Process, error)
	Close() error
}

// process is the QEMU of a running domain.
type process struct {
	pid    int
	reader processReader
}

// close lets go of a process; that its files were only read leaves no error
// worth a word.
func (p *process) close() { _ = p.reader.Close() }

type realProcs struct{}

func newProcs() processSource { return realProcs{} }

func (realProcs) find(ctx context.Context) (map[backend.UUID]int, error) { return proc.FindQEMU(ctx) }

func (realProcs) open(pid int) (processReader, error) {
	r, err := proc.OpenProcess(pid)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (realProcs) devices(pid int) (map[string]backend.NetCounter, error) { return proc.NetDev(pid) }

// attach finds the processes of running domains that have none yet.
func (h *Host) attach(ctx context.Context) error {
	missing := h.table.processless(h.now())
	if len(missing) == 0 {
		return nil
	}
	pids, err := h.procs.find(ctx)
	if err != nil {
		return err
	}
	for _, u := range missing {
		var p *process
		if pid, ok := pids[u]; ok {
			// A process that ended meanwhile is looked for again later.
			if r, err := h.procs.open(pid); err == nil {
				p = &process{pid: pid, reader: r}
			}
		}
		h.table.setProcess(u, p, h.now())
	}
	return nil
}

// countLocal reads the processes' counters, and the host's network devices once.
func (h *Host) countLocal(ctx context.Context) error {
	if err := h.attach(ctx); err != nil {
		return err
	}
	h.table.mu.Lock()
	defer h.table.mu.Unlock()
	devices := map[string]backend.NetCounter(nil)
	for _, e := range h.table.domains {
		if e.process == nil {
			continue
		}
		p, err := e.process.reader.Read()
		if err != nil { // it ended; an event or the next sweep says how
			e.process.close()
			e.process = nil
			h.table.touched[e.uuid()] |= touchState
			continue
		}
		now := h.now()
		e.startedAt = p.Start
		e.cpu = backend.CPUCounter{At: now, Used: p.CPU}
		e.mem = backend.MemoryFigure{At: now, Used: p.RSS, Source: backend.MemoryResident}
		if e.facts == nil {
			continue
		}
		if devices == nil && len(e.facts.nics) > 0 {
			if devices, err = h.procs.devices(e.process.pid); err != nil {
				devices = map[string]backend.NetCounter{} // the process ended; try the next Poll
			}
		}
		if n, ok := guestNet(e.facts.nics, devices); ok {
			n.At = now
			e.net = n
		}
	}
	return nil
}

// guestNet sums a domain's devices as the guest sees them. ok is false when
// one of them is not known.
func guestNet(nics []nicFact, devices map[string]backend.NetCounter) (sum backend.NetCounter, ok bool) {
	for _, n := range nics {
		c, found := devices[n.device]
		if !found {
			return sum, false
		}
		if n.swap {
			c = swapped(c)
		}
		sum.RxBytes += c.RxBytes
		sum.TxBytes += c.TxBytes
		sum.RxPkts += c.RxPkts
		sum.TxPkts += c.TxPkts
		sum.RxDrop += c.RxDrop
		sum.TxDrop += c.TxDrop
		sum.RxErrs += c.RxErrs
		sum.TxErrs += c.TxErrs
	}
	return sum, len(nics) > 0
}

// swapped looks at a tap from its other end.
func swapped(c backend.NetCounter) backend.NetCounter {
	return backend.NetCounter{
		At:      c.At,
		RxBytes: c.TxBytes, TxBytes: c.RxBytes, RxPkts: c.TxPkts, TxPkts: c.RxPkts,
		RxDrop: c.TxDrop, TxDrop: c.RxDrop, RxErrs: c.TxErrs, TxErrs: c.RxErrs,
	}
}

// processless is the running domains whose process should be looked for now.
func (t *table) processless(now time.Time) []backend.UUID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var us []backend.UUID
	for u, e := range t.domains {
		if e.active() && e.process == nil && now.Sub(e.soughtAt) >= findAgain {
			us = append(us, u)
		}
	}
	return us
}

func (t *table) setProcess(u backend.UUID, p *process, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.domains[u]
	if e == nil {
		if p != nil {
			p.close()
		}
		return
	}
	e.soughtAt = now
	e.process = p
}

package libvirt

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// countBudget is how long one Poll asks for counters one domain at a time.
// Over a slow line the rest, which is the most recently asked, waits its turn.
const countBudget = 250 * time.Millisecond

// count reads the counters of running domains: from /proc where their
// processes are here, else from libvirt, never through a QEMU.
func (h *Host) count(ctx context.Context) error {
	if h.procs != nil {
		if err := h.countLocal(ctx); err != nil {
			return err
		}
	}
	rest, nics := h.table.uncounted()
	if len(rest) == 0 {
		return nil
	}
	var wg sync.WaitGroup
	var netErr error
	if nics && !h.bulkless.Load() {
		wg.Go(func() { netErr = h.countNet(ctx) })
	}
	err := h.countInfo(ctx, rest)
	wg.Wait()
	if err == nil {
		err = netErr
	}
	return err
}

// uncounted is the running domains without a process here, the longest not
// asked first, and whether any has a network card.
func (t *table) uncounted() (doms []libvirt.Domain, nics bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var es []*entry
	for _, e := range t.domains {
		if e.active() && e.process == nil {
			es = append(es, e)
			nics = nics || e.facts == nil || len(e.facts.nics) > 0
		}
	}
	slices.SortFunc(es, func(a, b *entry) int { return a.cpu.At.Compare(b.cpu.At) })
	for _, e := range es {
		doms = append(doms, e.dom)
	}
	return doms, nics
}

// countInfo asks virDomainGetInfo of each, which answers for stuck guests too.
func (h *Host) countInfo(ctx context.Context, doms []libvirt.Domain) error {
	until := h.now().Add(countBudget)
	jobs := make(chan libvirt.Domain)
	errs := make(chan error, pipeline)
	var wg sync.WaitGroup
	for range min(pipeline, len(doms)) {
		wg.Go(func() {
			var fatal error
			for d := range jobs {
				if fatal == nil {
					fatal = h.countOne(ctx, d)
				}
			}
			errs <- fatal
		})
	}
	for _, d := range doms {
		if ctx.Err() != nil || h.now().After(until) {
			break
		}
		jobs <- d
	}
	close(jobs)
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) countOne(ctx context.Context, d libvirt.Domain) error {
	type info struct {
		memory, cpu uint64
	}
	i, err := ask(ctx, h.cheap, func(lv *libvirt.Libvirt) (info, error) {
		_, _, memory, _, cpu, err := lv.DomainGetInfo(d)
		return info{memory, cpu}, err
	})
	if err != nil {
		if _, ours := coded(err).(*daemonError); ours {
			h.table.touch(backend.UUID(d.UUID), touchState)
			return nil
		}
		return err
	}
	now := h.now()
	h.table.mu.Lock()
	defer h.table.mu.Unlock()
	if e := h.table.domains[backend.UUID(d.UUID)]; e != nil && e.dom.ID == d.ID {
		e.cpu = backend.CPUCounter{At: now, Used: time.Duration(i.cpu)}
		e.mem = backend.MemoryFigure{At: now, Current: i.memory << 10}
	}
	return nil
}

// countNet asks for all interfaces in one call that reaches no QEMU.
func (h *Host) countNet(ctx context.Context) error {
	recs, err := ask(ctx, h.cheap, func(lv *libvirt.Libvirt) ([]libvirt.DomainStatsRecord, error) {
		return lv.ConnectGetAllDomainStats(nil, uint32(libvirt.DomainStatsInterface),
			uint32(libvirt.ConnectGetAllDomainsStatsActive)|uint32(libvirt.ConnectGetAllDomainsStatsNowait))
	})
	if err != nil {
		if unsupported(err) {
			h.bulkless.Store(true)
			return nil
		}
		return err
	}
	now := h.now()
	h.table.mu.Lock()
	defer h.table.mu.Unlock()
	for _, r := range recs {
		e := h.table.domains[backend.UUID(r.Dom.UUID)]
		if e == nil || e.process != nil {
			continue
		}
		if n, ok := sumNet(r.Params); ok {
			n.At = now
			e.net = n
		}
	}
	return nil
}

// netFields places the counters of virDomainStats' "net.N.*", which are the
// guest's view.
var netFields = map[string]func(*backend.NetCounter) *uint64{
	"rx.bytes": func(c *backend.NetCounter) *uint64 { return &c.RxBytes },
	"tx.bytes": func(c *backend.NetCounter) *uint64 { return &c.TxBytes },
	"rx.pkts":  func(c *backend.NetCounter) *uint64 { return &c.RxPkts },
	"tx.pkts":  func(c *backend.NetCounter) *uint64 { return &c.TxPkts },
	"rx.drop":  func(c *backend.NetCounter) *uint64 { return &c.RxDrop },
	"tx.drop":  func(c *backend.NetCounter) *uint64 { return &c.TxDrop },
	"rx.errs":  func(c *backend.NetCounter) *uint64 { return &c.RxErrs },
	"tx.errs":  func(c *backend.NetCounter) *uint64 { return &c.TxErrs },
}

// sumNet sums a domain's cards; ok is false when none was counted.
func sumNet(params []libvirt.TypedParam) (sum backend.NetCounter, ok bool) {
	for _, p := range params {
		field, found := indexed(p.Field, "net.")
		if !found {
			continue
		}
		if place := netFields[field.name]; place != nil {
			*place(&sum) += unsigned(p)
			ok = true
		}
	}
	return sum, ok
}

// field is a statistic of one of several devices: "net.0.rx.bytes".
type field struct {
	index int
	name  string
}

// indexed splits "net.0.rx.bytes" after the prefix "net.". It reports false
// for fields that have no number there, as "net.count".
func indexed(s, prefix string) (f field, ok bool) {
	s, ok = strings.CutPrefix(s, prefix)
	if !ok {
		return f, false
	}
	number, name, ok := strings.Cut(s, ".")
	if !ok || number == "" || len(number) > 5 {
		return f, false
	}
	for _, c := range number {
		if c < '0' || c > '9' {
			return f, false
		}
		f.index = 10*f.index + int(c-'0')
	}
	f.name = name
	return f, true
}

// unsigned is the value of a counter, whatever integer libvirt sent it as;
// negative ones, which mean "not known", are 0.
func unsigned(p libvirt.TypedParam) uint64 {
	switch v := p.Value.I.(type) {
	case int32:
		return uint64(max(v, 0))
	case uint32:
		return uint64(v)
	case int64:
		return uint64(max(v, 0))
	case uint64:
		return v
	case float64:
		return uint64(max(v, 0))
	}
	return 0
}

// text is the value of a string parameter.
func text(p libvirt.TypedParam) string {
	s, _ := p.Value.I.(string)
	return strings.TrimRight(s, "\x00")
}

// byIndex orders the devices of a statistics record.
func byIndex[T any](m map[int]*T) []*T {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, cmp.Compare[int])
	out := make([]*T, len(keys))
	for i, k := range keys {
		out[i] = m[k]
	}
	return out
}

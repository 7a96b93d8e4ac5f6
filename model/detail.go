package model

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// Tab is one page of a VM's detail.
type Tab uint8

// The tabs, in the order shown.
const (
	TabOverview Tab = iota
	TabDevices
	TabHistory
	TabXML
	TabGuest
	TabSnapshots
	TabLog
	tabCount
)

var tabNames = [...]string{"Overview", "Devices", "History", "XML", "Guest", "Snapshots", "Log"}

// String is the tab's title.
func (t Tab) String() string { return tabNames[t] }

// Tabs returns every tab in order.
func Tabs() []Tab {
	out := make([]Tab, tabCount)
	for i := range out {
		out[i] = Tab(i)
	}
	return out
}

// How long the questions of the detail screen may take, and how often those
// that change slowly are asked again.
const (
	detailDeadline = 6 * time.Second
	guestDeadline  = 10 * time.Second
	guestEvery     = 15 * time.Second
	xmlEvery       = 5 * time.Second
	logLines       = 500
)

// Detail is one VM in depth: the screen behind enter. It polls only while it is
// shown.
type Detail struct {
	fleet *Fleet
	ctx   context.Context
	clock Clock

	Key backend.Key
	Tab Tab
	gen int // answers to an older VM or visit are dropped

	Data      backend.Detail
	HasData   bool
	Err       error
	DiskRates []Rates // by index of Data.Disks
	NICRates  []Rates // by index of Data.NICs
	VCPURates []float64

	Guest    backend.Guest
	HasGuest bool
	GuestErr error
	guestAt  time.Time

	XML    []string
	XMLErr error
	xmlAt  time.Time // when it was asked for
	Stored bool      // the XML tab shows the stored definition rather than the live one

	Log    []string
	LogErr error

	Search Search
	Top    [tabCount]int
	Left   int // cells cut off at the left of the XML and the log
	Lines  int // of the shown tab; written by SetScroll
	Page   int

	asking, askingGuest, askingLog bool
}

type (
	detailMsg struct {
		gen    int
		detail backend.Detail
		err    error
	}
	guestMsg struct {
		gen   int
		guest backend.Guest
		err   error
	}
	xmlMsg struct {
		gen    int
		stored bool
		xml    string
		err    error
	}
	logMsg struct {
		gen   int
		lines []string
		err   error
	}
	detailTick struct{ gen int }
)

// NewDetail makes the screen with nothing shown yet.
func NewDetail(ctx context.Context, clock Clock, fleet *Fleet) *Detail {
	return &Detail{ctx: ctx, fleet: fleet, clock: clock, Page: 10}
}

// Open shows a VM at a tab and begins to poll it.
func (d *Detail) Open(k backend.Key, tab Tab) tea.Cmd {
	fresh := NewDetail(d.ctx, d.clock, d.fleet)
	fresh.gen, fresh.Page = d.gen+1, d.Page
	fresh.Key, fresh.Tab = k, tab
	*d = *fresh
	return tea.Batch(d.ask(), d.askTab(), d.tick())
}

// Leave stops polling; answers on their way are dropped.
func (d *Detail) Leave() { d.gen++ }

// Row is the VM's row, or nil when it is gone.
func (d *Detail) Row() *Row { return d.fleet.Row(d.Key) }

func (d *Detail) host() backend.Host {
	if s := d.fleet.HostState(d.Key.Host); s != nil {
		return s.Host
	}
	return nil
}

func (d *Detail) tick() tea.Cmd {
	return d.clock.After(max(d.fleet.Refresh(), 500*time.Millisecond), detailTick{d.gen})
}

// Update takes the screen's own messages and reports whether anything shown
// changed.
func (d *Detail) Update(msg tea.Msg) (bool, tea.Cmd) {
	switch m := msg.(type) {
	case detailTick:
		if m.gen != d.gen {
			return false, nil
		}
		return false, tea.Batch(d.ask(), d.askTab(), d.tick())
	case detailMsg:
		return d.onDetail(m), nil
	case guestMsg:
		return d.onGuest(m), nil
	case xmlMsg:
		return d.onXML(m), nil
	case logMsg:
		return d.onLog(m), nil
	}
	return false, nil
}

func (d *Detail) ask() tea.Cmd {
	h := d.host()
	if d.asking || h == nil {
		return nil
	}
	d.asking = true
	gen, id, parent := d.gen, d.Key.UUID, d.ctx
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, detailDeadline)
		defer cancel()
		v, err := h.Detail(ctx, id)
		return detailMsg{gen, v, err}
	}
}

// askTab asks for what only the shown tab needs.
func (d *Detail) askTab() tea.Cmd {
	switch d.Tab {
	case TabGuest, TabOverview:
		return d.askGuest()
	case TabXML:
		if d.clock.Now().Sub(d.xmlAt) >= xmlEvery {
			return d.askXML()
		}
	case TabLog:
		return d.askLog()
	}
	return nil
}

func (d *Detail) askGuest() tea.Cmd {
	h, r := d.host(), d.Row()
	if h == nil || r == nil || d.askingGuest || d.clock.Now().Sub(d.guestAt) < guestEvery {
		return nil
	}
	if !r.State.Active() {
		d.GuestErr, d.HasGuest = backend.ErrNoAgent, false
		return nil
	}
	d.askingGuest, d.guestAt = true, d.clock.Now()
	gen, id, parent := d.gen, d.Key.UUID, d.ctx
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, guestDeadline)
		defer cancel()
		g, err := h.Guest(ctx, id)
		return guestMsg{gen, g, err}
	}
}

func (d *Detail) askXML() tea.Cmd {
	h := d.host()
	if h == nil {
		return nil
	}
	d.xmlAt = d.clock.Now()
	gen, id, parent, stored := d.gen, d.Key.UUID, d.ctx, d.Stored
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, detailDeadline)
		defer cancel()
		x, err := h.XML(ctx, id, stored)
		return xmlMsg{gen, stored, x, err}
	}
}

func (d *Detail) askLog() tea.Cmd {
	t, ok := d.host().(backend.LogTailer)
	if !ok {
		d.LogErr = backend.ErrUnsupported
		return nil
	}
	if d.askingLog {
		return nil
	}
	d.askingLog = true
	gen, id, parent := d.gen, d.Key.UUID, d.ctx
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, detailDeadline)
		defer cancel()
		lines, err := t.LogTail(ctx, id, logLines)
		return logMsg{gen, lines, err}
	}
}

func (d *Detail) onDetail(m detailMsg) bool {
	if m.gen != d.gen {
		return false
	}
	d.asking = false
	d.Err = m.err
	if m.err != nil {
		return true
	}
	d.rates(&m.detail)
	d.Data, d.HasData = m.detail, true
	return true
}

// rates compares the new detail with the last, device by device.
func (d *Detail) rates(cur *backend.Detail) {
	prev := &d.Data
	d.DiskRates = make([]Rates, len(cur.Disks))
	for i := range cur.Disks {
		d.DiskRates[i] = diskRates(prev.Disks, &cur.Disks[i])
	}
	d.NICRates = make([]Rates, len(cur.NICs))
	for i := range cur.NICs {
		d.NICRates[i] = nicRates(prev.NICs, &cur.NICs[i])
	}
	d.VCPURates = make([]float64, len(cur.VCPU))
	s, ok := elapsed(prev.At, cur.At)
	for i := range cur.VCPU {
		d.VCPURates[i] = math.NaN()
		if ok && i < len(prev.VCPU) && cur.VCPU[i].Used >= prev.VCPU[i].Used && cur.VCPU[i].Used > 0 {
			d.VCPURates[i] = 100 * (cur.VCPU[i].Used - prev.VCPU[i].Used).Seconds() / s
		}
	}
}

func diskRates(prev []backend.DiskDetail, cur *backend.DiskDetail) Rates {
	for i := range prev {
		if prev[i].Target == cur.Target {
			return DeriveRates(running(backend.VM{Disk: prev[i].DiskCounter}), running(backend.VM{Disk: cur.DiskCounter}), UnknownRates())
		}
	}
	return UnknownRates()
}

func nicRates(prev []backend.NICDetail, cur *backend.NICDetail) Rates {
	for i := range prev {
		if prev[i].MAC == cur.MAC {
			return DeriveRates(running(backend.VM{Net: prev[i].NetCounter}), running(backend.VM{Net: cur.NetCounter}), UnknownRates())
		}
	}
	return UnknownRates()
}

// running dresses a device's counters as a running VM for DeriveRates.
func running(vm backend.VM) *backend.VM {
	vm.State = backend.Running
	return &vm
}

func (d *Detail) onGuest(m guestMsg) bool {
	if m.gen != d.gen {
		return false
	}
	d.askingGuest = false
	d.GuestErr = m.err
	if m.err == nil {
		d.Guest, d.HasGuest = m.guest, true
	}
	return true
}

func (d *Detail) onXML(m xmlMsg) bool {
	if m.gen != d.gen || m.stored != d.Stored {
		return false
	}
	d.XMLErr = m.err
	if m.err == nil {
		d.setXML(strings.Split(strings.TrimRight(backend.CleanLines(m.xml), "\n"), "\n"))
	}
	return true
}

// setXML shows a definition; the search keeps its place when it is the same
// as before.
func (d *Detail) setXML(lines []string) {
	if slices.Equal(lines, d.XML) {
		return
	}
	d.XML = lines
	d.Search.Find(lines)
}

// Changed asks for the definition again if it is that VM's which is shown.
func (d *Detail) Changed(k backend.Key) tea.Cmd {
	if k != d.Key || d.Tab != TabXML {
		return nil
	}
	return d.askXML()
}

func (d *Detail) onLog(m logMsg) bool {
	if m.gen != d.gen {
		return false
	}
	d.askingLog = false
	atEnd := d.Top[TabLog] >= len(d.Log)-d.Page
	d.LogErr = m.err
	if m.err == nil {
		d.Log = m.lines
		if atEnd {
			d.Top[TabLog] = max(0, len(d.Log)-d.Page)
		}
	}
	return true
}

// Show turns to a tab.
func (d *Detail) Show(t Tab) tea.Cmd {
	d.Tab = t
	return d.askTab()
}

// Turn turns n tabs on, round the ends.
func (d *Detail) Turn(n int) tea.Cmd {
	return d.Show(Tab((int(d.Tab) + n + int(tabCount)) % int(tabCount)))
}

// ToggleStored shows the stored definition instead of the live one, or back.
func (d *Detail) ToggleStored() tea.Cmd {
	d.Stored = !d.Stored
	d.XML, d.XMLErr = nil, nil
	return d.askXML()
}

// SetScroll tells how many lines the shown tab has and how many fit.
func (d *Detail) SetScroll(lines, page int) {
	d.Lines, d.Page = lines, page
	d.Top[d.Tab] = max(0, min(d.Top[d.Tab], lines-page))
}

// Scroll applies a movement key to the shown tab.
func (d *Detail) Scroll(k tea.KeyMsg) { d.Top[d.Tab] = scrolled(d.Top[d.Tab], d.Lines, d.Page, k) }

// Sideways moves long lines by n cells.
func (d *Detail) Sideways(n int) { d.Left = max(0, d.Left+n) }

// ScrollBy moves the shown tab by n lines, as a wheel does.
func (d *Detail) ScrollBy(n int) { d.Top[d.Tab] = max(0, min(d.Top[d.Tab]+n, d.Lines-d.Page)) }

// Next moves to the next hit of the search, or the one before with -1.
func (d *Detail) Next(step int) bool {
	line, ok := d.Search.Next(step)
	if ok {
		d.Top[d.Tab] = max(0, min(line-d.Page/3, d.Lines-d.Page))
	}
	return ok
}

// Search finds text in lines, whatever its case.
type Search struct {
	Text string
	Hits []int // line numbers
	At   int   // index in Hits of the current one
}

// Find looks for Text in lines and makes the first hit the current one.
func (s *Search) Find(lines []string) {
	s.Hits, s.At = nil, 0
	if s.Text == "" {
		return
	}
	want := strings.ToLower(s.Text)
	for i, l := range lines {
		if strings.Contains(strings.ToLower(l), want) {
			s.Hits = append(s.Hits, i)
		}
	}
}

// Next steps to another hit, round the ends; false when there is none.
func (s *Search) Next(step int) (line int, ok bool) {
	if len(s.Hits) == 0 {
		return 0, false
	}
	s.At = (s.At + step + len(s.Hits)) % len(s.Hits)
	return s.Hits[s.At], true
}

package model

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/backend"
)

// RowKey is what tells one line of the transfers from another: a transfer's
// number, or whose job of libvirt's it is.
type RowKey struct {
	ID   backend.TransferID
	Host string
	VM   backend.UUID
	Kind string
	Disk string
}

// TransferRow is one line of the transfers: one of berth's, or a job that
// somebody else started.
type TransferRow struct {
	Section  Section
	Transfer *backend.Transfer  // nil for Job
	Job      *backend.DomainJob // not of berth's store
	Rates    JobRates           // of Job
}

// Key is the row's identity.
func (r *TransferRow) Key() RowKey {
	if r.Transfer != nil {
		return RowKey{ID: r.Transfer.ID}
	}
	return jobKey(r.Job)
}

func jobKey(j *backend.DomainJob) RowKey {
	return RowKey{Host: j.Host, VM: j.VM, Kind: j.Kind, Disk: j.Disk}
}

// transferList is which transfers are shown, in what order.
type transferList struct {
	picker[RowKey]
	filter textFilter[*TransferRow]
	rows   map[RowKey]*TransferRow
	heads  []Section // of the lines that are headings, by line
	counts [sectionCount]int
	shown  [sectionCount]int
	flash  map[backend.TransferID]transferFlash
}

// transferFlash is a transfer's last state, and until when its row is lit
// because it changed.
type transferFlash struct {
	state backend.TransferState
	until time.Time
}

// note remembers what changed.
func (l *transferList) note(ts []backend.Transfer, first bool, now time.Time) {
	seen := make(map[backend.TransferID]transferFlash, len(ts))
	for i := range ts {
		f, known := l.flash[ts[i].ID]
		if !first && (!known || f.state != ts[i].State) {
			f.until = now.Add(flashFor)
		}
		f.state = ts[i].State
		seen[ts[i].ID] = f
	}
	l.flash = seen
}

// TransferSection is where a transfer stands in the list.
func TransferSection(s backend.TransferState) Section {
	switch s {
	case backend.TransferRunning, backend.TransferPaused:
		return SectionRunning
	case backend.TransferQueued, backend.TransferWaiting:
		return SectionWaiting
	}
	return SectionEnded
}

var transferKeys = []textKey[*TransferRow]{
	{"host", "the host of its VM", nil, func(r *TransferRow) []string { return []string{r.host()} }},
	{"id", "its number", nil, func(r *TransferRow) []string { return []string{fmt.Sprint(r.Key().ID)} }},
	{"kind", "backup, restore, verify, forget, copy, convert; or libvirt's word", nil, func(r *TransferRow) []string { return []string{r.Kind()} }},
	{"owner", "who ordered it", nil, func(r *TransferRow) []string { return []string{r.owner()} }},
	{"repo", "the repository", nil, func(r *TransferRow) []string { return []string{r.repo()} }},
	{"state", "its state: the start of the word will do", transferStates, func(r *TransferRow) []string { return []string{r.StateWord()} }},
	{"tag", "one of its tags", nil, func(r *TransferRow) []string { return r.tags() }},
	{"vm", "the VM's name, with * and ? as wildcards", nil, func(r *TransferRow) []string { return []string{r.Name()} }},
}

func transferStates() []string {
	var out []string
	for _, s := range []backend.TransferState{backend.TransferQueued, backend.TransferRunning, backend.TransferPaused, backend.TransferWaiting, backend.TransferDone, backend.TransferFailed, backend.TransferCancelled} {
		out = append(out, string(s))
	}
	return out
}

// BackupFilterKeys returns the keys of the filter on the transfers, by name.
func BackupFilterKeys() []FilterKey { return keyHelp(transferKeys) }

func transferTexts(r *TransferRow) []string {
	return append([]string{r.Name(), r.Kind(), r.StateWord(), r.host(), r.owner(), r.repo()}, r.tags()...)
}

// Name is the VM's, or the image's where no VM is meant.
func (r *TransferRow) Name() string {
	switch {
	case r.Job != nil:
		return r.Job.Name
	case r.Transfer.Spec.Name != "":
		return r.Transfer.Spec.Name
	case r.Transfer.Spec.Image.Source != "":
		return lastPart(r.Transfer.Spec.Image.Source)
	case r.Transfer.Spec.Repo.URL != "":
		return lastPart(r.Transfer.Spec.Repo.URL)
	}
	return fmt.Sprintf("#%d", r.Transfer.ID)
}

// lastPart is the part of a path behind its last slash.
func lastPart(path string) string {
	path = strings.TrimRight(path, "/")
	return path[strings.LastIndexByte(path, '/')+1:]
}

// Kind is what is done.
func (r *TransferRow) Kind() string {
	if r.Job != nil {
		return r.Job.Kind
	}
	return string(r.Transfer.Spec.Kind)
}

// StateWord is the state; a job of others always runs.
func (r *TransferRow) StateWord() string {
	if r.Job != nil {
		return string(backend.TransferRunning)
	}
	return string(r.Transfer.State)
}

func (r *TransferRow) host() string {
	if r.Job != nil {
		return r.Job.Host
	}
	return r.Transfer.Spec.VM.Host
}

func (r *TransferRow) owner() string {
	if r.Job != nil {
		return "somebody else"
	}
	return r.Transfer.Owner
}

func (r *TransferRow) repo() string {
	if r.Job != nil {
		return ""
	}
	return r.Transfer.Spec.Repo.URL
}

func (r *TransferRow) tags() []string {
	if r.Job != nil {
		return nil
	}
	return r.Transfer.Spec.Backup.Tags
}

// rebuildTransfers works out which transfers and jobs are listed.
func (s *Backups) rebuildTransfers() {
	l := &s.list
	l.rows = map[RowKey]*TransferRow{}
	var bySection [sectionCount][]*TransferRow
	l.counts, l.shown = [sectionCount]int{}, [sectionCount]int{}
	add := func(r *TransferRow) {
		l.rows[r.Key()] = r
		l.counts[r.Section]++
		if l.filter.match(r) {
			bySection[r.Section] = append(bySection[r.Section], r)
		}
	}
	for i := range s.State.Transfers {
		t := &s.State.Transfers[i]
		add(&TransferRow{Section: TransferSection(t.State), Transfer: t})
	}
	for _, j := range s.foreign() {
		r := &TransferRow{Section: SectionRunning, Job: j}
		if seen := s.jobs.byHost[j.Host].rates[jobKey(j)]; seen != nil {
			r.Rates = *seen
		}
		add(r)
	}
	var lines []pickLine[RowKey]
	l.heads = nil
	for sec := range sectionCount {
		l.shown[sec] = len(bySection[sec])
		if len(bySection[sec]) == 0 {
			continue
		}
		lines, l.heads = append(lines, pickLine[RowKey]{head: true}), append(l.heads, sec)
		for _, r := range bySection[sec] {
			lines, l.heads = append(lines, pickLine[RowKey]{key: r.Key()}), append(l.heads, sec)
		}
	}
	l.show(lines, func(k RowKey) bool { return l.rows[k] != nil })
}

// foreign are the jobs that are no transfer of the store's: those of others,
// and berth's own that belong to another store.
func (s *Backups) foreign() []*backend.DomainJob {
	var out []*backend.DomainJob
	for _, h := range s.jobs.byHost {
		for i := range h.jobs {
			if j := &h.jobs[i]; !j.Mine || s.Active(j.VM) == nil && !s.endedSince(j) {
				out = append(out, j)
			}
		}
	}
	slices.SortFunc(out, func(a, b *backend.DomainJob) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Disk, b.Disk))
	})
	return out
}

// endedSince reports whether a backup of the store's has ended since a job was
// seen: then the job was that backup's, and is gone.
func (s *Backups) endedSince(j *backend.DomainJob) bool {
	return slices.ContainsFunc(s.State.Transfers, func(t backend.Transfer) bool {
		return t.Spec.Kind == backend.TransferBackup && t.Spec.VM.UUID == j.VM && t.Ended.After(j.At)
	})
}

// Row returns what is on a line of the transfers: the row, or nil and the
// section of a heading.
func (s *Backups) Row(line int) (*TransferRow, Section) {
	l := &s.list
	if line < 0 || line >= len(l.lines) {
		return nil, SectionEnded
	}
	if l.lines[line].head {
		return nil, l.heads[line]
	}
	return l.rows[l.lines[line].key], l.heads[line]
}

// Transfers is the list's place on the screen.
func (s *Backups) Transfers() ListView { return &s.list.picker }

// SelectedRow is the selected line of the transfers, or nil.
func (s *Backups) SelectedRow() *TransferRow {
	if k, ok := s.list.selected(); ok {
		return s.list.rows[k]
	}
	return nil
}

// RowMarked reports whether a line of the transfers is marked.
func (s *Backups) RowMarked(k RowKey) bool { return s.list.marked(k) }

// Counts are how many transfers and jobs there are in each section, and how
// many the filter shows.
func (s *Backups) Counts(sec Section) (all, shown int) { return s.list.counts[sec], s.list.shown[sec] }

// Flashing reports whether a transfer's state changed a moment ago.
func (s *Backups) Flashing(id backend.TransferID, now time.Time) bool {
	return now.Before(s.list.flash[id].until)
}

// Total is all that runs, together.
type Total struct {
	Running, Paused, Waiting int
	Others                   int   // jobs of others
	Done, Total              int64 // bytes of berth's own that run; Total is of those whose total is known
	Open                     int   // of how many it is not known
	Rate                     int64 // bytes a second
	ETA                      time.Duration
}

// Total sums up what runs and what waits.
func (s *Backups) Total() Total {
	var n Total
	for i := range s.State.Transfers {
		t := &s.State.Transfers[i]
		switch {
		case t.State == backend.TransferPaused:
			n.Paused++
		case t.State == backend.TransferRunning:
			n.Running++
		case TransferSection(t.State) == SectionWaiting:
			n.Waiting++
			continue
		default:
			continue
		}
		p := &t.Progress
		if p.Total <= 0 {
			n.Open++
			continue
		}
		n.Done, n.Total = n.Done+min(p.Done, p.Total), n.Total+p.Total
		if t.State == backend.TransferRunning {
			n.Rate += max(p.Rate, 0)
		}
	}
	for _, h := range s.jobs.byHost {
		for i := range h.jobs {
			if j := &h.jobs[i]; !j.Mine || s.Active(j.VM) == nil {
				n.Others++
			}
		}
	}
	if left := n.Total - n.Done; left > 0 && n.Rate > 0 && n.Open == 0 && n.Paused == 0 {
		n.ETA = time.Duration(float64(left) / float64(n.Rate) * float64(time.Second))
	}
	return n
}

// Fraction is how much of a whole is done, at most 1; below 0 when the whole
// is not known.
func Fraction(done, total int64) float64 {
	if total <= 0 {
		return -1
	}
	return max(0, min(1, float64(done)/float64(total)))
}

// Ratio is how many times smaller what was stored is than what was new; 0 when
// that cannot be said.
func Ratio(fresh, stored int64) float64 {
	if fresh <= 0 || stored <= 0 {
		return 0
	}
	return float64(fresh) / float64(stored)
}

// NextStep says what a person can do about a transfer now, with the keys that
// do it; empty when there is nothing to do.
func (a *App) NextStep(t *backend.Transfer) string {
	switch t.State {
	case backend.TransferFailed:
		return a.KeyFor("transfer-retry") + " tries it again"
	case backend.TransferCancelled:
		return a.KeyFor("transfer-retry") + " orders it again"
	case backend.TransferPaused:
		return a.KeyFor("transfer-pause") + " goes on with it"
	case backend.TransferWaiting:
		if !t.NextTry.IsZero() {
			return "tried again " + Starts(t.NextTry, a.clock.Now()) + "; " + a.KeyFor("transfer-cancel") + " gives it up"
		}
		return a.KeyFor("transfer-cancel") + " gives it up"
	}
	return ""
}

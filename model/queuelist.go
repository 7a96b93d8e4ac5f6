package model

import (
	"time"
	"unicode/utf8"

	"berth/backend"
)

// Section is a part of the queue's list.
type Section uint8

// The sections, from the top.
const (
	SectionRunning Section = iota // holds a berth, or needs a person
	SectionWaiting
	SectionEnded
	sectionCount
)

// SectionOf is where a job stands in the list.
func SectionOf(s backend.JobState) Section {
	switch {
	case s.Ended():
		return SectionEnded
	case s.Waiting(), s == backend.JobRecovery:
		return SectionWaiting
	}
	return SectionRunning
}

// QueueLine is one line of the list: a section's heading or a job.
type QueueLine struct {
	Section Section
	Job     *backend.Job // nil for a heading
}

// queueList is which jobs are shown, in what order, which is selected and
// which are marked.
type queueList struct {
	state *backend.QueueState
	byID  map[backend.JobID]int // into state.Jobs
	byVM  map[backend.UUID][]int

	filter     JobFilter
	filterText string // as typed; may be ahead of filter while it has an error
	filterErr  error

	lines  []QueueLine
	jobs   []int // the lines that are jobs
	counts [sectionCount]int
	shown  [sectionCount]int
	widths JobWidths

	cursor backend.JobID
	chosen bool // a person has selected a job
	index  int  // the selected job's place in jobs
	top    int  // the first line on the screen
	page   int

	marks  map[backend.JobID]bool
	anchor backend.JobID
	hidden int // marked jobs that the filter hides

	targets []*backend.Job // what actions are meant for; nil when not worked out

	flash map[backend.JobID]flashed
}

// flashed is a job's last state, and until when its row is lit because it
// changed.
type flashed struct {
	state backend.JobState
	until time.Time
}

// JobWidths are how wide some columns would have to be to show every job
// whole, in characters.
type JobWidths struct{ Pos, Name, Host, Reason int }

func (l *queueList) init() {
	l.page, l.marks, l.byID = 10, map[backend.JobID]bool{}, map[backend.JobID]int{}
	l.flash = map[backend.JobID]flashed{}
}

// take brings in a new state.
func (l *queueList) take(st *backend.QueueState, now time.Time) {
	first := l.state == nil
	l.state = st
	l.byID = make(map[backend.JobID]int, len(st.Jobs))
	l.byVM = make(map[backend.UUID][]int, len(st.Jobs))
	seen := make(map[backend.JobID]flashed, len(st.Jobs))
	l.counts = [sectionCount]int{}
	for i := range st.Jobs {
		j := &st.Jobs[i]
		l.byID[j.ID] = i
		l.byVM[j.VM] = append(l.byVM[j.VM], i)
		l.counts[SectionOf(j.State)]++
		f, known := l.flash[j.ID]
		if !first && (!known || f.state != j.State) {
			f.until = now.Add(flashFor)
		}
		f.state = j.State
		seen[j.ID] = f
	}
	l.flash = seen
	for id := range l.marks {
		if _, ok := l.byID[id]; !ok {
			delete(l.marks, id)
		}
	}
	l.rebuild()
}

// rebuild works out which jobs are shown. The selected job stays selected and
// on the same line of the screen; when it is gone, the one in its place is.
func (l *queueList) rebuild() {
	if l.state == nil {
		return
	}
	offset := l.line() - l.top
	l.targets = nil
	l.lines, l.jobs, l.widths, l.shown = l.lines[:0], l.jobs[:0], JobWidths{}, [sectionCount]int{}
	for sec := range sectionCount {
		l.addSection(sec)
	}
	l.hidden = 0
	for id := range l.marks {
		if !l.filter.Match(&l.state.Jobs[l.byID[id]]) {
			l.hidden++
		}
	}
	if l.chosen {
		l.find()
		l.top = l.line() - offset
	}
	l.open()
	l.clamp()
}

// open begins where what runs ends, when that alone would fill the screen and
// nobody has chosen a job yet.
func (l *queueList) open() {
	if l.chosen {
		return
	}
	l.index, l.top = 0, 0
	if l.shown[SectionWaiting] == 0 || l.shown[SectionRunning] < l.page/2 {
		return
	}
	l.index = l.shown[SectionRunning]
	l.top = l.line() - l.page/2
}

// toSection moves the selection to the first job of the next section, or of
// this one and then the one before.
func (l *queueList) toSection(step int) {
	starts, n := []int{}, 0
	for sec := range sectionCount {
		if l.shown[sec] > 0 {
			starts = append(starts, n)
		}
		n += l.shown[sec]
	}
	to := l.index
	for _, s := range starts {
		if step > 0 && s > l.index {
			to = s
			break
		}
		if step < 0 && s < l.index {
			to = s
		}
	}
	l.index = to
	l.adopt()
}

func (l *queueList) addSection(sec Section) {
	if l.counts[sec] == 0 {
		return
	}
	for i := range l.state.Jobs {
		j := &l.state.Jobs[i]
		if SectionOf(j.State) != sec || !l.filter.Match(j) {
			continue
		}
		if l.shown[sec] == 0 {
			l.lines = append(l.lines, QueueLine{Section: sec})
		}
		l.shown[sec]++
		l.jobs = append(l.jobs, len(l.lines))
		l.lines = append(l.lines, QueueLine{Section: sec, Job: j})
		l.widths.take(j)
	}
}

func (w *JobWidths) take(j *backend.Job) {
	w.Pos = max(w.Pos, digits(j.Position))
	w.Name = max(w.Name, utf8.RuneCountInString(j.Name))
	w.Host = max(w.Host, utf8.RuneCountInString(JobHost(j)))
	if SectionOf(j.State) == SectionWaiting {
		n := utf8.RuneCountInString(j.Why.String())
		if j.Why.Detail != "" {
			n += 2 + utf8.RuneCountInString(j.Why.Detail)
		}
		w.Reason = max(w.Reason, n)
	}
}

func digits(n int) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}

// find sets index to the selected job's place.
func (l *queueList) find() {
	for i, line := range l.jobs {
		if l.lines[line].Job.ID == l.cursor {
			l.index = i
			return
		}
	}
}

// line is the line that the selected job is on.
func (l *queueList) line() int {
	if l.index < len(l.jobs) {
		return l.jobs[l.index]
	}
	return 0
}

func (l *queueList) clamp() {
	l.index = max(0, min(l.index, len(l.jobs)-1))
	at := l.line()
	from := at
	if at > 0 && l.lines[at-1].Job == nil && l.page > 1 {
		from-- // its heading too
	}
	l.top = min(l.top, from)
	l.top = max(l.top, at-l.page+1)
	l.top = max(0, min(l.top, len(l.lines)-l.page))
}

// adopt makes the job under the cursor the one that the person selected.
func (l *queueList) adopt() {
	l.clamp()
	l.chosen, l.targets = true, nil
	if j := l.selected(); j != nil {
		l.cursor = j.ID
	}
}

func (l *queueList) selected() *backend.Job {
	if l.index < len(l.jobs) {
		return l.lines[l.jobs[l.index]].Job
	}
	return nil
}

// Lines returns the list's lines. The slice is the list's own.
func (s *Queue) Lines() []QueueLine { return s.list.lines }

// Top is the first line on the screen.
func (s *Queue) Top() int { return s.list.top }

// Line is the line that the selected job is on, -1 when there is none.
func (s *Queue) Line() int {
	if len(s.list.jobs) == 0 {
		return -1
	}
	return s.list.line()
}

// Selected returns the selected job, or nil.
func (s *Queue) Selected() *backend.Job { return s.list.selected() }

// SetPage tells how many lines the screen has room for.
func (s *Queue) SetPage(n int) {
	if s.list.page != max(1, n) {
		s.list.page = max(1, n)
		s.list.open()
	}
	s.list.clamp()
}

// Page is how many lines the screen has room for.
func (s *Queue) Page() int { return s.list.page }

// Move moves the selection by n jobs.
func (s *Queue) Move(n int) {
	s.list.index += n
	s.list.adopt()
}

// SelectLine selects the job on a line, as a click does; headings do nothing.
// It reports whether that job was selected already.
func (s *Queue) SelectLine(line int) (again bool) {
	for i, at := range s.list.jobs {
		if at == line {
			again = s.list.index == i && s.list.chosen
			s.list.index = i
			s.list.adopt()
		}
	}
	return again
}

// SelectJob selects a job if it is shown.
func (s *Queue) SelectJob(id backend.JobID) {
	s.list.cursor, s.list.chosen = id, true
	s.list.find()
	s.list.adopt()
}

// Scroll moves the lines under the selection, which stays on the screen.
func (s *Queue) Scroll(n int) {
	l := &s.list
	l.top = max(0, min(l.top+n, len(l.lines)-l.page))
	for l.index < len(l.jobs)-1 && l.line() < l.top {
		l.index++
	}
	for l.index > 0 && l.line() >= l.top+l.page {
		l.index--
	}
	l.adopt()
}

// Slid reports whether another job than the person selected is under the
// cursor, because that one left the list.
func (s *Queue) Slid() bool {
	j := s.Selected()
	return j != nil && s.list.chosen && j.ID != s.list.cursor
}

// Counts are how many jobs there are in each section, and how many the filter
// shows.
func (s *Queue) Counts(sec Section) (all, shown int) { return s.list.counts[sec], s.list.shown[sec] }

// Widths are those of the jobs shown.
func (s *Queue) Widths() JobWidths { return s.list.widths }

// Flashing reports whether a job's state changed a moment ago.
func (s *Queue) Flashing(id backend.JobID, now time.Time) bool {
	return now.Before(s.list.flash[id].until)
}

// TypeFilter filters by an expression that is still being typed; while it has
// an error the last good one stays in force.
func (s *Queue) TypeFilter(text string) error {
	f, err := ParseJobFilter(text)
	s.list.filterText, s.list.filterErr = text, err
	if err == nil {
		s.list.filter = f
		s.list.rebuild()
		s.Gantt.dirty = true
	}
	return err
}

// Filter returns the filter as typed, and what is wrong with it.
func (s *Queue) Filter() (string, error) { return s.list.filterText, s.list.filterErr }

// Filtered reports whether a filter hides jobs, or could.
func (s *Queue) Filtered() bool { return len(s.list.filter.terms) > 0 }

// JobHost is the host that a job is on, or where it is expected to run, or the
// only one it may run on.
func JobHost(j *backend.Job) string {
	switch SectionOf(j.State) {
	case SectionWaiting:
		if j.ETAHost != "" {
			return j.ETAHost
		}
		return j.Host
	}
	return j.RunsOn
}

package model

import "berth/backend"

// Mark toggles the mark of the selected job and moves on.
func (s *Queue) Mark() {
	j := s.Selected()
	if j == nil {
		return
	}
	if s.list.marks[j.ID] {
		delete(s.list.marks, j.ID)
	} else {
		s.list.marks[j.ID] = true
	}
	s.list.anchor = j.ID
	s.Move(1) // which forgets the targets too
}

// MarkRange marks everything between the last toggled job and the selected.
func (s *Queue) MarkRange() {
	l := &s.list
	if len(l.jobs) == 0 {
		return
	}
	from := l.index
	for i, line := range l.jobs {
		if l.lines[line].Job.ID == l.anchor {
			from = i
		}
	}
	for i := min(from, l.index); i <= max(from, l.index); i++ {
		l.marks[l.lines[l.jobs[i]].Job.ID] = true
	}
	l.anchor, l.targets = l.selected().ID, nil
}

// MarkAll marks every job shown that has not ended.
func (s *Queue) MarkAll() {
	s.eachShown(func(j *backend.Job) {
		if !j.State.Ended() {
			s.list.marks[j.ID] = true
		}
	})
}

// InvertMarks marks every job shown that is not marked, and unmarks the others.
func (s *Queue) InvertMarks() {
	s.eachShown(func(j *backend.Job) {
		if s.list.marks[j.ID] {
			delete(s.list.marks, j.ID)
		} else {
			s.list.marks[j.ID] = true
		}
	})
}

// ClearMarks removes all marks.
func (s *Queue) ClearMarks() {
	clear(s.list.marks)
	s.list.hidden, s.list.targets = 0, nil
}

func (s *Queue) eachShown(f func(*backend.Job)) {
	s.list.targets = nil
	for _, line := range s.list.jobs {
		f(s.list.lines[line].Job)
	}
}

// Marked reports whether a job is marked.
func (s *Queue) Marked(id backend.JobID) bool { return s.list.marks[id] }

// Marks is how many jobs are marked, and how many of them the filter hides.
func (s *Queue) Marks() (all, hidden int) { return len(s.list.marks), s.list.hidden }

// Targets are the jobs an action is meant for: the marked ones that are shown,
// in the list's order, or else the selected one. Footers ask on every frame, so
// they are worked out once a change.
func (s *Queue) Targets() []*backend.Job {
	l := &s.list
	if l.targets == nil && len(l.marks) > l.hidden {
		var out []*backend.Job
		s.eachShown(func(j *backend.Job) {
			if l.marks[j.ID] {
				out = append(out, j)
			}
		})
		l.targets = out
	}
	if len(l.targets) > 0 {
		return l.targets
	}
	if j := s.Selected(); j != nil {
		return []*backend.Job{j}
	}
	return nil
}

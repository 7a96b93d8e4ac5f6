package queue

// Machine plays a queue from event to event: the simulator's side of the very
// code that Schedule runs. It is not safe for concurrent use.
type Machine struct {
	b *board
}

// NewMachine is a machine of empty hosts.
func NewMachine(p Policy, hosts []Host) *Machine { return &Machine{newBoard(p, hosts)} }

// Fits reports whether j fits one of its hosts when that is empty.
func (m *Machine) Fits(j *Job) bool {
	for i := range m.b.hosts {
		if m.b.hosts[i].couldTake(j, i) {
			return true
		}
	}
	return false
}

// Submit makes j wait; its age counts from its submit time. The machine keeps j
// and notes its promise there.
func (m *Machine) Submit(j *Job) {
	m.b.waits = append(m.b.waits, m.b.newWaiting(j, j.Submit))
}

// End ends a job that runs on host; end is when it was believed to end:
// its start plus its estimate.
func (m *Machine) End(host int, id int64, end Time) { m.b.vacate(host, id, end) }

// Waiting is how many jobs wait.
func (m *Machine) Waiting() int { return len(m.b.waits) }

// Looked is how many decisions on jobs were taken so far.
func (m *Machine) Looked() int64 { return m.b.looked }

// Pass decides what starts at now and tells start of each, in order, and
// promise, unless it is nil, of each job whose start is promised anew.
func (m *Machine) Pass(now Time, start func(j *Job, host int), promise func(j *Job)) {
	b := m.b
	b.now = now
	b.pass()
	for _, wi := range b.starts {
		w := &b.waits[wi]
		w.gone = true
		start(w.job, int(w.host))
	}
	kept := b.waits[:0]
	for i := range b.waits {
		w := &b.waits[i]
		if w.gone {
			continue
		}
		first := !w.job.Promise.Made
		w.job.Promise = b.promise(w)
		if first && w.job.Promise.Made && promise != nil {
			promise(w.job)
		}
		kept = append(kept, *w)
	}
	clear(b.waits[len(kept):])
	b.waits = kept
}

// promise is what may be promised to w after a pass.
func (b *board) promise(w *waiting) Promise {
	if w.fate != reserved || !b.policy.Firm || b.policy.NPlus1 || len(w.job.Near) > 0 {
		return Promise{}
	}
	if !b.matured(w) && !w.job.Promise.Made && !w.urgent {
		return Promise{}
	}
	at := w.at
	if w.urgent {
		at = b.now + leaveTime
	}
	return Promise{Made: true, At: at, Host: int(w.host)}
}

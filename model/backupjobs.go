package model

import (
	"context"
	"errors"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// How hosts are asked for the jobs that their domains are under, while a
// screen of backups is shown.
const (
	hostJobsDeadline = 5 * time.Second
	hostJobsEvery    = 2 * time.Second
	hostJobsIdle     = 6 * time.Second // while there are none, or the host does not answer
)

// hostJobs are the jobs of libvirt's that domains are under, whoever started
// them, by host.
type hostJobs struct {
	byHost map[string]*jobsOfHost
	gen    int // answers and ticks of an earlier visit are dropped
}

type jobsOfHost struct {
	jobs  []backend.DomainJob
	rates map[RowKey]*JobRates
	err   error
}

// JobRates are what is seen of a job's rate while a screen of backups is shown:
// libvirt tells at most the one of this moment.
type JobRates struct {
	Mean  int64   // bytes a second since it was first seen; 0: not known yet
	Spark []int64 // the last ones, the latest at the end
	first backend.DomainJob
	at    time.Time // of the last reading
}

// jobRatesMost is how many rates of a job are remembered.
const jobRatesMost = 60

type (
	hostJobsMsg struct {
		gen  int
		host string
		jobs []backend.DomainJob
		err  error
	}
	hostJobsTick struct {
		gen  int
		host string
	}
)

func (h *hostJobs) init() { h.byHost = map[string]*jobsOfHost{} }

// askJobs asks every host that can tell, and goes on as long as a screen of
// backups is shown.
func (s *Backups) askJobs() tea.Cmd {
	s.jobs.gen++
	var cmds []tea.Cmd
	for _, h := range s.fleet.hosts {
		cmds = append(cmds, s.askJobsOf(h))
	}
	return tea.Batch(cmds...)
}

func (s *Backups) askJobsOf(h *HostState) tea.Cmd {
	w, ok := h.Host.(backend.JobWatcher)
	if !ok {
		return nil
	}
	name := h.Host.Name()
	if h.Err != nil { // the fleet finds out when it answers again
		delete(s.jobs.byHost, name)
		return s.clock.After(hostJobsIdle, hostJobsTick{s.jobs.gen, name})
	}
	of := s.jobs.byHost[name]
	if of == nil {
		of = &jobsOfHost{}
		s.jobs.byHost[name] = of
	}
	gen, parent := s.jobs.gen, s.ctx
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, hostJobsDeadline)
		defer cancel()
		jobs, err := w.DomainJobs(ctx)
		return hostJobsMsg{gen: gen, host: name, jobs: jobs, err: err}
	}
}

func (s *Backups) onHostJobs(msg tea.Msg) (changed bool, cmd tea.Cmd) {
	switch m := msg.(type) {
	case hostJobsTick:
		h := s.fleet.HostState(m.host)
		if m.gen != s.jobs.gen || !s.shown || h == nil {
			return false, nil
		}
		return false, s.askJobsOf(h)
	case hostJobsMsg:
		of := s.jobs.byHost[m.host]
		if m.gen != s.jobs.gen || of == nil || errors.Is(m.err, context.Canceled) {
			return false, nil
		}
		of.err = m.err
		if m.err == nil {
			derive(of.jobs, m.jobs)
			of.jobs, of.rates = m.jobs, watchRates(of.rates, m.jobs)
		}
		s.rebuildTransfers()
		if !s.shown {
			return true, nil
		}
		wait := hostJobsEvery
		if m.err != nil || len(m.jobs) == 0 {
			wait = hostJobsIdle
		}
		return true, s.clock.After(wait, hostJobsTick{m.gen, m.host})
	}
	return false, nil
}

// derive works out the rates that libvirt does not tell from two readings.
func derive(was, is []backend.DomainJob) {
	for i := range is {
		j := &is[i]
		for k := range was {
			w := &was[k]
			if jobKey(w) != jobKey(j) || !w.Since.Equal(j.Since) || j.Rate > 0 {
				continue
			}
			if span, ok := elapsed(w.At, j.At); ok && j.Done >= w.Done {
				j.Rate = uint64(float64(j.Done-w.Done) / span)
			}
		}
	}
}

// watchRates adds a reading of jobs to what was seen of their rates, and
// forgets those that are over.
func watchRates(was map[RowKey]*JobRates, jobs []backend.DomainJob) map[RowKey]*JobRates {
	is := make(map[RowKey]*JobRates, len(jobs))
	for i := range jobs {
		j := &jobs[i]
		r := was[jobKey(j)]
		if r == nil || !r.first.Since.Equal(j.Since) || j.Done < r.first.Done {
			r = &JobRates{first: *j}
		}
		if span, ok := elapsed(r.first.At, j.At); ok && j.At.After(r.at) {
			r.Mean = int64(float64(j.Done-r.first.Done) / span)
			r.Spark = append(r.Spark, int64(min(j.Rate, 1<<62)))
			r.Spark, r.at = r.Spark[max(0, len(r.Spark)-jobRatesMost):], j.At
		}
		is[jobKey(j)] = r
	}
	return is
}

// HostTroubles are the hosts that could not say which jobs are under way, and
// why, by name.
func (s *Backups) HostTroubles() map[string]error {
	out := map[string]error{}
	for name, of := range s.jobs.byHost {
		if of.err != nil && !errors.Is(of.err, backend.ErrUnsupported) {
			out[name] = of.err
		}
	}
	return out
}

// abortJob asks whether a job of somebody else is to be ended.
func (a *App) abortJob(j backend.DomainJob) tea.Cmd {
	c := Confirm{Title: "End the " + j.Kind + " of " + backend.Clean(j.Name) + "?", Yes: "End it", Danger: true,
		Body: []string{"Berth did not start it: whoever did will see it fail, and what it has written so far may be of no use. " + jobLoss(j.Kind)}}
	if j.Mine {
		c.Body = []string{"It is berth's own, of an engine that this session does not see: that backup fails, and is tried again or not as its schedule says."}
	}
	c.Names = []string{j.Kind + " of " + j.Name + onDisk(j.Disk) + " on " + j.Host}
	c.OnYes = func(a *App, _ *Confirm) tea.Cmd { return a.abortJobNow(j) }
	a.Push(newConfirm(c))
	return nil
}

func onDisk(disk string) string {
	if disk == "" {
		return ""
	}
	return ", disk " + disk
}

// jobLoss is what ending a job costs.
func jobLoss(kind string) string {
	switch kind {
	case "migration":
		return "The guest goes on where it is."
	case "save", "dump":
		return "The guest goes on; the file is not complete."
	case "block-commit", "block-pull":
		return "The images stay as they are so far, which is a valid chain."
	case "block-copy":
		return "The guest stays on the image that it has; the copy is of no use."
	}
	return "The guest goes on."
}

func (a *App) abortJobNow(j backend.DomainJob) tea.Cmd {
	h := a.Fleet.HostState(j.Host)
	if h == nil {
		return a.Warn(j.Host + " is not connected any more")
	}
	w, ok := h.Host.(backend.JobWatcher)
	if !ok {
		return a.Warn(j.Host + ": " + backend.ErrUnsupported.Error())
	}
	record := a.recorder(backend.Key{Host: j.Host, UUID: j.VM}, j.Name, "job abort", j.Kind+onDisk(j.Disk))
	parent := a.ctx
	return tea.Batch(a.Info("ending the "+j.Kind+" of "+j.Name), func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, requestDeadline)
		defer cancel()
		err := w.AbortDomainJob(ctx, j)
		auditErr := record(err)
		return result(func(a *App) tea.Cmd { return a.jobAborted(j, err, auditErr) })
	})
}

func (a *App) jobAborted(j backend.DomainJob, err, auditErr error) tea.Cmd {
	cmds := []tea.Cmd{a.auditFailed(auditErr), a.Backups.askJobs()}
	if err != nil {
		return tea.Batch(append(cmds, a.Bad(err.Error()))...)
	}
	text := j.Kind + " of " + j.Name + onDisk(j.Disk) + ": ended"
	a.Events.Add(LogEntry{At: a.clock.Now(), Host: j.Host, VM: j.Name, Key: backend.Key{Host: j.Host, UUID: j.VM}, Level: LevelOK, Kind: "backup", Text: text})
	return tea.Batch(append(cmds, a.OK(text))...)
}

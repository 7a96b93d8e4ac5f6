package cli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"berth/backend"
	"berth/backend/audit"
	"berth/backend/engine"
	"berth/backend/store"
)

// standbyStep is how often an engine that waits for another's end looks.
const standbyStep = 2 * time.Second

// RunEngine runs the engine over the state folder. It is what Program.Engine
// is in the real program.
func RunEngine(ctx context.Context, o EngineOptions) (err error) {
	s, err := openStore(ctx, o.Config.Paths)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Check(ctx); err != nil { // what is damaged must not start VMs
		return err
	}
	specs, err := hostSpecs(ctx, s, o.Hosts)
	if err != nil {
		return err
	}
	opt := engineOptions(s, o, specs)
	if opt.Beside, err = backupManager(s, o, specs); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	logged := make(chan struct{})
	go func() { defer close(logged); logEvents(ctx, engine.NewClient(engine.ClientOptions{Store: s}), o.Log) }()
	defer func() { cancel(); <-logged }()
	defer func() { o.Log.Info("the engine ends; no VM is touched by that", "why", endReason(ctx, err)) }()
	return runTillIdle(ctx, s, opt, o.Log)
}

// runTillIdle runs engines one after the other until there is nothing to do.
func runTillIdle(ctx context.Context, s *store.Store, opt engine.Options, log *slog.Logger) error {
	waits := false
	for {
		err := runOnce(ctx, opt)
		if ctx.Err() != nil {
			return nil
		}
		var held *engine.HeldError
		switch {
		case errors.As(err, &held) && opt.Idle == 0:
			if !waits {
				waits = true
				log.Info("waiting for the end of another engine", "pid", held.By.PID)
			}
			if pause(ctx, standbyStep) != nil {
				return nil
			}
		case err != nil:
			return err
		default:
			// A job that was submitted while the engine came to its end was told
			// that one runs.
			if more, err := anythingToDo(ctx, s); err != nil || !more {
				return err
			}
		}
	}
}

// endReason says in a word why an engine ends.
func endReason(ctx context.Context, err error) string {
	switch {
	case err != nil:
		return "an error"
	case ctx.Err() != nil:
		return context.Cause(ctx).Error()
	}
	return "nothing to do"
}

func runOnce(ctx context.Context, opt engine.Options) error {
	e, err := engine.New(opt)
	if err != nil {
		return err
	}
	return e.Run(ctx)
}

func engineOptions(s *store.Store, o EngineOptions, specs []engine.HostSpec) engine.Options {
	q := &o.Config.Queue
	return engine.Options{
		Store: s, Connect: o.Connect, Hosts: specs, Limits: Limits(o.Config), Policy: q.Policy,
		Lock: lockFile(o.Config.Paths), Trail: audit.Open(o.Config.Paths.AuditFile, o.Env),
		Idle: o.Idle, StopGrace: atOnce(q.StopGrace), SaveGrace: atOnce(q.SaveGrace), LostGrace: atOnce(q.LostGrace), Keep: q.Keep,
	}
}

// atOnce is a grace period for the engine, which takes 0 for its own default.
func atOnce(d time.Duration) time.Duration { return max(d, time.Nanosecond) }

// hostSpecs names the hosts for the queue. One that it knows by its address
// keeps the name that it has there; those that may not be changed stay out.
func hostSpecs(ctx context.Context, s *store.Store, hosts []backend.Host) ([]engine.HostSpec, error) {
	var known []backend.QueueHost
	err := s.View(ctx, func(tx *store.Tx) (err error) { known, err = tx.Hosts(); return err })
	if err != nil {
		return nil, err
	}
	var specs []engine.HostSpec
	for _, h := range hosts {
		if h.ReadOnly() {
			continue
		}
		spec := engine.HostSpec{Name: h.Name(), URI: h.URI()}
		for _, k := range known {
			if k.URI == spec.URI {
				spec.Name = k.Name
			}
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// anythingToDo reports whether anything is there that an engine would work on.
func anythingToDo(ctx context.Context, s *store.Store) (bool, error) {
	var jobs []backend.Job
	err := s.View(ctx, func(tx *store.Tx) (err error) { jobs, err = tx.Jobs(store.Filter{Active: true}); return err })
	if err != nil {
		return false, err
	}
	for i := range jobs {
		if st := jobs[i].State; st != backend.JobHeld && st != backend.JobError {
			return true, nil
		}
	}
	return backupsToDo(ctx, s)
}

// logEvents writes what happens in the queue to the log, until ctx ends, once
// this process has become its engine.
func logEvents(ctx context.Context, q backend.Queue, log *slog.Logger) {
	f := &eventLog{q: q, log: log}
	for ctx.Err() == nil {
		revision, err := f.follow(ctx)
		if err == nil {
			err = q.Wait(ctx, revision)
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("the queue's log cannot be read", "err", err)
			if pause(ctx, standbyStep) != nil {
				return
			}
		}
	}
}

// eventLog is how far the queue's events were written to a log.
type eventLog struct {
	q       backend.Queue
	log     *slog.Logger
	begun   bool
	query   backend.LogQuery
	trouble string
}

// follow writes what is new, and returns the revision that it has seen.
func (f *eventLog) follow(ctx context.Context) (revision int64, err error) {
	st, err := f.q.State(ctx)
	if err != nil || !st.Engine.Running || st.Engine.PID != os.Getpid() {
		return st.Revision, err
	}
	if !f.begun {
		f.begun, f.query.Since = true, st.Engine.Since
		f.log.Info("the engine runs the queue", "pid", st.Engine.PID, "hosts", len(st.Hosts), "jobs", len(st.Jobs))
	}
	if st.Engine.Trouble != f.trouble {
		if f.trouble = st.Engine.Trouble; f.trouble != "" {
			f.log.Warn(f.trouble)
		}
	}
	f.query.After, err = logNew(ctx, f.q, f.query, f.log)
	return st.Revision, err
}

// logNew writes the events after query.After and returns the last one's number.
func logNew(ctx context.Context, q backend.Queue, query backend.LogQuery, log *slog.Logger) (last int64, err error) {
	events, err := q.Log(ctx, query)
	last = query.After
	for i := range events {
		e := &events[i]
		attrs := []any{}
		for _, a := range []struct{ key, value string }{{"vm", e.Name}, {"host", e.Host}, {"by", e.Who}, {"detail", e.Detail}} {
			if a.value != "" {
				attrs = append(attrs, a.key, a.value)
			}
		}
		if e.Job != 0 {
			attrs = append([]any{"job", int64(e.Job)}, attrs...)
		}
		log.Info(e.What, attrs...)
		last = max(last, e.ID)
	}
	return last, err
}

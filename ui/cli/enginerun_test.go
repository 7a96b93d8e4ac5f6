package cli

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/demo"
	"berth/model/config"
)

// openHost is a host that outlives whoever closes it.
type openHost struct{ backend.Host }

func (openHost) Close() error { return nil }

// engineBench is a state folder, a demo's host, and what an engine logs.
type engineBench struct {
	config *config.Config
	host   backend.Host
	off    backend.VM // one that can be started

	mu  sync.Mutex
	log bytes.Buffer
}

func newEngineBench(t *testing.T) *engineBench {
	t.Helper()
	dir := t.TempDir()
	c, err := config.Load(config.Options{Paths: config.Paths{StateDir: dir, AuditFile: filepath.Join(dir, "audit.jsonl")}})
	if err != nil {
		t.Fatal(err)
	}
	c.Queue.StopGrace = time.Second
	b := &engineBench{config: c, host: demo.New(demo.Options{Seed: 1, Hosts: 1, VMs: 1, Batch: 6, Calm: true}).Hosts()[0]}
	t.Cleanup(func() {
		if err := b.host.Close(); err != nil {
			t.Error(err)
		}
	})
	p, err := b.host.Poll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, vm := range p.VMs {
		if vm.State == backend.Shutoff && vm.Persistent && !vm.ManagedSave {
			b.off = vm
		}
	}
	if b.off.Name == "" {
		t.Fatal("the demo has no VM to start")
	}
	return b
}

func (b *engineBench) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

func (b *engineBench) logged() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

// run runs an engine until ctx ends or it is idle.
func (b *engineBench) run(ctx context.Context, idle time.Duration) <-chan error {
	ended := make(chan error, 1)
	go func() {
		ended <- RunEngine(ctx, EngineOptions{
			Config: b.config, Hosts: []backend.Host{b.host}, Idle: idle, Log: slog.New(newLogHandler(b, false)), Env: func(string) string { return "" },
			Connect: func(name, uri string) (backend.Host, error) {
				if name != b.host.Name() || uri != b.host.URI() {
					return nil, errors.New("asked for another host: " + name + " at " + uri)
				}
				return openHost{b.host}, nil
			},
		})
	}()
	return ended
}

func (b *engineBench) open(t *testing.T, ensure func(context.Context, func(context.Context) (bool, error)) error) backend.Queue {
	t.Helper()
	q, err := OpenQueue(t.Context(), QueueOptions{
		Config: b.config, Fleet: func() []backend.Host { return []backend.Host{b.host} }, Env: func(string) string { return "" }, Ensure: ensure,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	return q
}

// until waits until the queue is as wanted.
func until(t *testing.T, q backend.Queue, what string, wanted func(*backend.QueueState) bool) backend.QueueState {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		st, err := q.State(ctx)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if wanted(&st) {
			return st
		}
		// The engine's end is no change of the store, so look now and then anyway.
		look, stop := context.WithTimeout(ctx, 100*time.Millisecond)
		err = q.Wait(look, st.Revision)
		stop()
		if err != nil && ctx.Err() != nil {
			t.Fatalf("%s: never; %+v", what, st)
		}
	}
}

func inState(states ...backend.JobState) func(*backend.QueueState) bool {
	return func(st *backend.QueueState) bool {
		for _, s := range states {
			if len(st.Jobs) == 1 && st.Jobs[0].State == s {
				return true
			}
		}
		return false
	}
}

// A job brings up an engine, which starts it, does as it is told, and ends
// when there is nothing left.
func TestAJobFromItsSubmissionToTheEnginesEnd(t *testing.T) {
	b := newEngineBench(t)
	var ended <-chan error
	var q backend.Queue
	q = b.open(t, func(ctx context.Context, running func(context.Context) (bool, error)) error {
		if up, err := running(ctx); up || err != nil {
			return err
		}
		ended = b.run(t.Context(), 10*time.Millisecond)
		until(t, q, "the engine runs", func(st *backend.QueueState) bool { return st.Engine.Running })
		return nil
	})
	ids, err := q.Submit(t.Context(), []backend.JobSpec{{VM: b.off.Key(), Name: b.off.Name, Priority: 60}})
	if err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	st := until(t, q, "it runs", inState(backend.JobRunning))
	if j := st.Jobs[0]; j.RunsOn != b.host.Name() || j.Owner == "" || len(st.Hosts) != 1 || st.Hosts[0].URI != b.host.URI() {
		t.Errorf("%+v on %+v", j, st.Hosts)
	}
	if err := q.Change(t.Context(), ids, backend.JobChange{Cancel: true, Force: true}); err != nil {
		t.Fatal(err)
	}
	until(t, q, "it is cancelled", inState(backend.JobCancelled))
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the engine does not end though nothing is left")
	}
	log := b.logged()
	for _, want := range []string{"INFO  the engine runs the queue", "INFO  starting job=1 vm=" + b.off.Name, "INFO  started job=1", `INFO  the engine ends; no VM is touched by that why="nothing to do"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
}

// An engine that is to stay waits for the end of another; one that is not ends.
func TestTwoEngines(t *testing.T) {
	b := newEngineBench(t)
	q := b.open(t, nil)
	first, endFirst := context.WithCancel(t.Context())
	defer endFirst()
	one := b.run(first, 0)
	until(t, q, "the first runs", func(st *backend.QueueState) bool { return st.Engine.Running })
	if err := <-b.run(t.Context(), time.Hour); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("the second: %v", err)
	}
	second, endSecond := context.WithCancel(t.Context())
	defer endSecond()
	two := b.run(second, 0)
	for !strings.Contains(b.logged(), "waiting for the end of another engine") {
		if err := pause(t.Context(), 5*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	since := until(t, q, "the first runs", func(st *backend.QueueState) bool { return st.Engine.Running }).Engine.Since
	endFirst()
	if err := <-one; err != nil {
		t.Error(err)
	}
	until(t, q, "the second runs", func(st *backend.QueueState) bool { return st.Engine.Running && st.Engine.Since.After(since) })
	endSecond()
	if err := <-two; err != nil {
		t.Error(err)
	}
}

func TestAQueueWithoutAPlaceSaysSo(t *testing.T) {
	_, err := OpenQueue(t.Context(), QueueOptions{Config: &config.Config{}, Env: func(string) string { return "" }})
	if err == nil || !strings.Contains(err.Error(), "XDG_STATE_HOME") || backend.Hint(err) == "" {
		t.Error(err)
	}
	if err := RunEngine(t.Context(), EngineOptions{Config: &config.Config{}}); err == nil || !strings.Contains(err.Error(), "XDG_STATE_HOME") {
		t.Error(err)
	}
}

func TestLimitsAreTheConfigs(t *testing.T) {
	c := &config.Config{Settings: config.Defaults()}
	fence := "ipmitool -H $BERTH_HOST chassis power off"
	c.Queue.Hosts = map[string]config.HostOverrides{"hv1": {Fence: &fence}}
	l := Limits(c)("hv1")
	if l.CPUOvercommit != 4 || l.MemoryOvercommit != 1 || l.MemoryReserve != 512<<20 || l.MemoryPercent != 5 || l.DiskReserve != 5 || strings.Join(l.Fence, " ") != "/bin/sh -c "+fence {
		t.Errorf("%+v", l)
	}
	if l := Limits(c)("hv2"); l.Fence != nil {
		t.Errorf("%+v", l)
	}
}

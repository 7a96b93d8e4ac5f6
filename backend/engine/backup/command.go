package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"berth/backend"
	"berth/backend/store"
)

// Outcome is what a schedule's command gets, as JSON on its standard input.
type Outcome struct {
	Schedule  int64             `json:"schedule"`
	Name      string            `json:"name,omitempty"`
	Repo      string            `json:"repo"`
	Started   time.Time         `json:"started"`
	Ended     time.Time         `json:"ended"`
	OK        bool              `json:"ok"`
	Bad       []string          `json:"bad,omitempty"`
	Missed    int               `json:"missed,omitempty"` // runs that this one caught up
	Transfers []OutcomeTransfer `json:"transfers"`
}

// OutcomeTransfer is one transfer of an Outcome.
type OutcomeTransfer struct {
	ID    backend.TransferID    `json:"id"`
	Kind  backend.TransferKind  `json:"kind"`
	VM    string                `json:"vm,omitempty"`
	UUID  string                `json:"uuid,omitempty"`
	Host  string                `json:"host,omitempty"`
	State backend.TransferState `json:"state"`
	Words string                `json:"words,omitempty"`
	Point string                `json:"point,omitempty"`
	Read  int64                 `json:"read"`   // bytes
	New   int64                 `json:"new"`    // bytes that the repository did not have
	Took  float64               `json:"took_s"` // seconds
}

func outcomeOf(s *backend.Schedule, r *round, now time.Time, transfers []backend.Transfer) Outcome {
	o := Outcome{Schedule: s.ID, Name: s.Name, Repo: s.Repo.URL, Started: r.At, Ended: now, OK: len(r.Bad) == 0, Bad: r.Bad, Missed: r.Missed}
	for _, x := range transfers {
		t := OutcomeTransfer{ID: x.ID, Kind: x.Spec.Kind, VM: x.Spec.Name, Host: x.Spec.VM.Host, State: x.State, Words: x.Words, Point: x.Point,
			Read: x.Progress.Done, New: x.Progress.New}
		if !x.Spec.VM.UUID.IsZero() {
			t.UUID = x.Spec.VM.UUID.String()
		}
		if !x.Started.IsZero() {
			t.Took = x.Ended.Sub(x.Started).Seconds()
		}
		o.Transfers = append(o.Transfers, t)
	}
	return o
}

const (
	// commandDeadline is how long a schedule's command may take.
	commandDeadline = 5 * time.Minute
	// commandOutput is how much of what it says is kept.
	commandOutput = 4 << 10
)

// command tells a schedule's command of a run's outcome, unless that is under
// way, and ends the run. When the engine ends first the next one tells it anew:
// rather twice than not at all.
func (m *Manager) command(ctx context.Context, s backend.Schedule, r round) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.telling[s.ID] {
		return
	}
	m.telling[s.ID] = true
	m.work.Go(func() {
		err := m.tellCommand(ctx, &s, &r)
		if ctx.Err() == nil {
			err = m.told(ctx, &s, err)
		}
		m.mu.Lock()
		delete(m.telling, s.ID)
		m.mu.Unlock()
		if err == nil {
			m.wakeUp()
		}
	})
}

func (m *Manager) tellCommand(ctx context.Context, s *backend.Schedule, r *round) error {
	var transfers []backend.Transfer
	err := m.o.Store.View(ctx, func(tx *store.Tx) (err error) {
		transfers, err = tx.Transfers(store.TransferFilter{IDs: append([]backend.TransferID{}, r.All...)})
		return err
	})
	if err != nil {
		return err
	}
	return runCommand(ctx, s.Command, outcomeOf(s, r, r.Ended, transfers), commandDeadline)
}

// told ends a run whose command was told, and notes what went wrong with that.
func (m *Manager) told(ctx context.Context, s *backend.Schedule, failed error) error {
	return m.update(ctx, func(tx *store.Tx) error {
		kept, err := tx.Schedule(s.ID)
		if errors.Is(err, backend.ErrInvalid) {
			return nil // it was removed meanwhile
		}
		if err != nil || failed == nil {
			return errors.Join(err, putRound(tx, s.ID, round{}))
		}
		kept.LastBad = strings.TrimPrefix(kept.LastBad+"; "+words(failed), "; ")
		_, err = tx.PutSchedule(kept)
		return errors.Join(err, putRound(tx, s.ID, round{}), tx.AddEvent(scheduleEvent(s, m.o.Clock.Now(), "command failed", words(failed))))
	})
}

func runCommand(ctx context.Context, command string, o Outcome, deadline time.Duration) error {
	in, err := json.Marshal(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command) // a person's own words, as a shell takes them
	cmd.Stdin = bytes.NewReader(append(in, '\n'))
	out := &tailBuffer{most: commandOutput}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), fmt.Sprintf("BERTH_OK=%t", o.OK), "BERTH_SCHEDULE="+o.Name)
	// With all that it began: a shell's children would hold the output open.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: it did not end in %v", backend.ErrTimeout, deadline)
	}
	if err == nil {
		return nil
	}
	if said := strings.TrimSpace(out.String()); said != "" {
		err = errors.Join(err, errors.New(said))
	}
	return &backend.OpError{Op: "run the schedule's command", Err: err}
}

// tailBuffer keeps the last bytes of what is written to it.
type tailBuffer struct {
	most int
	b    []byte
}

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > t.most {
		t.b = append([]byte(nil), t.b[len(t.b)-t.most:]...)
	}
	return len(p), nil
}

func (t *tailBuffer) String() string { return string(t.b) }

package libvirt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

const (
	// agentPatience is how long libvirt lets the agent take for one command.
	agentPatience = 10 * time.Second
	// frozenMost is how long a guest may stand frozen: what is under way then
	// is finished without.
	frozenMost = 10 * time.Second
	// thawWait bounds one attempt to thaw, and thawEvery parts them.
	thawWait  = 15 * time.Second
	thawEvery = time.Second
	// noteName is the file that says that a guest is frozen, in the folder that
	// libvirt has for the domain while it runs.
	noteName = "berth-frozen.json"
	// agentForever is VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK, with which libvirt
	// starts a domain.
	agentForever = -2
)

// note is the content of that file.
type note struct {
	VM    string    `json:"vm"`
	Since time.Time `json:"since"`
}

// freezer keeps a guest's file systems frozen for a moment. Three things see to
// it that they are thawed: this process, which tries until it succeeds; a
// program on the host, which acts when this process or the connection is gone;
// and a note there, by which whoever comes later finds the guest.
type freezer struct {
	s     *subject
	m     dial.Machine
	dir   string // the domain's folder
	guard *dial.Guard
	began time.Time
}

// freeze freezes the guest. When it returns an error nothing is frozen, or
// what may be is being thawed.
func (s *subject) freeze(ctx context.Context, m dial.Machine, dir string) (*freezer, error) {
	if configured, connected := s.xml.Devices.agent(); !configured || !connected {
		return nil, fmt.Errorf("%w: none is connected", backend.ErrNoAgent)
	}
	if stateOf(s.state) != backend.Running {
		return nil, fmt.Errorf("%w: the VM is %s", backend.ErrNoAgent, stateOf(s.state))
	}
	f := &freezer{s: s, m: m, dir: dir}
	if err := f.after(ctx); err != nil {
		return nil, err
	}
	var err error
	f.guard, err = m.Guard(ctx, "virsh", "-q", "-c", s.h.target.Driver(), "domfsthaw", s.uuid().String())
	if err != nil && (ctx.Err() != nil || !errors.Is(err, backend.ErrUnsupported)) { // without virsh the note must do
		return nil, err
	}
	if err := f.write(ctx); err != nil {
		f.dismiss()
		return nil, fmt.Errorf("a note that it is frozen cannot be left on the host: %w", onFile(err))
	}
	f.patience(ctx, int32(agentPatience/time.Second))
	f.began = s.h.now()
	if err := f.command(ctx); err != nil {
		f.giveUp(ctx, err)
		return nil, err
	}
	return f, nil
}

func (s *subject) uuid() backend.UUID { return backend.UUID(s.dom.UUID) }

// after thaws what an earlier backup left frozen.
func (f *freezer) after(ctx context.Context) error {
	if _, err := f.m.Stat(ctx, f.note()); err != nil {
		return nil // none, as a rule; where it cannot be told writing it fails
	}
	if err := f.s.thaw(ctx); err != nil {
		return fmt.Errorf("an earlier backup left it frozen, and it cannot be thawed: %w", coded(err))
	}
	return f.m.Remove(ctx, f.note())
}

func (f *freezer) note() string { return path.Join(f.dir, noteName) }

func (f *freezer) write(ctx context.Context) error {
	b, err := json.Marshal(note{f.s.uuid().String(), f.s.h.now()})
	if err != nil {
		return err
	}
	return f.m.WriteFile(ctx, f.note(), b, 0o600, -1, -1)
}

// patience sets how long libvirt waits for the agent. Versions before 5.10
// cannot; then only this process's own deadlines hold.
func (f *freezer) patience(ctx context.Context, seconds int32) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), questionWait)
	defer cancel()
	_, _ = ask(ctx, f.s.h.backup, func(lv *libvirt.Libvirt) (int32, error) {
		return lv.DomainAgentSetResponseTimeout(f.s.dom, seconds, 0)
	})
}

func (f *freezer) command(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, agentPatience+5*time.Second) // 5: the agent's greeting
	defer cancel()
	_, err := tell(ctx, f.s.h.backup, func(lv *libvirt.Libvirt) (int32, error) {
		return lv.DomainFsfreeze(f.s.dom, nil, 0)
	})
	return coded(err)
}

// giveUp is for a freeze that failed: what may be frozen all the same is thawed.
func (f *freezer) giveUp(ctx context.Context, err error) {
	if refused(err) {
		f.forget(ctx)
		return
	}
	f.thaw(ctx) //nolint:errcheck // it goes on by itself
}

// refused reports whether a freeze failed so that nothing is frozen, or by
// somebody else: the agent said no, or it was never asked. One that went away
// in the midst of it may have frozen everything.
func refused(err error) bool {
	var d *daemonError
	if !errors.As(err, &d) || strings.Contains(err.Error(), "disappeared") || strings.Contains(err.Error(), "reply object") {
		return false
	}
	return d.code == libvirt.ErrAgentCommandFailed || d.code == libvirt.ErrAgentUnresponsive || d.code == libvirt.ErrInternalError || d.kind == backend.ErrUnsupported
}

// thaw ends it and returns how long it lasted. When the guest does not answer
// it goes on trying in the background, and the guard on the host does as well.
func (f *freezer) thaw(ctx context.Context) (frozen time.Duration, err error) {
	err = f.s.thaw(context.WithoutCancel(ctx))
	frozen = f.s.h.now().Sub(f.began)
	if err == nil || nothingFrozen(err) {
		f.forget(ctx)
		return frozen, nil
	}
	if f.guard != nil {
		f.guard.Release()
	}
	f.s.h.spawn(func() {
		if f.s.h.untilThawed(f.s) {
			f.forget(context.Background())
		}
	})
	return frozen, coded(err)
}

// thaw is one attempt.
func (s *subject) thaw(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, thawWait)
	defer cancel()
	_, err := ask(ctx, s.h.backup, func(lv *libvirt.Libvirt) (int32, error) { return lv.DomainFsthaw(s.dom, nil, 0) })
	return err
}

// nothingFrozen reports whether a thaw failed because the domain is off. That
// its agent does not answer is another matter.
func nothingFrozen(err error) bool {
	return gone(err) || hasCode(err, libvirt.ErrOperationInvalid) && !errors.Is(coded(err), backend.ErrNoAgent)
}

// untilThawed tries until it succeeds, the domain is off, or the Host is closed.
func (h *Host) untilThawed(s *subject) bool {
	tick := time.NewTicker(thawEvery)
	defer tick.Stop()
	for {
		select {
		case <-h.life.Done():
			return false
		case <-tick.C:
		}
		err := s.thaw(h.life)
		if err == nil || nothingFrozen(err) {
			return true
		}
	}
}

// forget removes the note, dismisses the guard and gives libvirt its patience back.
func (f *freezer) forget(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), questionWait)
	defer cancel()
	f.dismiss()
	_ = f.m.Remove(ctx, f.note()) // one that stays costs a thaw too many
	f.patience(ctx, agentForever)
}

func (f *freezer) dismiss() {
	if f.guard != nil {
		f.guard.Dismiss()
	}
}

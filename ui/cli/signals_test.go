package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"berth/backend"
)

// interruptible is a host during whose calls a signal can arrive.
type interruptible struct {
	*fakeHost
	during func(ctx context.Context) error // of Do, before it answers
	after  func()                          // of Do, once it has answered
}

func (h *interruptible) Do(ctx context.Context, a backend.Action) error {
	if err := h.during(ctx); err != nil {
		return err
	}
	defer h.after()
	return h.fakeHost.Do(ctx, a)
}

// interrupt runs a command line that a signal ends while its verb is carried
// out, or waited for.
func interrupt(t *testing.T, s syscall.Signal, waiting bool, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	hit := func() { cancel(&SignalError{Signal: s}) }
	var out, errs bytes.Buffer
	p := testProgram(args, func(string) string { return "" })
	p.Stdin, p.Stdout, p.Stderr = strings.NewReader(""), &out, &errs
	p.Connect = func(s HostSpec) (backend.Host, error) {
		h, err := newFake(s)
		if err != nil {
			return nil, err
		}
		i := &interruptible{fakeHost: h.(*fakeHost), during: func(context.Context) error { return nil }, after: func() {}}
		if waiting {
			i.after = hit
		} else {
			i.during = func(ctx context.Context) error { hit(); <-ctx.Done(); return ctx.Err() }
		}
		return i, nil
	}
	code = p.Run(ctx)
	return code, out.String(), errs.String()
}

func TestAWaitThatIsInterruptedSaysThatTheRequestStands(t *testing.T) {
	for s, want := range map[syscall.Signal]struct {
		code int
		name string
	}{syscall.SIGINT: {130, "SIGINT"}, syscall.SIGTERM: {143, "SIGTERM"}} {
		code, out, errs := interrupt(t, s, true, "vm", "shutdown", "-c", "fake://hv2", "deaf1")
		if code != want.code || out != "" {
			t.Errorf("%s: code %d, stdout %q", want.name, code, out)
		}
		if !strings.HasPrefix(errs, "berth: deaf1: interrupted by "+want.name+" after 0") || strings.Count(errs, "\n") != 1 ||
			!strings.Contains(errs, "while it was running: the request stands") || strings.Contains(errs, "1m0s") {
			t.Errorf("%s: stderr %q", want.name, errs)
		}
	}
}

func TestAVerbThatIsInterruptedClaimsNothing(t *testing.T) {
	code, out, errs := interrupt(t, syscall.SIGINT, false, "vm", "suspend", "-c", "fake://hv1", "web1")
	if code != 130 || out != "" || !strings.Contains(errs, "web1: interrupted by SIGINT after ") || !strings.Contains(errs, "may have been done or not") {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
	}
}

// What was interrupted before it began says only that.
func TestWhatIsInterruptedEarlySaysSo(t *testing.T) {
	for line, want := range map[string]string{
		"vm list -c fake://hv1":         "berth: interrupted by SIGTERM\n",
		"vm list":                       "berth: interrupted by SIGTERM\n",
		"vm show web1 -c fake://hv1":    "berth: interrupted by SIGTERM\n",
		"vm suspend web1 -c fake://hv1": "berth: interrupted by SIGTERM; nothing was done\n",
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(&SignalError{Signal: syscall.SIGTERM})
		var out, errs bytes.Buffer
		p := testProgram(strings.Fields(line), func(string) string { return "" })
		p.Stdin, p.Stdout, p.Stderr = strings.NewReader(""), &out, &errs
		if code := p.Run(ctx); code != 143 || out.String() != "" || errs.String() != want {
			t.Errorf("%s: code %d, stdout %q, stderr %q", line, code, out.String(), errs.String())
		}
	}
}

func TestAQuestionThatIsInterruptedDoesNothing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(&SignalError{Signal: syscall.SIGINT})
	r, w := io.Pipe()
	defer w.Close()
	if _, err := readLine(ctx, r); err == nil || err.Error() != "interrupted by SIGINT" {
		t.Errorf("got %v", err)
	}
}

func TestTheSignalIsTheCause(t *testing.T) {
	ctx, stop := WithSignals(t.Context(), syscall.SIGUSR1)
	defer stop()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if se := interruption(ctx); se == nil || se.Signal != syscall.SIGUSR1 || se.ExitCode() != 138 || !errors.Is(ctx.Err(), context.Canceled) {
		t.Errorf("cause %v", context.Cause(ctx))
	}
	quiet, stop := WithSignals(t.Context(), syscall.SIGUSR1)
	stop()
	if <-quiet.Done(); interrupted(quiet) != nil {
		t.Errorf("no signal came, but: %v", context.Cause(quiet))
	}
}

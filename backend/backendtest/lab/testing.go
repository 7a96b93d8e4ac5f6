package lab

import (
	"context"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Need skips a test on a machine that cannot run a lab: not root, or without
// libvirt and QEMU. With BERTH_LAB=1 in the environment, as make test sets it
// wherever the lab is meant to run, such a test fails instead; with
// BERTH_LAB=0 it is left out wherever it is.
func Need(t testing.TB) {
	t.Helper()
	switch want := os.Getenv("BERTH_LAB"); {
	case want == "0":
		t.Skip("left out: BERTH_LAB=0")
	case Missing() != nil && want == "1":
		t.Fatal(Missing())
	case Missing() != nil:
		t.Skip("left out: ", Missing())
	}
}

// T is a lab in a test: what goes wrong with the lab fails the test.
type T struct {
	testing.TB
	*Lab
}

// Start gives a test a lab of n hosts of its own, closed when the test ends.
func Start(t testing.TB, n int) T {
	t.Helper()
	Need(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	l, err := Up(ctx, "", n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return T{t, l}
}

var shared struct {
	sync.Mutex
	lab *Lab
}

// Shared gives a test the one-host lab that all tests of its binary share; a
// TestMain calls Main to close it. Tests keep to domains of their own.
func Shared(t testing.TB) T {
	t.Helper()
	Need(t)
	h, err := SharedHost()
	if err != nil {
		t.Fatal(err)
	}
	return T{t, h.lab}
}

// SharedHost is the host of the lab that Shared tells of.
func SharedHost() (*Host, error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.lab == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		l, err := Up(ctx, "", 1)
		if err != nil {
			return nil, err
		}
		shared.lab = l
	}
	return shared.lab.Host(1), nil
}

// Main runs the tests of a binary and closes the lab they shared; a TestMain
// passes the result to os.Exit.
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.lab == nil {
		return code
	}
	if err := shared.lab.Close(); err != nil {
		println(err.Error())
		code = max(code, 1)
	}
	shared.lab = nil
	return code
}

// context bounds what one step of a test, or of its cleaning up, may take.
func (l T) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(l.Context()), 3*time.Minute)
}

func (l T) check(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// Virsh runs virsh on host i, counted from 1, and returns its output.
func (l T) Virsh(i int, args ...string) string {
	l.Helper()
	ctx, cancel := l.context()
	defer cancel()
	out, err := l.Host(i).Virsh(ctx, args...)
	l.check(err)
	return out
}

// Define stores a guest on host i and returns its UUID; it is gone, with its
// disk, when the test ends.
func (l T) Define(i int, g Guest) string {
	l.Helper()
	return l.make(i, g, l.Host(i).Define)
}

// StartGuest defines and starts a guest on host i, waits until its OS is up
// if it has one, and returns its UUID; it is gone when the test ends.
func (l T) StartGuest(i int, g Guest) string {
	l.Helper()
	return l.make(i, g, l.Host(i).StartGuest)
}

func (l T) make(i int, g Guest, f func(context.Context, Guest) (string, error)) string {
	l.Helper()
	ctx, cancel := l.context()
	defer cancel()
	uuid, err := f(ctx, g)
	if uuid != "" {
		l.Cleanup(func() {
			if err := l.Host(i).Forget(context.Background(), uuid); err != nil {
				l.Error(err)
			}
		})
	}
	l.check(err)
	return uuid
}

// WaitGuestUp waits until the guest's OS has come up n times since its start.
func (l T) WaitGuestUp(i int, name string, n int) {
	l.Helper()
	ctx, cancel := l.context()
	defer cancel()
	l.check(l.Host(i).WaitGuestUp(ctx, name, n))
}

// StopQEMU makes a running domain's QEMU deaf; ContQEMU heals it.
func (l T) StopQEMU(i int, name string) { l.Helper(); l.signal(i, name, syscall.SIGSTOP) }

// ContQEMU undoes StopQEMU.
func (l T) ContQEMU(i int, name string) { l.Helper(); l.signal(i, name, syscall.SIGCONT) }

func (l T) signal(i int, name string, s syscall.Signal) {
	l.Helper()
	ctx, cancel := l.context()
	defer cancel()
	l.check(l.Host(i).Signal(ctx, name, s))
}

// RestartLibvirtd restarts host i's libvirtd; its guests run on.
func (l T) RestartLibvirtd(i int) {
	l.Helper()
	ctx, cancel := l.context()
	defer cancel()
	l.check(l.Host(i).RestartLibvirtd(ctx))
}

// Await waits until what is awaited has happened, at most d, and fails the
// test with what when it has not.
func (l T) Await(what string, d time.Duration, happened func() bool) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), d)
	defer cancel()
	if Await(ctx, happened) != nil {
		l.Fatalf("not within %v: %s", d, what)
	}
}

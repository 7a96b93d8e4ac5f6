package libvirt

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

func TestReasons(t *testing.T) {
	for _, c := range []struct {
		state, reason int32
		want          string
	}{
		{int32(libvirt.DomainRunning), int32(libvirt.DomainRunningBooted), "booted"},
		{int32(libvirt.DomainRunning), int32(libvirt.DomainRunningPostcopyFailed), "post-copy failed"},
		{int32(libvirt.DomainPaused), int32(libvirt.DomainPausedUser), "user"},
		{int32(libvirt.DomainPaused), int32(libvirt.DomainPausedIoerror), "I/O error"},
		{int32(libvirt.DomainPaused), int32(libvirt.DomainPausedAPIError), "api error"},
		{int32(libvirt.DomainShutdown), int32(libvirt.DomainShutdownUser), "user"},
		{int32(libvirt.DomainShutoff), int32(libvirt.DomainShutoffSaved), "saved"},
		{int32(libvirt.DomainShutoff), int32(libvirt.DomainShutoffDaemon), "daemon"},
		{int32(libvirt.DomainCrashed), int32(libvirt.DomainCrashedPanicked), "panicked"},
		{int32(libvirt.DomainRunning), 0, ""},
		{int32(libvirt.DomainRunning), 99, ""},
		{99, 1, ""}, {-1, 0, ""}, {1, -1, ""},
	} {
		if got := reasonOf(c.state, c.reason); got != c.want {
			t.Errorf("state %d reason %d is %q, want %q", c.state, c.reason, got, c.want)
		}
	}
	if stateOf(5) != backend.Shutoff || stateOf(99) != backend.NoState || stateOf(-1) != backend.NoState {
		t.Error("states are not libvirt's")
	}
}

func TestErrorsGetTheirSentinels(t *testing.T) {
	for _, c := range []struct {
		code  libvirt.ErrorNumber
		words string
		want  error
	}{
		{libvirt.ErrNoDomain, "Domain not found: no domain with matching uuid", backend.ErrNoDomain},
		{libvirt.ErrOperationInvalid, "Requested operation is not valid: domain is not running", backend.ErrState},
		{libvirt.ErrOperationInvalid, "domain with name 'g2' already exists", backend.ErrInvalid},
		{libvirt.ErrOperationDenied, "operation forbidden: read only access prevents virDomainDestroy", backend.ErrReadOnly},
		{libvirt.ErrOperationDenied, "operation forbidden for you", backend.ErrAuth},
		{libvirt.ErrOperationTimeout, "cannot acquire state change lock (held by monitor=remoteDispatchDomainSuspend)", backend.ErrBusy},
		{libvirt.ErrOperationTimeout, "timed out", backend.ErrTimeout},
		{libvirt.ErrAgentUnresponsive, "Guest agent is not responding", backend.ErrNoAgent},
		{libvirt.ErrArgumentUnsupported, "argument unsupported: QEMU guest agent is not configured", backend.ErrNoAgent},
		{libvirt.ErrArgumentUnsupported, "argument unsupported: other", backend.ErrUnsupported},
		{libvirt.ErrOperationFailed, "operation failed: Active console session exists for this domain", backend.ErrBusy},
		{libvirt.ErrNoSupport, "this function is not supported by the connection driver", backend.ErrUnsupported},
		{libvirt.ErrXMLInvalidSchema, "XML document failed to validate", backend.ErrInvalid},
		{libvirt.ErrInternalError, "internal error: domain 'test' not paused", backend.ErrState},
		{libvirt.ErrAuthFailed, "authentication failed", backend.ErrAuth},
		{libvirt.ErrInternalError, `internal error: process exited while connecting to monitor: qemu-system-x86_64: -blockdev {}: Failed to get "write" lock; Is another process using the image [/x.qcow2]?`, backend.ErrLocked},
		{libvirt.ErrInternalError, `internal error: qemu unexpectedly closed the monitor: Failed to get shared "write" lock`, backend.ErrLocked},
		{libvirt.ErrResourceBusy, "resource busy: Lockspace resource '/x.qcow2' is locked", backend.ErrLocked},
		{libvirt.ErrResourceBusy, "resource busy: something else", backend.ErrBusy},
		{libvirt.ErrInternalError, "internal error: process exited while connecting to monitor: cannot set up guest memory 'pc.ram': Cannot allocate memory", backend.ErrNoMemory},
		{libvirt.ErrNoMemory, "out of memory", backend.ErrNoMemory},
		{libvirt.ErrSystemError, "Cannot access storage file '/x.qcow2' (as uid:0, gid:0): No such file or directory", backend.ErrNoStorage},
		{libvirt.ErrSystemError, "Cannot access backing file '/b' of storage file '/x.qcow2' (as uid:0, gid:0): No such file or directory", backend.ErrNoStorage},
		{libvirt.ErrNoStorageVol, "Storage volume not found: no storage vol with matching name 'x'", backend.ErrNoStorage},
		{libvirt.ErrNoStoragePool, "Storage pool not found: no storage pool with matching name 'x'", backend.ErrNoStorage},
		{libvirt.ErrOperationInvalid, "Requested operation is not valid: storage pool 'default' is not active", backend.ErrNoStorage},
		{libvirt.ErrOperationInvalid, "Requested operation is not valid: cgroup CPU controller is not mounted", backend.ErrUnsupported},
		{libvirt.ErrOperationInvalid, "Requested operation is not valid: blkio cgroup isn't mounted", backend.ErrUnsupported},
	} {
		err := failed("start", "web1", libvirt.Error{Code: uint32(c.code), Message: c.words})
		if !errors.Is(err, c.want) {
			t.Errorf("%q is %v, want %v", c.words, err, c.want)
		}
		if !strings.HasPrefix(err.Error(), "start web1: "+c.words) {
			t.Errorf("libvirt's words are lost: %v", err)
		}
	}
	if err := failed("x", "y", libvirt.ErrUnsupported); !errors.Is(err, backend.ErrUnsupported) {
		t.Error(err)
	}
	if failed("x", "y", nil) != nil {
		t.Error("no error became one")
	}
	plain := errors.New("plain")
	if err := failed("x", "a\x1b[31m", plain); !errors.Is(err, plain) || strings.Contains(err.Error(), "\x1b") {
		t.Error(err)
	}
}

// TestUnreadableImagesAreNotAbsent: a person must be told of rights, not of
// images that are gone.
func TestUnreadableImagesAreNotAbsent(t *testing.T) {
	err := failed("start", "web1", libvirt.Error{Code: uint32(libvirt.ErrSystemError),
		Message: "Cannot access storage file '/x.qcow2' (as uid:64055, gid:64055): Permission denied"})
	if errors.Is(err, backend.ErrNoStorage) {
		t.Error(err)
	}
}

func TestLongErrorsFitOneLine(t *testing.T) {
	err := failed("define", "", libvirt.Error{Code: uint32(libvirt.ErrXMLDetail), Message: "(domain):1: bad\n<domain><secret/>\n-----^"})
	if got := err.Error(); strings.Contains(got, "secret") || strings.Contains(got, "\n") {
		t.Errorf("%q", got)
	}
	err = failed("define", "", libvirt.Error{Code: uint32(libvirt.ErrXMLInvalidSchema), Message: "failed\nExtra element\x1b vcpu"})
	if got := err.Error(); !strings.Contains(got, "failed; Extra element� vcpu") {
		t.Errorf("%q", got)
	}
}

func TestLostConnections(t *testing.T) {
	for _, err := range []error{libvirt.ErrInterrupted, syscall.EINVAL, io.EOF, io.ErrClosedPipe} {
		if !isConnectionError(err) {
			t.Errorf("%v is no connection error", err)
		}
	}
	if isConnectionError(libvirt.Error{Code: 1}) {
		t.Error("a daemon's answer is a connection error")
	}
	if !errors.Is(lostBecause(syscall.EINVAL, nil), errNotSent) || errors.Is(lostBecause(io.EOF, io.EOF), errNotSent) {
		t.Error("what was sent is not told from what was not")
	}
	if !errors.Is(lostBecause(io.EOF, io.EOF), backend.ErrUnreachable) {
		t.Error("a lost connection is not ErrUnreachable")
	}
}

package dial

import (
	"errors"
	"strings"
	"testing"

	"berth/backend"
)

func TestSSHClientReachesAMachine(t *testing.T) {
	l := newSSHLab(t).know(0)
	for _, destination := range []string{"ssh://bob@" + l.srv.addr, "ssh://bob@" + l.srv.addr + "/"} {
		c, err := sshTo(t.Context(), l.env, destination)
		if err != nil {
			t.Fatalf("%s: %v", destination, err)
		}
		conn, err := c.DialContext(t.Context(), "unix", l.env.remoteRun+"/libvirt-sock")
		if err != nil {
			t.Fatalf("%s: nothing can be reached through it: %v", destination, err)
		}
		if err := errors.Join(conn.Close(), c.Close()); err != nil {
			t.Error(err)
		}
	}
	if l.srv.loggedIn() != "bob" {
		t.Errorf("logged in as %q", l.srv.loggedIn())
	}
}

func TestSSHClientTellsWhatIsWrong(t *testing.T) {
	stranger := newSSHLab(t) // its key is not known
	for destination, want := range map[string]error{
		"ssh://bob@" + stranger.srv.addr: backend.ErrHostKey,
		"ssh://127.0.0.1:1":              backend.ErrUnreachable,
		"":                               backend.ErrURI,
		"-oProxyCommand=x":               backend.ErrURI,
		"ssh://bob:hunter2@nas":          backend.ErrURI,
		"sftp://nas/x":                   backend.ErrURI,
		"ssh://nas/some/path":            backend.ErrURI,
	} {
		c, err := sshTo(t.Context(), stranger.env, destination)
		if c != nil || !errors.Is(err, want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want %v", destination, err, want)
		}
	}
}

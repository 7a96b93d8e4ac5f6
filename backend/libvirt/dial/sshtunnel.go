package dial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"berth/backend"
)

// tunnel reaches the remote daemon's socket: by having sshd connect to it,
// else through libvirt's helper or netcat on the remote host. What comes back
// is proven to lead to a libvirt daemon only as far as sshd tells; a command
// has answered a first call.
func (t *Target) tunnel(ctx context.Context, client *sshClient, readOnly bool) (net.Conn, error) {
	// A user's own socket is at a place that only the remote host knows.
	direct := t.params.proxy != "native" && t.params.proxy != "netcat" && (!t.session() || t.params.socket != "")
	var forwardErr error
	if direct {
		conn, err := t.forward(ctx, client, readOnly)
		if err == nil {
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		forwardErr = err
	}
	conn, err := t.command(ctx, client, readOnly)
	if err == nil || ctx.Err() != nil || forwardErr == nil {
		return conn, err
	}
	return nil, faultf(backend.ErrUnreachable,
		"is libvirt running there, and may the user "+client.User()+" use its socket (group libvirt)?", "%w; by command: %w", forwardErr, err)
}

// remoteSockets lists where the remote daemon may listen.
func (t *Target) remoteSockets(readOnly bool) []string {
	if t.params.socket != "" {
		return []string{t.params.socket}
	}
	var all, ro []string
	for _, name := range t.socketNames() {
		p := path.Join(t.env.remoteRun, name)
		all, ro = append(all, p), append(ro, p+"-ro")
	}
	if readOnly {
		return append(ro, all...)
	}
	return all
}

// forward asks sshd to connect to the daemon's socket
// (direct-streamlocal@openssh.com).
func (t *Target) forward(ctx context.Context, client *sshClient, readOnly bool) (net.Conn, error) {
	var errs []string
	for _, socket := range t.remoteSockets(readOnly) {
		conn, err := client.DialContext(ctx, "unix", socket)
		if err == nil {
			return conn, nil
		}
		var refused *ssh.OpenChannelError
		if !errors.As(err, &refused) {
			return nil, cleaned{err}
		}
		if refused.Reason == ssh.Prohibited || refused.Reason == ssh.UnknownChannelType {
			return nil, errors.New("sshd does not forward unix sockets (AllowStreamLocalForwarding)")
		}
		errs = append(errs, socket+": "+backend.Clean(refused.Message))
	}
	return nil, fmt.Errorf("no libvirt socket there (%s)", strings.Join(errs, ", "))
}

// command runs a program on the remote host that connects its standard input
// and output to the daemon's socket, and makes a first call through it: that a
// program runs does not mean that it has connected.
func (t *Target) command(ctx context.Context, client *sshClient, readOnly bool) (net.Conn, error) {
	stop := closeOnDone(ctx, client)
	conn, err := startCommand(client.Client, t.remoteCommand(readOnly))
	if err == nil {
		err = probe(conn)
		if err != nil {
			_ = conn.Close() // probe's error is the one to tell
			err = conn.explain(err)
		}
	}
	if ended := stop(); ended != nil {
		return nil, ended
	}
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// remoteCommand is one word of shell for the user's login shell, whichever
// that is, and the rest for sh.
func (t *Target) remoteCommand(readOnly bool) string {
	var b strings.Builder
	if t.params.proxy != "netcat" && t.params.socket == "" && t.params.mode == "" {
		flag := ""
		if readOnly && !t.session() {
			flag = "-r "
		}
		fmt.Fprintf(&b, "if command -v virt-ssh-helper >/dev/null 2>&1; then exec virt-ssh-helper %s%s; fi; ", flag, quote(t.Driver()))
	}
	if t.params.proxy != "native" {
		b.WriteString(t.netcatScript(readOnly))
	} else {
		b.WriteString("echo virt-ssh-helper is not installed >&2; exit 1")
	}
	return "sh -c " + quote(b.String())
}

func (t *Target) netcatScript(readOnly bool) string {
	var sockets []string
	for _, s := range t.remoteSockets(readOnly) {
		sockets = append(sockets, quote(s))
	}
	if t.session() && t.params.socket == "" {
		sockets = nil
		for _, name := range t.socketNames() {
			sockets = append(sockets, `"${XDG_RUNTIME_DIR:-$HOME/.cache}/libvirt/`+name+`"`)
		}
	}
	netcat := quote(orElse(t.params.netcat, "nc"))
	return "for s in " + strings.Join(sockets, " ") + `; do if [ -S "$s" ]; then ` +
		"command -v " + netcat + ` >/dev/null 2>&1 && exec ` + netcat + ` -U "$s"; command -v socat >/dev/null 2>&1 && exec socat - "UNIX-CONNECT:$s"; ` +
		"echo neither virt-ssh-helper nor " + netcat + " nor socat is installed >&2; exit 1; fi; done; echo no libvirt socket >&2; exit 1"
}

// quote makes s one word for a POSIX shell, and for csh and fish.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// commandConn is a remote program's standard input and output as a net.Conn.
type commandConn struct {
	pipeConn
	session *ssh.Session
	stderr  *tail
}

func startCommand(client *ssh.Client, command string) (*commandConn, error) {
	session, err := client.NewSession()
	if err != nil {
		return nil, cleaned{err}
	}
	c := &commandConn{session: session, stderr: &tail{}}
	session.Stderr = c.stderr
	in, err := session.StdinPipe()
	if err == nil {
		var out io.Reader
		out, err = session.StdoutPipe()
		c.pipeConn = pipeConn{in: in, out: out}
	}
	if err == nil {
		err = session.Start(command)
	}
	if err != nil {
		_ = session.Close() // the first error is the one to tell
		return nil, cleaned{err}
	}
	return c, nil
}

// Close ends the program's session.
func (c *commandConn) Close() error {
	err := c.session.Close()
	if errors.Is(err, io.EOF) { // it had ended by itself
		return nil
	}
	return err
}

// explain adds what the program said to why its output ended.
func (c *commandConn) explain(err error) error {
	_ = c.session.Wait() // until stderr is complete; how it exited says less than that
	if said := lastLine(c.stderr.String()); said != "" {
		return errors.New(said)
	}
	return err
}

// tail keeps the last bytes that a program wrote.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write never fails, so that the program is not held up.
func (w *tail) Write(p []byte) (int, error) {
	const most = 4096
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	if extra := w.buf.Len() - most; extra > 0 {
		w.buf.Next(extra)
	}
	return len(p), nil
}

// String is what was kept.
func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

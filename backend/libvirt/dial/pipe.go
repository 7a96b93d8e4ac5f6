package dial

import (
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"berth/backend"
)

// pipeConn makes a net.Conn of a program's standard input and output; whoever
// embeds it adds Close. It has no deadlines.
type pipeConn struct {
	in  io.WriteCloser
	out io.Reader
}

func (c *pipeConn) Read(p []byte) (int, error)       { return c.out.Read(p) }
func (c *pipeConn) Write(p []byte) (int, error)      { return c.in.Write(p) }
func (c *pipeConn) LocalAddr() net.Addr              { return anyAddr }
func (c *pipeConn) RemoteAddr() net.Addr             { return anyAddr }
func (c *pipeConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *pipeConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *pipeConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// proxyConn is the connection that an ssh ProxyCommand makes.
type proxyConn struct {
	pipeConn
	cmd  *exec.Cmd
	once sync.Once
}

// dialCommand starts a ProxyCommand, by the shell as the ssh program does.
func dialCommand(command string) (net.Conn, error) {
	cmd := exec.Command("/bin/sh", "-c", "exec "+command)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, faultf(backend.ErrUnreachable, "see ProxyCommand in the ssh configuration", "%s: %w", command, err)
	}
	return &proxyConn{pipeConn: pipeConn{in: in, out: out}, cmd: cmd}, nil
}

// Close ends the command and waits for it.
func (c *proxyConn) Close() error {
	c.once.Do(func() {
		_ = c.cmd.Process.Kill() // it may have ended by itself
		_ = c.cmd.Wait()         // which tells how it ended: killed, or why it gave up, on its own stderr
	})
	return nil
}

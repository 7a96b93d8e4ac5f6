package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/backend"
)

// maxHops bounds a chain of jump hosts, which a configuration could make
// endless.
const maxHops = 8

// dialSSH connects to the daemon of a remote host through ssh.
func (t *Target) dialSSH(ctx context.Context, readOnly bool) (*guard, error) {
	h, err := t.env.hop(ctx, t.host, t.user, t.port)
	if err != nil {
		return nil, err
	}
	t.applyTo(h)
	client, err := t.env.connect(ctx, h, 0)
	if err != nil {
		return nil, err
	}
	conn, err := t.tunnel(ctx, client, readOnly)
	if err != nil {
		_ = client.Close() // the tunnel's error is the one to tell
		return nil, err
	}
	g := newGuard(conn, func() { _ = client.Close() })
	g.machine = there{client.Client}
	go keepalive(client.Client, h.aliveEvery, h.aliveMisses, func(err error) { _ = g.fail(err) })
	return g, nil
}

// applyTo lets the URI's parameters win over the configuration.
func (t *Target) applyTo(h *hop) {
	if f := t.params.keyfile; f != "" {
		h.identities, h.explicit = append([]string{f}, h.identities...), true
	}
	if f := t.params.knownHosts; f != "" {
		h.knownHosts = []string{f}
	}
	if t.params.noVerify {
		h.acceptNew = true
	}
}

// sshClient is an ssh connection together with those it goes through.
type sshClient struct {
	*ssh.Client
	via io.Closer // the jump host's client, or nil
}

// Close ends the connection and those it goes through.
func (c *sshClient) Close() error {
	err := c.Client.Close()
	if c.via != nil {
		err = errors.Join(err, c.via.Close())
	}
	return err
}

// connect makes an authenticated ssh connection to h, through its jump hosts.
func (e *environ) connect(ctx context.Context, h *hop, depth int) (*sshClient, error) {
	if depth > maxHops {
		return nil, faultf(backend.ErrUnreachable, "look for a circle of ProxyJump in the ssh configuration", "more than %d jump hosts", maxHops)
	}
	if h.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.timeout)
		defer cancel()
	}
	conn, via, err := e.reach(ctx, h, depth)
	if err != nil {
		return nil, err
	}
	client, err := handshake(ctx, conn, h)
	if err != nil {
		_ = conn.Close() // handshake's error is the one to tell
		if via != nil {
			_ = via.Close()
		}
		return nil, err
	}
	c := &sshClient{Client: client}
	if via != nil { // a nil *sshClient must not become a non-nil Closer
		c.via = via
	}
	return c, nil
}

// reach opens the connection that ssh to h runs over: directly, through jump
// hosts, or through a command.
func (e *environ) reach(ctx context.Context, h *hop, depth int) (net.Conn, *sshClient, error) {
	switch {
	case len(h.jumps) > 0:
		via, err := e.jump(ctx, h.jumps, depth+1)
		if err != nil {
			return nil, nil, err
		}
		conn, err := via.DialContext(ctx, "tcp", h.address())
		if err != nil {
			_ = via.Close() // the failed jump's error is the one to tell
			return nil, nil, faultf(backend.ErrUnreachable, "can the jump host reach it?", "%s through %s: %w", h.address(), h.jumps[len(h.jumps)-1], err)
		}
		return conn, via, nil
	case h.proxy != "":
		conn, err := dialCommand(h.proxy)
		return conn, nil, err
	}
	conn, err := dialTCP(ctx, h.address())
	return conn, nil, err
}

// jump connects to the last of the given hosts through those before it.
func (e *environ) jump(ctx context.Context, specs []string, depth int) (*sshClient, error) {
	last := specs[len(specs)-1]
	user, rest := "", strings.TrimPrefix(last, "ssh://")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		user, rest = rest[:i], rest[i+1:]
	}
	host, port := rest, ""
	if h, p, err := net.SplitHostPort(rest); err == nil {
		host, port = h, p
	}
	h, err := e.hop(ctx, strings.Trim(host, "[]"), user, port)
	if err != nil {
		return nil, err
	}
	if before := specs[:len(specs)-1]; len(before) > 0 {
		h.jumps = before
	}
	return e.connect(ctx, h, depth)
}

// handshake authenticates both sides. It does not close conn when it fails.
func handshake(ctx context.Context, conn net.Conn, h *hop) (*ssh.Client, error) {
	keys, err := newHostKeys(h)
	if err != nil {
		return nil, err
	}
	ring := newKeyring(ctx, h)
	defer ring.close()
	config := &ssh.ClientConfig{
		User:              h.user,
		Auth:              ring.methods(),
		HostKeyCallback:   keys.callback,
		HostKeyAlgorithms: keys.algorithms(),
	}
	stop := closeOnDone(ctx, conn)
	c, channels, requests, err := ssh.NewClientConn(conn, h.address(), config)
	if ended := stop(); ended != nil {
		if err == nil {
			_ = c.Close() // it is closed already underneath
		}
		return nil, ended
	}
	if err != nil {
		return nil, sshFault(h, keys, ring, err)
	}
	return ssh.NewClient(c, channels, requests), nil
}

// sshFault sorts the errors of an ssh handshake.
func sshFault(h *hop, keys *hostKeys, ring *keyring, err error) error {
	var algo *ssh.AlgorithmNegotiationError
	switch {
	case keys.refused != nil:
		return keys.refused
	case strings.Contains(err.Error(), "unable to authenticate"):
		return ring.refused(h)
	case errors.As(err, &algo) && strings.Contains(err.Error(), "host key") && len(keys.known()) > 0:
		return keys.noCommonKey(err)
	}
	return cleaned{err}
}

// cleaned is an error whose text a server may have chosen.
type cleaned struct{ error }

func (c cleaned) Error() string { return backend.Clean(c.error.Error()) }
func (c cleaned) Unwrap() error { return c.error }

// keepalive asks the server for a sign of life every so often, and calls lost
// when it misses too many. It ends with the connection.
func keepalive(client *ssh.Client, every time.Duration, misses int, lost func(error)) {
	if every <= 0 {
		return
	}
	done := make(chan struct{})
	go func() { _ = client.Wait(); close(done) }() // why it ended is the reader's to tell
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		patience := time.Duration(misses) * every
		late := time.AfterFunc(patience, func() {
			lost(fmt.Errorf("ssh connection: no sign of life for %v", patience))
		})
		_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
		late.Stop()
		if err != nil {
			return
		}
	}
}

package dial

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"golang.org/x/crypto/ssh"

	"berth/backend"
)

// SSH connects to a machine as a host's connection does: with the user's ssh
// configuration, known hosts, agent, keys and jump hosts. The destination is
// ssh's own, [user@]host, or ssh://[user@]host[:port]. The client's Close also
// ends the connections that it goes through. Errors wrap backend.ErrURI,
// backend.ErrUnreachable, backend.ErrAuth, backend.ErrHostKey.
func SSH(ctx context.Context, destination string) (*ssh.Client, error) {
	return sshTo(ctx, systemEnviron(), destination)
}

func sshTo(ctx context.Context, env *environ, destination string) (*ssh.Client, error) {
	user, host, port, err := parseDestination(destination)
	t := &Target{via: viaSSH, user: user, host: host, port: port, env: env}
	fault := func(err error) error {
		err = t.explain(ctx, err)
		var op *backend.OpError
		if errors.As(err, &op) {
			op.Target = backend.Clean(redact(destination))
		}
		return err
	}
	if err != nil {
		return nil, fault(err)
	}
	h, err := env.hop(ctx, host, user, port)
	if err != nil {
		return nil, fault(err)
	}
	client, err := env.connect(ctx, h, 0)
	if err != nil {
		return nil, fault(err)
	}
	if client.via != nil { // whoever closes the last hop means all of them
		go func() { _ = client.Wait(); _ = client.via.Close() }()
	}
	go keepalive(client.Client, h.aliveEvery, h.aliveMisses, func(error) { _ = client.Close() })
	return client.Client, nil
}

// parseDestination takes [user@]host and ssh://[user@]host[:port] apart. A
// host that begins with a dash is none: programs would take it for an option.
func parseDestination(s string) (user, host, port string, err error) {
	if !strings.Contains(s, "://") {
		s = "ssh://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "ssh" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || strings.HasPrefix(u.Hostname(), "-") || u.Hostname() == "" {
		return "", "", "", faultf(backend.ErrURI, "write [user@]host or ssh://[user@]host[:port]", "no ssh destination")
	}
	if _, has := u.User.Password(); has {
		return "", "", "", faultf(backend.ErrURI, "leave it out; ssh keys and the agent are used", "it holds a password")
	}
	return u.User.Username(), u.Hostname(), u.Port(), nil
}

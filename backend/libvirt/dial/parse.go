package dial

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"berth/backend"
)

// Supported lists the forms of URI that Parse accepts, for help texts.
func Supported() []string {
	return []string{
		"qemu:///system",
		"qemu:///session",
		"qemu+unix:///system?socket=PATH",
		"qemu+tcp://HOST[:PORT]/system",
		"qemu+tls://HOST[:PORT]/system",
		"qemu+ssh://[USER@]HOST[:PORT]/system",
		"test:///default",
	}
}

// Defaults lists the URIs to try, in order, when neither the command line nor
// the configuration names one: $LIBVIRT_DEFAULT_URI if it is set, then the
// system's and the user's own daemon.
func Defaults() []string { return defaults(systemEnviron()) }

func defaults(e *environ) []string {
	uris := []string{"qemu:///system", "qemu:///session"}
	if u := e.getenv("LIBVIRT_DEFAULT_URI"); u != "" {
		uris = slices.DeleteFunc(uris, func(d string) bool { return d == u })
		uris = append([]string{u}, uris...)
	}
	return uris
}

// Parse reads and checks a connection URI. Its errors fit on one line, wrap
// backend.ErrURI and say which forms are supported.
func Parse(uri string) (*Target, error) { return parse(uri, systemEnviron()) }

func parse(uri string, env *environ) (*Target, error) {
	t, err := parseURI(strings.TrimSpace(uri), env)
	if err != nil {
		return nil, &backend.OpError{
			Op:     "connect",
			Target: redact(uri),
			Err:    fmt.Errorf("%w: %w", backend.ErrURI, err),
			Hint:   "supported are " + strings.Join(Supported(), ", "),
		}
	}
	return t, nil
}

func parseURI(uri string, env *environ) (*Target, error) {
	if uri == "" {
		return nil, errors.New("it is empty")
	}
	u, err := url.Parse(uri)
	if err != nil {
		var ue *url.Error // holds the whole URI, which may hold a password
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, errors.New(backend.Clean(err.Error()))
	}
	t := &Target{path: u.Path, host: strings.ToLower(u.Hostname()), port: u.Port(), env: env}
	steps := []func(*url.URL) error{t.setScheme, t.setPath, t.setUser, t.setHost, t.setPort, t.setParams}
	for _, step := range steps {
		if err := step(u); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// setScheme reads "driver" or "driver+transport". As libvirt has it, a URI
// without a transport means a unix socket, or TLS when it names a host.
func (t *Target) setScheme(u *url.URL) error {
	driver, via, given := strings.Cut(u.Scheme, "+")
	switch {
	case driver == "":
		return errors.New("it has no scheme")
	case driver != "qemu" && driver != "test":
		return fmt.Errorf("berth has no driver %q", backend.Clean(driver))
	case u.Opaque != "":
		return fmt.Errorf("%s: must be followed by //", u.Scheme)
	}
	t.driver, t.via = driver, transport(via)
	if !given {
		t.via = viaUnix
		if u.Host != "" {
			t.via = viaTLS
		}
	}
	switch t.via {
	case viaUnix, viaTCP, viaTLS, viaSSH:
		return nil
	}
	return fmt.Errorf("berth has no transport %q", via)
}

func (t *Target) setPath(*url.URL) error {
	allowed := []string{"/system", "/session"}
	if t.driver == "test" {
		allowed = []string{"/default"}
	}
	if !slices.Contains(allowed, t.path) {
		return fmt.Errorf("%s ends in %s, not %q", t.driver, strings.Join(allowed, " or "), backend.Clean(t.path))
	}
	return nil
}

func (t *Target) setUser(u *url.URL) error {
	if u.User == nil {
		return nil
	}
	if _, has := u.User.Password(); has {
		return errors.New("it holds a password, which berth neither uses nor wants: use an ssh key or agent")
	}
	if t.via != viaSSH {
		return errors.New("only ssh takes a user name")
	}
	t.user = u.User.Username()
	if t.user == "" || strings.HasPrefix(t.user, "-") || !printable(t.user) {
		return fmt.Errorf("%q is no user name", backend.Clean(t.user))
	}
	return nil
}

func (t *Target) setHost(*url.URL) error {
	if t.via == viaUnix {
		if t.host != "" || t.port != "" {
			return errors.New("a unix socket is on this machine: leave out the host, or use tcp, tls or ssh")
		}
		return nil
	}
	if t.host == "" {
		return fmt.Errorf("%s needs a host", t.via)
	}
	// A host that begins with a dash would be an option to the ssh program.
	if strings.HasPrefix(t.host, "-") || !printable(t.host) || strings.ContainsAny(t.host, "/\\\"'`$;&|<>()*? ") {
		return fmt.Errorf("%q is no host name", backend.Clean(t.host))
	}
	return nil
}

func (t *Target) setPort(*url.URL) error {
	if t.port == "" {
		return nil
	}
	n, err := strconv.ParseUint(t.port, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is no port", t.port)
	}
	t.port = strconv.FormatUint(n, 10)
	if t.port == defaultPorts[t.via] {
		t.port = ""
	}
	return nil
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) && backend.Clean(s) == s
}

// redact makes a URI that was refused safe to show: no password, no control
// characters.
func redact(uri string) string {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return backend.Clean(uri)
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndexByte(rest[:end], '@')
	if at < 0 { // a password may itself hold a slash
		at = strings.LastIndexByte(rest, '@')
	}
	if at >= 0 {
		if user, _, has := strings.Cut(rest[:at], ":"); has {
			rest = user + ":***" + rest[at:]
		}
	}
	return backend.Clean(scheme + "://" + rest)
}

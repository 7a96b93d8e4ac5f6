package dial

import (
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"berth/backend"
)

// allowedParams lists what each transport understands. no_tty and no_sanity
// are accepted because virsh users have them in their URIs: berth never asks
// on a terminal, and checks certificates in one way only.
var allowedParams = map[transport][]string{
	viaUnix: {"mode", "socket"},
	viaTCP:  {},
	viaTLS:  {"no_sanity", "no_verify", "pkipath"},
	viaSSH:  {"keyfile", "known_hosts", "mode", "netcat", "no_tty", "no_verify", "proxy", "socket"},
}

// setParams reads the parameters after "?". An unknown one is refused rather
// than ignored: it may be a slip in the name of one that matters.
func (t *Target) setParams(u *url.URL) error {
	values, err := parseQuery(u.RawQuery)
	if err != nil {
		return err
	}
	allowed := allowedParams[t.via]
	for name := range values {
		if slices.Contains(allowed, name) {
			continue
		}
		if len(allowed) == 0 {
			return fmt.Errorf("%s takes no parameter, and so not %q", t.via, backend.Clean(name))
		}
		return fmt.Errorf("%s has no parameter %q, only %s", t.via, backend.Clean(name), strings.Join(allowed, ", "))
	}
	t.params = params{
		values:     values,
		socket:     values["socket"],
		mode:       values["mode"],
		keyfile:    t.env.tilde(values["keyfile"]),
		knownHosts: t.env.tilde(values["known_hosts"]),
		netcat:     values["netcat"],
		proxy:      values["proxy"],
		pkipath:    t.env.tilde(values["pkipath"]),
	}
	switch v := values["no_verify"]; v {
	case "", "0":
	default:
		t.params.noVerify = true
	}
	return t.params.check()
}

func (p *params) check() error {
	if err := oneOf("mode", p.mode, "auto", "direct", "legacy"); err != nil {
		return err
	}
	if err := oneOf("proxy", p.proxy, "auto", "native", "netcat"); err != nil {
		return err
	}
	for name, path := range map[string]string{"socket": p.socket, "keyfile": p.keyfile, "known_hosts": p.knownHosts, "pkipath": p.pkipath} {
		if path != "" && !filepath.IsAbs(path) {
			return fmt.Errorf("%s must be an absolute path, not %q", name, backend.Clean(path))
		}
	}
	return nil
}

func oneOf(name, value string, allowed ...string) error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s is one of %s, not %q", name, strings.Join(allowed, ", "), backend.Clean(value))
}

// parseQuery reads name=value pairs parted by & or ;. Unlike in a web form "+"
// stands for itself, as in libvirt, since paths may hold it.
func parseQuery(raw string) (map[string]string, error) {
	values := map[string]string{}
	for pair := range strings.FieldsFuncSeq(raw, func(r rune) bool { return r == '&' || r == ';' }) {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.PathUnescape(name)
		if err != nil {
			return nil, err
		}
		if value, err = url.PathUnescape(value); err != nil {
			return nil, err
		}
		if _, twice := values[name]; twice {
			return nil, fmt.Errorf("parameter %q is given twice", backend.Clean(name))
		}
		if backend.Clean(value) != value {
			return nil, fmt.Errorf("parameter %q holds control characters", backend.Clean(name))
		}
		if value != "" {
			values[name] = value
		}
	}
	return values, nil
}

// formatQuery is the inverse of parseQuery, with names in order.
func formatQuery(values map[string]string) string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(values)) {
		b.WriteByte("?&"[min(i, 1)])
		b.WriteString(name + "=" + escape(values[name]))
	}
	return b.String()
}

// escape keeps paths readable: only what would be read as something else is
// written as %XX.
func escape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`%&;#?@"<>\^[]{}|`+"`", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

package dial

import (
	"net"
	"net/url"
	"strings"
)

// transport is how the daemon is reached.
type transport string

const (
	viaUnix transport = "unix"
	viaTCP  transport = "tcp"
	viaTLS  transport = "tls"
	viaSSH  transport = "ssh"
)

// defaultPorts are libvirt's, from src/remote/remote_driver.h. ssh has none
// here: the user's ssh configuration may name another than 22.
var defaultPorts = map[transport]string{viaTCP: "16509", viaTLS: "16514"}

// Target is a parsed and checked connection URI. It is immutable and safe for
// use by several goroutines.
type Target struct {
	driver string // "qemu", "test"
	path   string // "/system", "/session", "/default"
	via    transport
	user   string
	host   string
	port   string // "" for the transport's default
	params params
	env    *environ
}

// params are the URI's parameters, named as libvirt names them
// (https://libvirt.org/uri.html).
type params struct {
	values map[string]string

	socket     string // unix, ssh: the daemon's socket instead of the usual one
	mode       string // unix, ssh: "auto", "direct" (modular daemons), "legacy" (libvirtd)
	keyfile    string // ssh: the private key to offer first
	knownHosts string // ssh: instead of the configured known_hosts files
	netcat     string // ssh: netcat's name on the remote host
	proxy      string // ssh: "auto", "native" (virt-ssh-helper), "netcat"
	pkipath    string // tls: directory of cacert.pem, clientcert.pem, clientkey.pem
	noVerify   bool   // tls: any server certificate; ssh: accept unknown host keys
}

// String is the normalised URI: equal targets give equal strings. It never
// holds a secret.
func (t *Target) String() string {
	var b strings.Builder
	b.WriteString(t.driver)
	if t.via != viaUnix || t.params.socket != "" || t.params.mode != "" {
		b.WriteString("+" + string(t.via))
	}
	b.WriteString("://")
	if t.user != "" {
		b.WriteString(url.User(t.user).String() + "@")
	}
	b.WriteString(bracket(t.host))
	if t.port != "" {
		b.WriteString(":" + t.port)
	}
	b.WriteString(t.path)
	b.WriteString(formatQuery(t.params.values))
	return b.String()
}

// bracket puts an IPv6 address in brackets, as URIs want it.
func bracket(host string) string {
	if !strings.Contains(host, ":") {
		return host
	}
	return "[" + strings.ReplaceAll(host, "%", "%25") + "]"
}

// Driver is the URI to open once connected to the daemon: "qemu:///system",
// "qemu:///session" or "test:///default".
func (t *Target) Driver() string { return t.driver + "://" + t.path }

// Local reports whether the daemon is reached over a unix socket of this
// machine.
func (t *Target) Local() bool { return t.via == viaUnix }

// Label is a short name for the host: the remote host's without its domain
// and port, or this machine's. An address is left whole.
func (t *Target) Label() string {
	if t.Local() {
		return shortHost(t.env.hostname)
	}
	return shortHost(t.host)
}

func shortHost(name string) string {
	if name == "" {
		return "localhost"
	}
	if net.ParseIP(name) != nil || strings.Contains(name, ":") {
		return name
	}
	short, _, _ := strings.Cut(name, ".")
	return short
}

// SSH tells how to reach the same host with the ssh program, exactly as the
// URI says it: user and port are empty when the URI leaves them to the ssh
// configuration. ok is false for other transports.
func (t *Target) SSH() (user, host, port string, ok bool) {
	if t.via != viaSSH {
		return "", "", "", false
	}
	return t.user, t.host, t.port, true
}

// session reports whether a user's own daemon is meant.
func (t *Target) session() bool { return t.path == "/session" }

// address is host:port for a TCP or TLS connection.
func (t *Target) address() string {
	port := t.port
	if port == "" {
		port = defaultPorts[t.via]
	}
	return net.JoinHostPort(t.host, port)
}

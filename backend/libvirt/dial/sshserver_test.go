package dial

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshServer is an sshd in this process that forwards unix and TCP
// connections and runs one pretended command.
type sshServer struct {
	t       testing.TB
	addr    string
	host    string
	port    string
	keys    []ssh.Signer // host keys
	allowed []ssh.PublicKey
	user    string // the last that logged in

	noForward atomic.Bool // refuse to forward, as AllowStreamLocalForwarding no
	// run plays a command; its result is the exit status.
	run func(command string, ch io.ReadWriter, stderr io.Writer) uint32

	mu       sync.Mutex
	commands []string
	sockets  []string // asked for
	live     sync.WaitGroup
}

// newSSHServer starts a server with the given host keys that lets the given
// keys in.
func newSSHServer(t testing.TB, keys []ssh.Signer, allowed ...ssh.PublicKey) *sshServer {
	t.Helper()
	l := listenTCP(t)
	s := &sshServer{t: t, addr: l.Addr().String(), keys: keys, allowed: allowed}
	s.host, s.port, _ = net.SplitHostPort(s.addr)
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if cert, ok := key.(*ssh.Certificate); ok {
			key = cert.SignatureKey
		}
		for _, a := range s.allowed {
			if string(a.Marshal()) == string(key.Marshal()) {
				s.mu.Lock()
				s.user = c.User()
				s.mu.Unlock()
				return nil, nil
			}
		}
		return nil, io.ErrUnexpectedEOF
	}}
	for _, k := range keys {
		config.AddHostKey(k)
	}
	t.Cleanup(s.live.Wait)
	serve(t, l, func(c net.Conn) { s.handle(c, config) })
	return s
}

func (s *sshServer) handle(c net.Conn, config *ssh.ServerConfig) {
	conn, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	defer conn.Close()
	s.live.Go(func() { ssh.DiscardRequests(requests) })
	for ch := range channels {
		s.live.Go(func() { s.channel(ch) })
	}
}

func (s *sshServer) channel(n ssh.NewChannel) {
	switch n.ChannelType() {
	case "direct-streamlocal@openssh.com":
		var m struct {
			Path, Reserved string
			Number         uint32
		}
		if ssh.Unmarshal(n.ExtraData(), &m) != nil || s.noForward.Load() {
			_ = n.Reject(ssh.Prohibited, "open failed")
			return
		}
		s.mu.Lock()
		s.sockets = append(s.sockets, filepath.Base(m.Path))
		s.mu.Unlock()
		s.splice(n, "unix", m.Path)
	case "direct-tcpip":
		var m struct {
			Host  string
			Port  uint32
			From  string
			FPort uint32
		}
		if ssh.Unmarshal(n.ExtraData(), &m) == nil {
			s.splice(n, "tcp", net.JoinHostPort(m.Host, strconv.Itoa(int(m.Port))))
		}
	case "session":
		s.session(n)
	default:
		_ = n.Reject(ssh.UnknownChannelType, "what?")
	}
}

func (s *sshServer) splice(n ssh.NewChannel, network, address string) {
	far, err := net.Dial(network, address)
	if err != nil {
		_ = n.Reject(ssh.ConnectionFailed, "open failed")
		return
	}
	defer far.Close()
	ch, requests, err := n.Accept()
	if err != nil {
		return
	}
	s.live.Go(func() { ssh.DiscardRequests(requests) })
	s.live.Go(func() { _, _ = io.Copy(far, ch); _ = far.Close() })
	_, _ = io.Copy(ch, far)
	_ = ch.Close()
}

func (s *sshServer) session(n ssh.NewChannel) {
	ch, requests, err := n.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	for r := range requests {
		if r.Type != "exec" {
			_ = r.Reply(false, nil)
			continue
		}
		var m struct{ Command string }
		_ = ssh.Unmarshal(r.Payload, &m)
		s.mu.Lock()
		s.commands = append(s.commands, m.Command)
		s.mu.Unlock()
		_ = r.Reply(true, nil)
		s.live.Go(func() { ssh.DiscardRequests(requests) })
		status := uint32(127)
		if s.run != nil {
			status = s.run(m.Command, ch, ch.Stderr())
		}
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ S uint32 }{status}))
		return
	}
}

// asked returns the names of the sockets that were asked for.
func (s *sshServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sockets)
}

// loggedIn returns the last user that logged in.
func (s *sshServer) loggedIn() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.user
}

// knownLine is the known_hosts line for the server's nth key.
func (s *sshServer) knownLine(n int) string {
	return knownhosts.Line([]string{knownhosts.Normalize(s.addr)}, s.keys[n].PublicKey()) + "\n"
}

// key is a private key in several forms.
type key struct {
	raw    any
	signer ssh.Signer
	pem    string
}

func newKey(t testing.TB, kind string) key {
	t.Helper()
	var raw any
	var err error
	switch kind {
	case "ed25519":
		_, raw, err = ed25519.GenerateKey(rand.Reader)
	case "ecdsa":
		raw, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		raw, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(raw, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return key{raw, signer, string(pem.EncodeToMemory(block))}
}

// authorized is the public half as one line of a .pub file.
func (k key) authorized() string { return string(ssh.MarshalAuthorizedKey(k.signer.PublicKey())) }

// encrypted is the private key under a passphrase.
func (k key) encrypted(t testing.TB) string {
	t.Helper()
	block, err := ssh.MarshalPrivateKeyWithPassphrase(k.raw, "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}

// lastCommand returns the last command that was run, or "".
func (s *sshServer) lastCommand() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.commands) == 0 {
		return ""
	}
	return strings.TrimSpace(s.commands[len(s.commands)-1])
}

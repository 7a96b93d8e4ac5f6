package dial

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"berth/backend"
)

// sshLab is a home with a key that a server lets in, and a daemon behind it.
type sshLab struct {
	t   *testing.T
	env *environ
	srv *sshServer
	key key
	uri string
}

// newSSHLab starts a server with the given kinds of host keys. Its host is
// not yet known.
func newSSHLab(t *testing.T, hostKeys ...string) *sshLab {
	t.Helper()
	if len(hostKeys) == 0 {
		hostKeys = []string{"ed25519"}
	}
	var signers []ssh.Signer
	for _, kind := range hostKeys {
		signers = append(signers, newKey(t, kind).signer)
	}
	l := &sshLab{t: t, env: testEnviron(t), key: newKey(t, "ed25519")}
	l.srv = newSSHServer(t, signers, l.key.signer.PublicKey())
	l.uri = "qemu+ssh://bob@" + l.srv.addr + "/system"
	write(t, l.env.home+"/.ssh/id_ed25519", l.key.pem)
	daemon(t, listenUnix(t, l.env.remoteRun+"/libvirt-sock"), 7)
	return l
}

// know writes the server's nth key into known_hosts.
func (l *sshLab) know(n int) *sshLab {
	l.t.Helper()
	write(l.t, l.knownHosts(), l.srv.knownLine(n))
	return l
}

func (l *sshLab) knownHosts() string { return l.env.home + "/.ssh/known_hosts" }

func TestSSHWithKnownHost(t *testing.T) {
	kinds := []string{"rsa", "ecdsa", "ed25519"}
	for i, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			l := newSSHLab(t, kinds...).know(i)
			mustReach(t, l.env, l.uri, false, 7)
			if l.srv.loggedIn() != "bob" {
				t.Errorf("logged in as %q", l.srv.loggedIn())
			}
		})
	}
}

func TestSSHWithHashedHost(t *testing.T) {
	l := newSSHLab(t)
	hashed := knownhosts.HashHostname(knownhosts.Normalize(l.srv.addr))
	write(t, l.knownHosts(), knownhosts.Line([]string{hashed}, l.srv.keys[0].PublicKey())+"\n")
	mustReach(t, l.env, l.uri, false, 7)
}

func TestSSHWithSystemKnownHosts(t *testing.T) {
	l := newSSHLab(t)
	write(t, l.env.sshDir+"/ssh_known_hosts", l.srv.knownLine(0))
	mustReach(t, l.env, l.uri, false, 7)
}

func TestSSHUnknownHost(t *testing.T) {
	l := newSSHLab(t, "ecdsa", "ed25519")
	for _, text := range []string{"", "other.example.org " + strings.SplitN(l.key.authorized(), "\n", 2)[0] + "\n"} {
		write(t, l.knownHosts(), text)
		mustFail(t, l.env, l.uri, backend.ErrHostKey,
			"ED25519 key "+ssh.FingerprintSHA256(l.srv.keys[1].PublicKey()),
			"ssh-keyscan -H -p "+l.srv.port+" 127.0.0.1 >> "+l.knownHosts(),
			"ssh -p "+l.srv.port+" bob@127.0.0.1")
	}
	if l.srv.loggedIn() != "" {
		t.Error("logged in to a host that is not known")
	}
}

func TestSSHChangedHost(t *testing.T) {
	l := newSSHLab(t)
	old := newKey(t, "ed25519").signer.PublicKey()
	write(t, l.knownHosts(), "# a comment\n"+knownhosts.Line([]string{knownhosts.Normalize(l.srv.addr)}, old)+"\n")
	words := []string{"HAS CHANGED", l.knownHosts() + ":2", ssh.FingerprintSHA256(old), ssh.FingerprintSHA256(l.srv.keys[0].PublicKey()),
		"ssh-keygen -f " + l.knownHosts() + " -R '[127.0.0.1]:" + l.srv.port + "'"}
	mustFail(t, l.env, l.uri, backend.ErrHostKey, words...)
	mustFail(t, l.env, l.uri+"?no_verify=1", backend.ErrHostKey, words...)
}

func TestSSHReplacedKeyType(t *testing.T) {
	l := newSSHLab(t, "ecdsa")
	old := newKey(t, "ed25519").signer.PublicKey()
	write(t, l.knownHosts(), knownhosts.Line([]string{knownhosts.Normalize(l.srv.addr)}, old)+"\n")
	mustFail(t, l.env, l.uri, backend.ErrHostKey, "ssh-ed25519", l.knownHosts()+":1")
}

func TestSSHRevokedKey(t *testing.T) {
	l := newSSHLab(t)
	write(t, l.knownHosts(), "@revoked "+l.srv.knownLine(0)+l.srv.knownLine(0))
	mustFail(t, l.env, l.uri, backend.ErrHostKey, "revoked", l.knownHosts()+":1")
}

func TestSSHUnreadableKnownHosts(t *testing.T) {
	l := newSSHLab(t)
	write(t, l.knownHosts(), "host ssh-ed25519 notbase64!\n")
	mustFail(t, l.env, l.uri, backend.ErrHostKey, l.knownHosts()+":1", "remove or mend")
}

// certify makes a certificate for a key, signed by ca.
func certify(t *testing.T, ca, of ssh.Signer, kind uint32, principal string) ssh.Signer {
	t.Helper()
	c := &ssh.Certificate{Key: of.PublicKey(), CertType: kind, ValidPrincipals: []string{principal}, ValidBefore: ssh.CertTimeInfinity}
	if err := c.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewCertSigner(c, of)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSSHHostCertificate(t *testing.T) {
	ca, other, host, user := newKey(t, "ed25519"), newKey(t, "ed25519"), newKey(t, "ed25519"), newKey(t, "ed25519")
	env := testEnviron(t)
	write(t, env.home+"/.ssh/id_ed25519", user.pem)
	cert := certify(t, ca.signer, host.signer, ssh.HostCert, "127.0.0.1")
	srv := newSSHServer(t, []ssh.Signer{cert, host.signer}, user.signer.PublicKey())
	daemon(t, listenUnix(t, env.remoteRun+"/libvirt-sock"), 7)
	uri := "qemu+ssh://" + srv.addr + "/system"
	name := knownhosts.Normalize(srv.addr)

	write(t, env.home+"/.ssh/known_hosts", "@cert-authority "+knownhosts.Line([]string{name}, ca.signer.PublicKey())+"\n")
	mustReach(t, env, uri, false, 7)

	// A CA that has signed nothing here is no key that could have changed.
	write(t, env.home+"/.ssh/known_hosts", "@cert-authority "+knownhosts.Line([]string{name}, other.signer.PublicKey())+"\n")
	mustFail(t, env, uri, backend.ErrHostKey)
}

func TestSSHAcceptNew(t *testing.T) {
	for name, prepare := range map[string]func(*sshLab){
		"by URI":           func(l *sshLab) { l.uri += "?no_verify=1" },
		"by configuration": func(l *sshLab) { write(l.t, l.env.home+"/.ssh/config", "StrictHostKeyChecking accept-new\n") },
		"hashed": func(l *sshLab) {
			write(l.t, l.env.home+"/.ssh/config", "StrictHostKeyChecking no\nHashKnownHosts yes\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newSSHLab(t)
			prepare(l)
			mustReach(t, l.env, l.uri, false, 7)
			got, err := os.ReadFile(l.knownHosts())
			if err != nil {
				t.Fatal(err)
			}
			key := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(l.srv.keys[0].PublicKey())))
			if line := string(got); !strings.Contains(line, key) || strings.HasPrefix(line, "|1|") != (name == "hashed") {
				t.Errorf("remembered %q", line)
			}
			// It is known from now on, and so not added again.
			mustReach(t, l.env, "qemu+ssh://"+l.srv.addr+"/system", false, 7)
			if again, _ := os.ReadFile(l.knownHosts()); string(again) != string(got) {
				t.Errorf("the second connection changed known_hosts to %q", again)
			}
		})
	}
}

// startAgent serves an ssh agent with the given keys.
func startAgent(t *testing.T, keys ...key) string {
	t.Helper()
	ring := agent.NewKeyring()
	for i, k := range keys {
		if err := ring.Add(agent.AddedKey{PrivateKey: k.raw, Comment: "key" + string(rune('0'+i))}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "agent")
	serve(t, listenUnix(t, path), func(c net.Conn) { _ = agent.ServeAgent(ring, c) })
	return path
}

func TestSSHKeys(t *testing.T) {
	for name, c := range map[string]struct {
		kind    string
		prepare func(t *testing.T, l *sshLab) // the key of l is let in; no file of it exists
		refused []string                      // what the error says; nil if the key gets in
	}{
		"usual ECDSA file": {kind: "ecdsa", prepare: func(t *testing.T, l *sshLab) {
			write(t, l.env.home+"/.ssh/id_ecdsa", l.key.pem)
		}},
		"usual RSA file": {kind: "rsa", prepare: func(t *testing.T, l *sshLab) {
			write(t, l.env.home+"/.ssh/id_rsa", l.key.pem)
		}},
		"keyfile of the URI": {prepare: func(t *testing.T, l *sshLab) {
			write(t, l.env.home+"/work", l.key.pem)
			l.uri += "?keyfile=" + l.env.home + "/work"
		}},
		"keyfile under the home": {prepare: func(t *testing.T, l *sshLab) {
			write(t, l.env.home+"/work", l.key.pem)
			l.uri += "?keyfile=~/work"
		}},
		"agent": {prepare: func(t *testing.T, l *sshLab) {
			l.env.getenv = setenv("SSH_AUTH_SOCK", startAgent(t, newKey(t, "ed25519"), l.key))
		}},
		"agent of the configuration": {prepare: func(t *testing.T, l *sshLab) {
			write(t, l.env.home+"/.ssh/config", "IdentityAgent "+startAgent(t, l.key)+"\n")
		}},
		"encrypted file, held by the agent": {prepare: func(t *testing.T, l *sshLab) {
			l.env.getenv = setenv("SSH_AUTH_SOCK", startAgent(t, l.key))
			write(t, l.env.home+"/.ssh/work", l.key.encrypted(t))
			write(t, l.env.home+"/.ssh/config", "IdentityFile ~/.ssh/work\nIdentitiesOnly yes\n")
		}},
		"public file, held by the agent": {prepare: func(t *testing.T, l *sshLab) {
			l.env.getenv = setenv("SSH_AUTH_SOCK", startAgent(t, l.key))
			write(t, l.env.home+"/.ssh/work.pub", l.key.authorized())
			write(t, l.env.home+"/.ssh/config", "IdentityFile ~/.ssh/work.pub\nIdentitiesOnly yes\n")
		}},
		"certificate": {prepare: func(t *testing.T, l *sshLab) {
			own := newKey(t, "ed25519") // not let in itself
			cert := certify(t, l.key.signer, own.signer, ssh.UserCert, "bob").PublicKey()
			write(t, l.env.home+"/.ssh/id_ed25519", own.pem)
			write(t, l.env.home+"/.ssh/id_ed25519-cert.pub", string(ssh.MarshalAuthorizedKey(cert)))
		}},
		"encrypted file": {prepare: func(t *testing.T, l *sshLab) {
			write(t, l.env.home+"/.ssh/id_ed25519", l.key.encrypted(t))
		}, refused: []string{"no ssh key to offer", "id_ed25519 is encrypted", "ssh-add", "ssh-copy-id -p"}},
		"none": {prepare: func(*testing.T, *sshLab) {}, refused: []string{"no ssh key to offer", "ssh-copy-id"}},
		"a wrong one": {prepare: func(t *testing.T, l *sshLab) {
			write(t, l.env.home+"/.ssh/id_rsa", newKey(t, "rsa").pem)
		}, refused: []string{"accepts none of the keys", "/.ssh/id_rsa"}},
		"the agent's are not to be offered": {prepare: func(t *testing.T, l *sshLab) {
			l.env.getenv = setenv("SSH_AUTH_SOCK", startAgent(t, l.key))
			write(t, l.env.home+"/.ssh/config", "IdentityFile ~/.ssh/work\nIdentitiesOnly yes\n")
		}, refused: []string{"/.ssh/work: no such file"}},
		"no agent there": {prepare: func(t *testing.T, l *sshLab) {
			l.env.getenv = setenv("SSH_AUTH_SOCK", "/nonexistent")
		}, refused: []string{"ssh agent: "}},
		"no key at all": {prepare: func(t *testing.T, l *sshLab) {
			write(t, l.env.home+"/.ssh/id_rsa", "nonsense\x1b[2J\n")
		}, refused: []string{"/.ssh/id_rsa: "}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newSSHLab(t).know(0)
			l.key = newKey(t, orElse(c.kind, "ed25519"))
			l.srv.allowed = []ssh.PublicKey{l.key.signer.PublicKey()}
			if err := os.Remove(l.env.home + "/.ssh/id_ed25519"); err != nil {
				t.Fatal(err)
			}
			c.prepare(t, l)
			if c.refused == nil {
				mustReach(t, l.env, l.uri, false, 7)
				return
			}
			mustFail(t, l.env, l.uri, backend.ErrAuth, c.refused...)
		})
	}
}

func setenv(name, value string) func(string) string {
	return func(n string) string {
		if n == name {
			return value
		}
		return ""
	}
}

func TestSSHOffersConfiguredKeysFirst(t *testing.T) {
	env := testEnviron(t)
	others := []key{newKey(t, "ed25519"), newKey(t, "ed25519")}
	mine := newKey(t, "ed25519")
	write(t, env.home+"/mine", mine.pem)
	env.getenv = setenv("SSH_AUTH_SOCK", startAgent(t, others...))
	h := &hop{agent: env.getenv("SSH_AUTH_SOCK"), identities: []string{env.home + "/mine"}, explicit: true}
	ring := newKeyring(t.Context(), h)
	defer ring.close()
	if want := []string{env.home + "/mine", "agent:key0", "agent:key1"}; !slices.Equal(ring.names, want) {
		t.Errorf("offers %q, want %q", ring.names, want)
	}
}

func TestSSHForwardsToTheRightSocket(t *testing.T) {
	for name, c := range map[string]struct {
		query    string
		readOnly bool
		sockets  []string // that exist, in the order of their daemons' numbers from 1
		reach    uint32
		asked    []string
	}{
		"monolithic":       {sockets: []string{"libvirt-sock"}, reach: 1, asked: []string{"virtqemud-sock", "libvirt-sock"}},
		"modular":          {sockets: []string{"libvirt-sock", "virtqemud-sock"}, reach: 2, asked: []string{"virtqemud-sock"}},
		"legacy mode":      {query: "?mode=legacy", sockets: []string{"virtqemud-sock", "libvirt-sock"}, reach: 2, asked: []string{"libvirt-sock"}},
		"read-only":        {readOnly: true, sockets: []string{"libvirt-sock", "libvirt-sock-ro"}, reach: 2, asked: []string{"virtqemud-sock-ro", "libvirt-sock-ro"}},
		"read-only, no ro": {readOnly: true, sockets: []string{"libvirt-sock"}, reach: 1, asked: []string{"virtqemud-sock-ro", "libvirt-sock-ro", "virtqemud-sock", "libvirt-sock"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newSSHLab(t).know(0)
			l.env.remoteRun = t.TempDir()
			for i, s := range c.sockets {
				daemon(t, listenUnix(t, filepath.Join(l.env.remoteRun, s)), uint32(i+1))
			}
			mustReach(t, l.env, l.uri+c.query, c.readOnly, c.reach)
			if got := l.srv.asked(); !slices.Equal(got, c.asked) {
				t.Errorf("asked for %q, want %q", got, c.asked)
			}
		})
	}
}

func TestSSHSocketOfTheURI(t *testing.T) {
	l := newSSHLab(t).know(0)
	own := filepath.Join(t.TempDir(), "own")
	daemon(t, listenUnix(t, own), 9)
	mustReach(t, l.env, l.uri+"?socket="+own, false, 9)
}

// helper plays virt-ssh-helper.
func helper(_ string, ch io.ReadWriter, _ io.Writer) uint32 {
	answer(ch, 42)
	return 0
}

func TestSSHFallsBackToACommand(t *testing.T) {
	l := newSSHLab(t).know(0)
	l.srv.noForward.Store(true)
	l.srv.run = helper
	mustReach(t, l.env, l.uri, true, 42)
	cmd := l.srv.lastCommand()
	for _, want := range []string{"sh -c '", "virt-ssh-helper -r ", "qemu:///system", "nc", "libvirt-sock-ro"} {
		if !strings.Contains(cmd, want) {
			t.Errorf("ran %q, without %q", cmd, want)
		}
	}
}

func TestSSHSessionGoesThroughACommand(t *testing.T) {
	l := newSSHLab(t).know(0)
	l.srv.run = helper
	mustReach(t, l.env, strings.Replace(l.uri, "/system", "/session", 1), true, 42)
	if cmd := l.srv.lastCommand(); !strings.Contains(cmd, "virt-ssh-helper ") || strings.Contains(cmd, "-r ") || !strings.Contains(cmd, "$XDG_RUNTIME_DIR") && !strings.Contains(cmd, "${XDG_RUNTIME_DIR") {
		t.Errorf("ran %q", cmd)
	}
	if len(l.srv.asked()) != 0 {
		t.Errorf("asked for sockets %q, whose place it cannot know", l.srv.asked())
	}
}

func TestSSHCommandFails(t *testing.T) {
	for name, c := range map[string]struct {
		run  func(string, io.ReadWriter, io.Writer) uint32
		want string
	}{
		"says why": {func(_ string, _ io.ReadWriter, stderr io.Writer) uint32 {
			_, _ = io.WriteString(stderr, "some noise\r\nvirt-ssh-helper: cannot \x1b[31mconnect\n")
			return 1
		}, "virt-ssh-helper: cannot"},
		"says nothing": {func(string, io.ReadWriter, io.Writer) uint32 { return 1 }, "EOF"},
		"talks rubbish": {func(_ string, ch io.ReadWriter, _ io.Writer) uint32 {
			_, _ = io.WriteString(ch, "Welcome to this host!\n")
			return 0
		}, "no libvirt daemon answers"},
		"announces too much": {func(_ string, ch io.ReadWriter, _ io.Writer) uint32 {
			_, _ = ch.Write(binary.BigEndian.AppendUint32(nil, 1<<31))
			return 0
		}, "no libvirt daemon answers"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newSSHLab(t).know(0)
			l.srv.noForward.Store(true)
			l.srv.run = c.run
			mustFail(t, l.env, l.uri, backend.ErrUnreachable, c.want, "AllowStreamLocalForwarding")
		})
	}
}

func TestSSHNoDaemon(t *testing.T) {
	l := newSSHLab(t).know(0)
	l.env.remoteRun = t.TempDir()
	l.srv.run = func(_ string, _ io.ReadWriter, stderr io.Writer) uint32 {
		_, _ = io.WriteString(stderr, "no libvirt socket\n")
		return 1
	}
	mustFail(t, l.env, l.uri, backend.ErrUnreachable, "virtqemud-sock", "libvirt-sock", "open failed", "is libvirt running there", "user bob")
}

func TestSSHCloseEndsEverything(t *testing.T) {
	l := newSSHLab(t).know(0)
	c := mustReach(t, l.env, l.uri, false, 7)
	read := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 1))
		read <- err
	}()
	for range 2 {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if err := <-read; err == nil {
		t.Error("a read went on after close")
	}
	l.srv.live.Wait() // the server's side of the connection has ended
	if cause := c.(interface{ Cause() error }).Cause(); !errors.Is(cause, net.ErrClosed) && !errors.Is(cause, io.EOF) {
		t.Errorf("cause %v", cause)
	}
}

package dial

import (
	"bufio"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"berth/backend"
)

func TestConfigIsHonoured(t *testing.T) {
	l := newSSHLab(t)
	if err := os.Rename(l.env.home+"/.ssh/id_ed25519", l.env.home+"/mykey"); err != nil {
		t.Fatal(err)
	}
	write(t, l.env.home+"/hosts", l.srv.knownLine(0))
	write(t, l.env.home+"/.ssh/config", `# mine
Host other
  Port 1
Host hv*
  HostName 127.0.0.1
  Port `+l.srv.port+`
  User carol
  IdentityFile "~/mykey"
  IdentitiesOnly yes
  UserKnownHostsFile ~/none ~/hosts
Host *
  Port 2
  User nobody
`)
	mustReach(t, l.env, "qemu+ssh://hv1/system", false, 7)
	if got := l.srv.loggedIn(); got != "carol" {
		t.Errorf("logged in as %q, want carol", got)
	}
	mustReach(t, l.env, "qemu+ssh://dave@hv1/system", false, 7)
	if got := l.srv.loggedIn(); got != "dave" {
		t.Errorf("logged in as %q, want the URI's dave", got)
	}
}

func TestConfigOfTheSystem(t *testing.T) {
	l := newSSHLab(t).know(0)
	write(t, l.env.sshDir+"/ssh_config", "Host hv1\nHostName 127.0.0.1\nPort "+l.srv.port+"\nUser system\n")
	write(t, l.env.home+"/.ssh/config", "Host hv1\nUser own\n")
	mustReach(t, l.env, "qemu+ssh://hv1/system", false, 7)
	if got := l.srv.loggedIn(); got != "own" {
		t.Errorf("logged in as %q, want the user's own setting", got)
	}
}

func TestHostKeyAlias(t *testing.T) {
	l := newSSHLab(t)
	write(t, l.knownHosts(), knownhosts.Line([]string{"the-cluster"}, l.srv.keys[0].PublicKey())+"\n")
	write(t, l.env.home+"/.ssh/config", "HostKeyAlias the-cluster\n")
	mustReach(t, l.env, l.uri, false, 7)
}

func TestHop(t *testing.T) {
	e := testEnviron(t, "SSH_AUTH_SOCK", "/agent", "KEYS", "/keys")
	write(t, e.home+"/.ssh/config", `
Host plain
Host many
  HostName %h.example.org
  IdentityFile ~/.ssh/%r@%h
  IdentityFile ${KEYS}/%n
  IdentityAgent none
  ConnectTimeout 3
  ServerAliveInterval 1m
  ServerAliveCountMax 9
  ProxyCommand nc %h %p %%
Host jumpy
  ProxyJump a, bob@b:2022
Host bad
  Port 99999
`)
	plain, err := e.hop(t.Context(), "plain", "", "")
	if err != nil {
		t.Fatal(err)
	}
	if plain.String() != "alice@plain" || plain.address() != "plain:22" || plain.agent != "/agent" || plain.explicit ||
		plain.timeout != 0 || plain.aliveEvery != 15*time.Second || plain.aliveMisses != 3 || plain.acceptNew || len(plain.identities) != 3 {
		t.Errorf("without settings: %+v", plain)
	}
	many, err := e.hop(t.Context(), "many", "root", "2022")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{e.home + "/.ssh/root@many.example.org", "/keys/many"}; !slices.Equal(many.identities, want) || !many.explicit {
		t.Errorf("identities %q, want %q", many.identities, want)
	}
	if many.String() != "root@many.example.org:2022" || many.agent != "" || many.timeout != 3*time.Second || many.aliveEvery != time.Minute ||
		many.aliveMisses != 9 || many.proxy != "nc many.example.org 2022 %" {
		t.Errorf("%+v", many)
	}
	jumpy, err := e.hop(t.Context(), "jumpy", "", "")
	if err != nil || !slices.Equal(jumpy.jumps, []string{"a", "bob@b:2022"}) {
		t.Errorf("jumps %q, %v", jumpy.jumps, err)
	}
	if h, err := e.hop(t.Context(), "bad", "", ""); err == nil || !strings.Contains(err.Error(), "99999") {
		t.Errorf("a port of 99999 gave %+v, %v", h, err)
	}
}

func TestConfigThatOnlySSHUnderstands(t *testing.T) {
	l := newSSHLab(t).know(0)
	write(t, l.env.home+"/.ssh/config", "Match exec \"true\"\n  User erin\n")
	mustFail(t, l.env, "qemu+ssh://hv1/system", backend.ErrUnreachable, l.env.home+"/.ssh/config", "Match", "install the ssh program")

	fake := l.env.home + "/ssh"
	write(t, fake, "#!/bin/sh\n[ \"$*\" = \"-F "+l.env.home+"/.ssh/config -G -- hv1\" ] || exit 1\n"+
		"echo user erin; echo hostname 127.0.0.1; echo port "+l.srv.port+"; echo 'identityfile ~/.ssh/id_ed25519'; echo userknownhostsfile "+l.knownHosts()+"; echo proxycommand none\n")
	if err := os.Chmod(fake, 0o700); err != nil {
		t.Fatal(err)
	}
	l.env.look = func(name string) string {
		if name == "ssh" {
			return fake
		}
		return ""
	}
	mustReach(t, l.env, "qemu+ssh://hv1/system", false, 7)
	if got := l.srv.loggedIn(); got != "erin" {
		t.Errorf("logged in as %q, want erin", got)
	}
}

func TestProxyJump(t *testing.T) {
	l := newSSHLab(t)
	jumps := []*sshServer{newSSHServer(t, []ssh.Signer{newKey(t, "ecdsa").signer}, l.key.signer.PublicKey()),
		newSSHServer(t, []ssh.Signer{newKey(t, "rsa").signer}, l.key.signer.PublicKey())}
	write(t, l.knownHosts(), l.srv.knownLine(0)+jumps[0].knownLine(0)+jumps[1].knownLine(0))
	write(t, l.env.home+"/.ssh/config", "Host first\nHostName 127.0.0.1\nPort "+jumps[0].port+"\nUser one\nHost hv1\nHostName 127.0.0.1\nPort "+l.srv.port+
		"\nProxyJump first,two@"+jumps[1].addr+"\n")
	c := mustReach(t, l.env, "qemu+ssh://three@hv1/system", false, 7)
	if a, b, c := jumps[0].loggedIn(), jumps[1].loggedIn(), l.srv.loggedIn(); a != "one" || b != "two" || c != "three" {
		t.Errorf("logged in as %q, %q, %q", a, b, c)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for _, s := range append(jumps, l.srv) {
		s.live.Wait() // all three connections have ended
	}
}

func TestProxyJumpFails(t *testing.T) {
	l := newSSHLab(t)
	jump := newSSHServer(t, []ssh.Signer{newKey(t, "ecdsa").signer}, l.key.signer.PublicKey())
	write(t, l.env.home+"/.ssh/config", "Host hv1\nHostName 127.0.0.1\nPort 1\nProxyJump "+jump.addr+"\n")
	mustFail(t, l.env, "qemu+ssh://hv1/system", backend.ErrHostKey, "ssh-keyscan -H -p "+jump.port)
	write(t, l.knownHosts(), jump.knownLine(0))
	mustFail(t, l.env, "qemu+ssh://hv1/system", backend.ErrUnreachable, "127.0.0.1:1 through "+jump.addr)
}

func TestProxyJumpInACircle(t *testing.T) {
	e := testEnviron(t)
	write(t, e.home+"/.ssh/config", "Host a\nProxyJump b\nHost b\nProxyJump a\n")
	mustFail(t, e, "qemu+ssh://a/system", backend.ErrUnreachable, "circle")
}

func TestProxyCommand(t *testing.T) {
	bash := lookProgram("bash")
	if bash == "" {
		t.Fatal("needs bash for its /dev/tcp")
	}
	l := newSSHLab(t).know(0)
	// The command copies between its own standard input and output and sshd.
	write(t, l.env.home+"/.ssh/config", "Host 127.0.0.1\nProxyCommand "+bash+` -c 'exec 3<>/dev/tcp/%h/%p; cat <&3 & exec cat >&3'`+"\n")
	c := mustReach(t, l.env, l.uri, false, 7)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestConnectTimeoutOfTheConfiguration(t *testing.T) {
	mute := listenTCP(t)
	serve(t, mute, func(c net.Conn) { _, _ = bufio.NewReader(c).ReadString(0) })
	e := testEnviron(t)
	write(t, e.home+"/.ssh/config", "ConnectTimeout 1\n")
	start := time.Now()
	mustFail(t, e, "qemu+ssh://"+mute.Addr().String()+"/system", backend.ErrTimeout, "firewall")
	if took := time.Since(start); took < time.Second || took > 5*time.Second {
		t.Errorf("gave up after %v, want 1 s", took)
	}
}

package dial

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"berth/backend"
)

// hostKeys checks one server's host key against the known_hosts files.
type hostKeys struct {
	hop     *hop
	check   ssh.HostKeyCallback
	refused error // why check said no, if it did
}

func joinHostPort(host, port string) string { return net.JoinHostPort(host, port) }

// newHostKeys reads the known_hosts files that exist.
func newHostKeys(h *hop) (*hostKeys, error) {
	var files []string
	for _, f := range h.knownHosts {
		if exists(f) {
			files = append(files, f)
		}
	}
	check, err := knownhosts.New(files...)
	if err != nil {
		return nil, faultf(backend.ErrHostKey, "remove or mend that line", "known_hosts: %w", err)
	}
	return &hostKeys{hop: h, check: check}, nil
}

// anyAddr stands for the server's address, which known_hosts is not asked by.
var anyAddr net.Addr = &net.TCPAddr{IP: net.IPv4zero, Port: 0}

// plainAlgorithms are those of host keys without certificates, in the ssh
// program's order: an unknown host shows the same key to both.
var plainAlgorithms = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
}

// algorithms are the host key algorithms to ask for: those of the keys that
// are known, so that a host known by its Ed25519 key is not refused for
// showing an ECDSA one first. A certificate is asked for only where a CA that
// might have signed it is known.
func (k *hostKeys) algorithms() []string {
	types := map[string]bool{}
	var algos []string
	for _, known := range k.known() {
		if isAuthority(known) {
			algos = certAlgorithms()
		} else {
			types[known.Key.Type()] = true
		}
	}
	if len(types) == 0 {
		return append(algos, plainAlgorithms...)
	}
	for _, a := range plainAlgorithms {
		if types[a] || (types[ssh.KeyAlgoRSA] && strings.HasPrefix(a, "rsa-")) {
			algos = append(algos, a)
		}
	}
	return algos
}

// known lists the lines about this server.
func (k *hostKeys) known() []knownhosts.KnownKey {
	var keyErr *knownhosts.KeyError
	if err := k.check(k.hop.keyName(), anyAddr, noKey{}); errors.As(err, &keyErr) {
		return keyErr.Want
	}
	return nil
}

// noKey is a public key that equals no other, to look lines up with.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return []byte("none") }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("not a key") }

// isAuthority reports whether a line is about a CA that signs host keys.
func isAuthority(k knownhosts.KnownKey) bool {
	data, err := os.ReadFile(k.Filename)
	if err != nil {
		return false
	}
	n := 0
	for line := range bytes.Lines(data) {
		if n++; n == k.Line {
			return bytes.HasPrefix(bytes.TrimSpace(line), []byte("@cert-authority"))
		}
	}
	return false
}

// certAlgorithms are the algorithms of host certificates.
func certAlgorithms() []string {
	return slices.DeleteFunc(ssh.SupportedAlgorithms().HostKeys, func(a string) bool { return !strings.Contains(a, "-cert-") })
}

// callback is the ssh library's check. The name the library passes is of the
// address that was dialled; known_hosts may know the server by another.
func (k *hostKeys) callback(_ string, remote net.Addr, key ssh.PublicKey) error {
	if _, ok := remote.(*net.TCPAddr); !ok {
		remote = anyAddr
	}
	err := k.check(k.hop.keyName(), remote, key)
	if err == nil {
		return nil
	}
	k.refused = k.judge(key, err)
	return k.refused
}

// judge says what is wrong with a host key, or takes it when the person has
// said that new ones are to be taken.
func (k *hostKeys) judge(key ssh.PublicKey, err error) error {
	var (
		keyErr  *knownhosts.KeyError
		revoked *knownhosts.RevokedError
	)
	switch {
	case errors.As(err, &revoked):
		return faultf(backend.ErrHostKey, "do not connect; ask who runs the host",
			"%s shows a key that %s:%d marks as revoked (%s)", k.hop.host, revoked.Revoked.Filename, revoked.Revoked.Line, fingerprint(key))
	case !errors.As(err, &keyErr):
		return faultf(backend.ErrHostKey, "ask who runs the host", "%s: %w", k.hop.host, err)
	}
	want := slices.DeleteFunc(keyErr.Want, isAuthority)
	if len(want) > 0 {
		return k.changed(key, want)
	}
	if k.hop.acceptNew {
		return k.remember(key)
	}
	return k.unknown(key)
}

func (k *hostKeys) unknown(key ssh.PublicKey) error {
	file := first(k.hop.knownHosts)
	scan := "ssh-keyscan -H " + k.hop.host
	if k.hop.port != "22" {
		scan = "ssh-keyscan -H -p " + k.hop.port + " " + k.hop.host
	}
	hint := fmt.Sprintf("compare that fingerprint with the host's own (there: ssh-keygen -lf /etc/ssh/ssh_host_%s_key.pub), then: %s >> %s, or connect once with: %s",
		keyFile(key), scan, file, k.sshCommand())
	return faultf(backend.ErrHostKey, hint, "the key of %s is not in %s: it shows %s", k.hop.host, file, fingerprint(key))
}

func (k *hostKeys) changed(key ssh.PublicKey, want []knownhosts.KnownKey) error {
	var known []string
	for _, w := range want {
		known = append(known, fmt.Sprintf("%s:%d has %s", w.Filename, w.Line, fingerprint(w.Key)))
	}
	name := knownhosts.Normalize(k.hop.keyName())
	hint := fmt.Sprintf("somebody may be listening in; only if whoever runs the host confirms the new key: ssh-keygen -f %s -R '%s', then accept it with: %s",
		want[0].Filename, name, k.sshCommand())
	return faultf(backend.ErrHostKey, hint, "THE KEY OF %s HAS CHANGED: it shows %s, but %s", k.hop.host, fingerprint(key), strings.Join(known, ", "))
}

// sshCommand is how to connect to the same server by hand.
func (k *hostKeys) sshCommand() string {
	if k.hop.port == "22" {
		return "ssh " + k.hop.user + "@" + k.hop.alias
	}
	return "ssh -p " + k.hop.port + " " + k.hop.user + "@" + k.hop.alias
}

// remember adds an accepted key to the user's known_hosts, as the ssh program
// does, so that a change is noticed next time.
func (k *hostKeys) remember(key ssh.PublicKey) error {
	file := first(k.hop.knownHosts)
	if file == "" {
		return nil
	}
	name := knownhosts.Normalize(k.hop.keyName())
	if k.hop.hashNew {
		name = knownhosts.HashHostname(name)
	}
	if err := appendLine(file, knownhosts.Line([]string{name}, key)); err != nil {
		return faultf(backend.ErrHostKey, "make it writable, or add the key by hand", "the new key of %s cannot be remembered: %w", k.hop.host, err)
	}
	return nil
}

func appendLine(file, line string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

// noCommonKey is the error when the server has no key of the types that are
// known.
func (k *hostKeys) noCommonKey(err error) error {
	var known []string
	for _, w := range k.known() {
		known = append(known, fmt.Sprintf("%s (%s:%d)", w.Key.Type(), w.Filename, w.Line))
	}
	return faultf(backend.ErrHostKey, "if whoever runs the host confirms that its keys were replaced: "+k.sshCommand(),
		"%s no longer shows a key of a known type, which are %s: %w", k.hop.host, strings.Join(known, ", "), err)
}

// fingerprint is "ED25519 key SHA256:…", as the ssh program prints it.
func fingerprint(key ssh.PublicKey) string {
	return strings.ToUpper(keyFile(key)) + " key " + ssh.FingerprintSHA256(key)
}

// keyFile is the word for a key's type in sshd's file names.
func keyFile(key ssh.PublicKey) string {
	t := key.Type()
	switch {
	case strings.Contains(t, "ed25519"):
		return "ed25519"
	case strings.Contains(t, "ecdsa"):
		return "ecdsa"
	case strings.Contains(t, "rsa"):
		return "rsa"
	}
	return t
}

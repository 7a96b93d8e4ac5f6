package dial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"berth/backend"
)

// keyring gathers the keys to offer to one server, and notes on those that
// could not be used, for the error when none is accepted.
type keyring struct {
	signers []ssh.Signer
	names   []string // of signers, for messages
	notes   []string
	locked  string          // the first encrypted key that the agent does not hold
	seen    map[string]bool // by public key
	conn    net.Conn        // the agent's, open until the handshake is over
}

// newKeyring collects keys in the order the ssh program offers them: those
// that were configured, the agent's, the usual files. An agent that does not
// answer before ctx ends is given up.
func newKeyring(ctx context.Context, h *hop) *keyring {
	k := &keyring{seen: map[string]bool{}}
	held := k.openAgent(ctx, h.agent)
	if !h.explicit {
		k.addAgent(held)
	}
	for _, file := range h.identities {
		k.addFile(file, held, h.explicit)
	}
	if h.explicit && !h.identitiesOnly {
		k.addAgent(held)
	}
	return k
}

// close ends the agent's connection.
func (k *keyring) close() {
	if k.conn != nil {
		_ = k.conn.Close() // nothing is lost: it was only asked
	}
}

// held is one key that the agent keeps.
type held struct {
	signer  ssh.Signer
	comment string
}

// openAgent lists the agent's keys.
func (k *keyring) openAgent(ctx context.Context, socket string) []held {
	if socket == "" {
		return nil
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		k.note("ssh agent: %v", err)
		return nil
	}
	k.conn = conn
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	client := agent.NewClient(conn)
	keys, err := client.List()
	if err != nil {
		k.note("ssh agent: %v", err)
		return nil
	}
	signers, err := client.Signers()
	if err != nil {
		k.note("ssh agent: %v", err)
		return nil
	}
	comments := map[string]string{}
	for _, key := range keys {
		comments[string(key.Marshal())] = key.Comment
	}
	var list []held
	for _, s := range signers {
		list = append(list, held{s, comments[string(s.PublicKey().Marshal())]})
	}
	return list
}

func (k *keyring) addAgent(keys []held) {
	for _, key := range keys {
		k.add(key.signer, "agent:"+orElse(backend.Clean(key.comment), key.signer.PublicKey().Type()))
	}
}

func (k *keyring) add(s ssh.Signer, name string) {
	id := string(s.PublicKey().Marshal())
	if !k.seen[id] {
		k.seen[id] = true
		k.signers = append(k.signers, s)
		k.names = append(k.names, name)
	}
}

// addFile adds a private key file, or the agent's copy of it when the file is
// encrypted. A missing file is worth a note only if somebody named it.
func (k *keyring) addFile(path string, keys []held, named bool) {
	public, certificate := publicKey(path), certificateOf(path)
	data, err := os.ReadFile(path)
	var signer ssh.Signer
	var locked *ssh.PassphraseMissingError
	if err == nil {
		signer, err = ssh.ParsePrivateKey(data)
	}
	if errors.As(err, &locked) && locked.PublicKey != nil {
		public = locked.PublicKey
	}
	if signer == nil {
		signer = fromAgent(public, keys)
	}
	switch {
	case signer != nil:
		if certificate != nil {
			if cs, err := ssh.NewCertSigner(certificate, signer); err == nil {
				k.add(cs, path+" (certificate)")
			}
		}
		k.add(signer, path)
	case errors.As(err, &locked):
		k.note("%s is encrypted and not in the agent", path)
		k.locked = orElse(k.locked, path)
	case errors.Is(err, fs.ErrNotExist) && !named:
	default:
		k.note("%s: %v", path, shortPathError(err))
	}
}

// fromAgent finds the agent's signer for a public key.
func fromAgent(public ssh.PublicKey, keys []held) ssh.Signer {
	if public == nil {
		return nil
	}
	for _, key := range keys {
		if bytes.Equal(key.signer.PublicKey().Marshal(), public.Marshal()) {
			return key.signer
		}
	}
	return nil
}

// publicKey reads the public half beside a private key, or is nil.
func publicKey(path string) ssh.PublicKey {
	data, err := os.ReadFile(strings.TrimSuffix(path, ".pub") + ".pub")
	if err != nil {
		return nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil
	}
	return key
}

// certificateOf reads the certificate that the ssh program would use with a
// private key, or is nil.
func certificateOf(path string) *ssh.Certificate {
	cert, _ := publicKey(path + "-cert").(*ssh.Certificate)
	return cert
}

func (k *keyring) note(format string, args ...any) {
	k.notes = append(k.notes, backend.Clean(fmt.Sprintf(format, args...)))
}

// methods is what to authenticate with.
func (k *keyring) methods() []ssh.AuthMethod {
	return []ssh.AuthMethod{ssh.PublicKeys(k.signers...)}
}

// refused is the error for a server that accepted none of the keys.
func (k *keyring) refused(h *hop) error {
	what := "there is no ssh key to offer"
	if len(k.names) > 0 {
		what = "it accepts none of the keys " + strings.Join(k.names, ", ")
	}
	if len(k.notes) > 0 {
		what += " (not used: " + strings.Join(k.notes, "; ") + ")"
	}
	copyID := "ssh-copy-id " + h.user + "@" + h.alias
	if h.port != "22" {
		copyID = "ssh-copy-id -p " + h.port + " " + h.user + "@" + h.alias
	}
	hint := "let a key in with: " + copyID + "; berth uses keys and the agent, never passwords"
	if k.locked != "" {
		hint = "unlock the key for the agent: ssh-add " + k.locked + ", or " + hint
	}
	return faultf(backend.ErrAuth, hint, "%s: %s", h, what)
}

// shortPathError leaves out the path, which is named already.
func shortPathError(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) && filepath.IsAbs(pe.Path) {
		return pe.Err
	}
	return err
}

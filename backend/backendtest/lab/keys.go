package lab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// makeKeys fills dir with what hosts and clients prove themselves with: an
// ssh host key and a user's, and a TLS authority with a client certificate.
// The authority is for the hosts' certificates.
func makeKeys(dir string) (*authority, error) {
	for _, d := range []string{"home/.ssh", "ssh", "pki"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	for _, key := range []string{"ssh/host_key", "home/.ssh/id_ed25519"} {
		if err := sshKey(filepath.Join(dir, key)); err != nil {
			return nil, err
		}
	}
	ca, err := newAuthority(filepath.Join(dir, "pki"))
	if err != nil {
		return nil, err
	}
	return ca, ca.issue(ca.dir, "client", nil)
}

// sshKey writes an ed25519 key pair as ssh-keygen would.
func sshKey(path string) error {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(crypto.PrivateKey(priv), "berth lab")
	if err != nil {
		return err
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	return os.WriteFile(path+".pub", ssh.MarshalAuthorizedKey(sshPub), 0o644)
}

// makeSSHHome writes the client's known_hosts and config.
func makeSSHHome(dir string, hosts []*Host) error {
	key, err := os.ReadFile(filepath.Join(dir, "ssh", "host_key.pub"))
	if err != nil {
		return err
	}
	home := filepath.Join(dir, "home", ".ssh")
	var known, config strings.Builder
	for _, h := range hosts {
		fmt.Fprintf(&known, "%s,%s %s", h.Addr, h.Name, key)
		fmt.Fprintf(&config, "Host %s\n  HostName %s\n  User root\n  IdentityFile %s/id_ed25519\n  UserKnownHostsFile %s/known_hosts\n", h.Name, h.Addr, home, home)
	}
	if err := os.WriteFile(filepath.Join(home, "known_hosts"), []byte(known.String()), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(home, "config"), []byte(config.String()), 0o600)
}

// authority signs the lab's TLS certificates; its files have the names that
// libvirt looks for (https://libvirt.org/kbase/tlscerts.html).
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(dir string) (*authority, error) {
	a := &authority{dir: dir, cert: newCert("berth lab CA")}
	a.cert.IsCA, a.cert.BasicConstraintsValid = true, true
	a.cert.KeyUsage = x509.KeyUsageCertSign
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	return a, writeCert(filepath.Join(dir, "cacert.pem"), der)
}

// issue writes NAMEcert.pem and NAMEkey.pem to dir, good for both ends of a
// connection; a server's names its address.
func (a *authority) issue(dir, name string, ip net.IP) error {
	cert := newCert("berth lab " + name)
	cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	cert.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	if ip != nil {
		cert.IPAddresses = []net.IP{ip}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return err
	}
	if err := writeKey(filepath.Join(dir, name+"key.pem"), key); err != nil {
		return err
	}
	return writeCert(filepath.Join(dir, name+"cert.pem"), der)
}

func newCert(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
	}
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

func writeCert(path string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

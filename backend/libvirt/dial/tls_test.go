package dial

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

// authority is a CA of the test's own.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// leaf is a certificate with its key, as PEM.
type leaf struct{ cert, key string }

func (l leaf) pair(t *testing.T) tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair([]byte(l.cert), []byte(l.key))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	der, key := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}})
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.key = cert, key
	return a
}

// sign completes and signs a certificate; the first one signs itself.
func (a *authority) sign(c *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if c.SerialNumber == nil {
		c.SerialNumber = big.NewInt(time.Now().UnixNano())
	}
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

func (a *authority) issue(c *x509.Certificate) leaf {
	a.t.Helper()
	der, key := a.sign(c)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return leaf{encode("CERTIFICATE", der), encode("PRIVATE KEY", raw)}
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func (a *authority) pem() string { return encode("CERTIFICATE", a.cert.Raw) }

// revoke makes a list that revokes one certificate.
func (a *authority) revoke(serial int64) string {
	a.t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(serial), RevocationTime: time.Unix(1700000000, 0)}}}, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return encode("X509 CRL", der)
}

// serveTLS is a libvirt daemon's TLS port: it asks for a client certificate of
// ca, sends its verdict and answers calls.
func serveTLS(t *testing.T, server leaf, ca *authority, verdict byte) (port string) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	l := listenTCP(t)
	config := &tls.Config{Certificates: []tls.Certificate{server.pair(t)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	serve(t, l, func(c net.Conn) {
		s := tls.Server(c, config)
		if s.Handshake() != nil {
			return
		}
		if _, err := s.Write([]byte{verdict}); err == nil {
			answer(s, 11)
		}
	})
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

var (
	goodServer = x509.Certificate{Subject: pkix.Name{CommonName: "whatever"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	oldServer  = x509.Certificate{Subject: pkix.Name{CommonName: "localhost"}} // as certtool makes it without dns_name
	badServer  = x509.Certificate{Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"other.example.org"}}
)

func TestTLS(t *testing.T) {
	for name, c := range map[string]struct {
		server  x509.Certificate
		verdict byte
		host    string
		query   string
		prepare func(t *testing.T, dir string, ca *authority)
		kind    error // nil when it connects
		say     []string
	}{
		"by name":                         {server: goodServer},
		"by address":                      {server: goodServer, host: "127.0.0.1"},
		"by common name":                  {server: oldServer},
		"no common name for an address":   {server: oldServer, host: "127.0.0.1", kind: backend.ErrAuth, say: []string{"cacert.pem"}},
		"another's name":                  {server: badServer, kind: backend.ErrAuth, say: []string{"not to be trusted", "other.example.org"}},
		"another's name, unchecked":       {server: badServer, query: "&no_verify=1"},
		"no_verify=0 does check":          {server: badServer, query: "&no_verify=0", kind: backend.ErrAuth},
		"the daemon does not like us":     {server: goodServer, verdict: 2, kind: backend.ErrAuth, say: []string{"refused our certificate"}},
		"the CA's certificate is missing": {server: goodServer, prepare: remove("cacert.pem"), kind: backend.ErrAuth, say: []string{"cacert.pem", "pkipath"}},
		"no CA needed without a check":    {server: goodServer, query: "&no_verify=1", prepare: remove("cacert.pem")},
		"we have no certificate":          {server: goodServer, prepare: remove("clientcert.pem"), kind: backend.ErrAuth, say: []string{"no client certificate", "clientcert.pem", "refused"}},
		"our key is another's": {server: goodServer, kind: backend.ErrAuth, say: []string{"clientcert.pem"}, prepare: func(t *testing.T, dir string, ca *authority) {
			write(t, dir+"/clientkey.pem", ca.issue(&x509.Certificate{}).key)
		}},
		"another CA": {server: goodServer, kind: backend.ErrAuth, say: []string{"not to be trusted"}, prepare: func(t *testing.T, dir string, _ *authority) {
			write(t, dir+"/cacert.pem", newAuthority(t).pem())
		}},
		"the CA's file is no certificate": {server: goodServer, kind: backend.ErrAuth, say: []string{"no certificate"}, prepare: func(t *testing.T, dir string, _ *authority) {
			write(t, dir+"/cacert.pem", "nothing")
		}},
		"revoked": {server: withSerial(goodServer, 77), kind: backend.ErrAuth, say: []string{"revoked on 2023-11-14"}, prepare: func(t *testing.T, dir string, ca *authority) {
			write(t, dir+"/cacrl.pem", ca.revoke(77))
		}},
		"another is revoked": {server: withSerial(goodServer, 78), prepare: func(t *testing.T, dir string, ca *authority) {
			write(t, dir+"/cacrl.pem", ca.revoke(77))
		}},
		"another CA's list": {server: withSerial(goodServer, 77), prepare: func(t *testing.T, dir string, _ *authority) {
			write(t, dir+"/cacrl.pem", newAuthority(t).revoke(77))
		}},
		"the list is broken": {server: goodServer, kind: backend.ErrAuth, say: []string{"cacrl.pem", "not PEM"}, prepare: func(t *testing.T, dir string, _ *authority) {
			write(t, dir+"/cacrl.pem", "nothing")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ca, dir := newAuthority(t), t.TempDir()
			fillPKI(t, dir, ca)
			if c.prepare != nil {
				c.prepare(t, dir, ca)
			}
			port := serveTLS(t, ca.issue(&c.server), ca, max(1, c.verdict))
			uri := "qemu+tls://" + orElse(c.host, "localhost") + ":" + port + "/system?pkipath=" + dir + c.query
			if c.kind == nil {
				mustReach(t, testEnviron(t), uri, false, 11)
				return
			}
			mustFail(t, testEnviron(t), uri, c.kind, c.say...)
		})
	}
}

func withSerial(c x509.Certificate, serial int64) x509.Certificate {
	c.SerialNumber = big.NewInt(serial)
	return c
}

func remove(name string) func(*testing.T, string, *authority) {
	return func(t *testing.T, dir string, _ *authority) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// fillPKI writes a client's credentials into one directory.
func fillPKI(t *testing.T, dir string, ca *authority) {
	t.Helper()
	client := ca.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "client"}})
	write(t, dir+"/cacert.pem", ca.pem())
	write(t, dir+"/clientcert.pem", client.cert)
	write(t, dir+"/clientkey.pem", client.key)
}

func TestTLSDefaultPlaces(t *testing.T) {
	for name, c := range map[string]struct {
		uid  int
		fill func(t *testing.T, e *environ, good, other *authority)
	}{
		"the system's": {1000, func(t *testing.T, e *environ, good, _ *authority) { fillSystemPKI(t, e, good) }},
		"the user's own": {1000, func(t *testing.T, e *environ, good, other *authority) {
			fillSystemPKI(t, e, other)
			fillPKI(t, e.home+"/.pki/libvirt", good)
		}},
		"root has none of its own": {0, func(t *testing.T, e *environ, good, other *authority) {
			fillSystemPKI(t, e, good)
			fillPKI(t, e.home+"/.pki/libvirt", other)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			e, good := testEnviron(t), newAuthority(t)
			e.uid = c.uid
			c.fill(t, e, good, newAuthority(t))
			port := serveTLS(t, good.issue(&x509.Certificate{DNSNames: []string{"localhost"}}), good, 1)
			mustReach(t, e, "qemu://localhost:"+port+"/system", false, 11)
		})
	}
}

// fillSystemPKI writes a client's credentials where a machine keeps them.
func fillSystemPKI(t *testing.T, e *environ, ca *authority) {
	t.Helper()
	dir := t.TempDir()
	fillPKI(t, dir, ca)
	for from, to := range map[string]string{"cacert.pem": "CA/cacert.pem", "clientcert.pem": "libvirt/clientcert.pem", "clientkey.pem": "libvirt/private/clientkey.pem"} {
		text, err := os.ReadFile(filepath.Join(dir, from))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(e.pki, to), string(text))
	}
}

func TestTLSToSomethingElse(t *testing.T) {
	plain, deaf := listenTCP(t), listenTCP(t)
	serve(t, plain, func(c net.Conn) { _, _ = io.WriteString(c, strings.Repeat("SSH-2.0-OpenSSH\r\n", 3)) })
	serve(t, deaf, func(net.Conn) {})
	mustFail(t, testEnviron(t), "qemu+tls://"+plain.Addr().String()+"/system?no_verify=1", backend.ErrUnreachable, "does not speak TLS", "qemu+tcp://")
	mustFail(t, testEnviron(t), "qemu+tls://"+deaf.Addr().String()+"/system?no_verify=1", backend.ErrUnreachable, "hung up")
}

package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"berth/backend"
)

// tlsFiles are the four files of a client's credentials.
type tlsFiles struct {
	ca, crl, cert, key string
}

// dialTLS connects, checks the server's certificate, shows ours, and waits for
// the byte by which libvirt says that it accepts it.
func (t *Target) dialTLS(ctx context.Context) (*tls.Conn, error) {
	config, err := t.tlsConfig()
	if err != nil {
		return nil, err
	}
	raw, err := dialTCP(ctx, t.address())
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, tlsFault(ctx, err)
	}
	if err := awaitVerdict(ctx, conn); err != nil {
		_ = raw.Close()
		if len(config.Certificates) == 0 && errors.Is(err, backend.ErrAuth) {
			err = faultf(backend.ErrAuth, "make a client certificate, or name its directory with pkipath=", "there is no client certificate %s: %w", t.locateTLS().cert, err)
		}
		return nil, err
	}
	return conn, nil
}

// awaitVerdict reads the one byte '\1' that a libvirt daemon sends when it has
// checked the client's certificate (virNetClientSetTLSSession in libvirt's
// src/rpc/virnetclient.c).
func awaitVerdict(ctx context.Context, conn *tls.Conn) error {
	stop := closeOnDone(ctx, conn.NetConn())
	var verdict [1]byte
	_, err := io.ReadFull(conn, verdict[:])
	if ended := stop(); ended != nil {
		return ended
	}
	const hint = "libvirt's log there says why; is the client's certificate signed by the CA it trusts, and its name in tls_allowed_dn_list?"
	switch {
	case isAlert(err), errors.Is(err, io.EOF):
		return faultf(backend.ErrAuth, hint, "the server refused our certificate: %w", err)
	case err != nil:
		return tlsFault(ctx, err)
	case verdict[0] != 1:
		return faultf(backend.ErrAuth, hint, "the server refused our certificate or address")
	}
	return nil
}

// isAlert reports whether the other side ended the TLS connection and said
// why; crypto/tls has no exported type for that.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// tlsFault sorts the errors of a handshake.
func tlsFault(ctx context.Context, err error) error {
	var (
		ours  *tls.CertificateVerificationError
		check *certError
		plain tls.RecordHeaderError
	)
	switch {
	case ctx.Err() != nil:
		return err
	case errors.As(err, &check), errors.As(err, &ours):
		return faultf(backend.ErrAuth, "check cacert.pem and the host name in the URI; no_verify=1 connects without checking", "the server's certificate is not to be trusted: %w", err)
	case isAlert(err):
		return faultf(backend.ErrAuth, "see the TLS certificates on both sides", "the TLS handshake was refused: %w", err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return faultf(backend.ErrUnreachable, "is that libvirt's TLS port? its log there may say more", "the server hung up during the TLS handshake")
	case errors.As(err, &plain):
		return faultf(backend.ErrUnreachable, "is that libvirt's TLS port? for plain TCP use qemu+tcp://", "the server does not speak TLS")
	}
	return err
}

// tlsConfig reads the credentials.
func (t *Target) tlsConfig() (*tls.Config, error) {
	files := t.locateTLS()
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: strings.TrimSuffix(t.host, "."),
		// The server is checked by VerifyConnection, which knows names that
		// Go's own check has given up.
		InsecureSkipVerify: true, //nolint:gosec // see VerifyConnection
	}
	cert, err := tls.LoadX509KeyPair(files.cert, files.key)
	switch {
	case err == nil:
		config.Certificates = []tls.Certificate{cert}
	case !errors.Is(err, fs.ErrNotExist): // without one a server may still let us in
		return nil, faultf(backend.ErrAuth, "fix the file, or name a directory with pkipath=", "client certificate %s: %w", files.cert, err)
	}
	if t.params.noVerify {
		return config, nil
	}
	check, err := newCertCheck(files, config.ServerName)
	if err != nil {
		return nil, err
	}
	config.VerifyConnection = check.verify
	return config, nil
}

// locateTLS finds the credentials where libvirt's client does
// (virNetTLSContextLocateCredentials in src/rpc/virnettlscontext.c): in
// pkipath, else each where it exists in ~/.pki/libvirt (not for root), else in
// /etc/pki.
func (t *Target) locateTLS() tlsFiles {
	if d := t.params.pkipath; d != "" {
		return tlsFilesIn(d)
	}
	files := tlsFiles{
		ca:   filepath.Join(t.env.pki, "CA/cacert.pem"),
		crl:  filepath.Join(t.env.pki, "CA/cacrl.pem"),
		cert: filepath.Join(t.env.pki, "libvirt/clientcert.pem"),
		key:  filepath.Join(t.env.pki, "libvirt/private/clientkey.pem"),
	}
	if t.env.uid == 0 {
		return files
	}
	own := tlsFilesIn(filepath.Join(t.env.home, ".pki/libvirt"))
	if exists(own.ca) {
		files.ca = own.ca
	}
	if exists(own.crl) {
		files.crl = own.crl
	}
	if exists(own.cert) && exists(own.key) {
		files.cert, files.key = own.cert, own.key
	}
	return files
}

func tlsFilesIn(dir string) tlsFiles {
	return tlsFiles{
		ca:   filepath.Join(dir, "cacert.pem"),
		crl:  filepath.Join(dir, "cacrl.pem"),
		cert: filepath.Join(dir, "clientcert.pem"),
		key:  filepath.Join(dir, "clientkey.pem"),
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// certError is a server's certificate that failed our check.
type certError struct{ cause error }

func (e *certError) Error() string { return e.cause.Error() }
func (e *certError) Unwrap() error { return e.cause }

// certCheck checks servers' certificates against libvirt's CA.
type certCheck struct {
	roots *x509.CertPool
	crl   *x509.RevocationList // nil when there is none
	host  string
}

func newCertCheck(files tlsFiles, host string) (*certCheck, error) {
	c := &certCheck{roots: x509.NewCertPool(), host: host}
	pem, err := os.ReadFile(files.ca)
	if err != nil {
		return nil, faultf(backend.ErrAuth, "copy the CA's certificate there, or name a directory with pkipath=", "CA certificate: %w", err)
	}
	if !c.roots.AppendCertsFromPEM(pem) {
		return nil, faultf(backend.ErrAuth, "it must be PEM", "CA certificate %s holds no certificate", files.ca)
	}
	if c.crl, err = readCRL(files.crl); err != nil {
		return nil, faultf(backend.ErrAuth, "fix or remove it", "revocation list %s: %w", files.crl, err)
	}
	return c, nil
}

func (c *certCheck) verify(state tls.ConnectionState) error {
	leaf := state.PeerCertificates[0] // crypto/tls refuses a server without one
	between := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: c.roots, Intermediates: between, CurrentTime: time.Now()})
	if err != nil {
		return &certError{err}
	}
	if err := c.checkName(leaf); err != nil {
		return &certError{err}
	}
	return c.checkRevoked(leaf, chains)
}

// checkName accepts a certificate without alternative names by its common
// name, as GnuTLS and so libvirt do; Go no longer does.
func (c *certCheck) checkName(leaf *x509.Certificate) error {
	err := leaf.VerifyHostname(c.host)
	bare := len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.URIs)+len(leaf.EmailAddresses) == 0
	if err != nil && bare && net.ParseIP(c.host) == nil && strings.EqualFold(leaf.Subject.CommonName, c.host) {
		return nil
	}
	if err != nil && bare {
		return fmt.Errorf("it is for %q, not for %q", leaf.Subject.CommonName, c.host)
	}
	return err
}

func (c *certCheck) checkRevoked(leaf *x509.Certificate, chains [][]*x509.Certificate) error {
	if c.crl == nil {
		return nil
	}
	signed := false
	for _, chain := range chains {
		signed = signed || (len(chain) > 1 && c.crl.CheckSignatureFrom(chain[1]) == nil)
	}
	if !signed { // another CA's list says nothing about this certificate
		return nil
	}
	for _, r := range c.crl.RevokedCertificateEntries {
		if r.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
			return &certError{fmt.Errorf("it was revoked on %s", r.RevocationTime.Format(time.DateOnly))}
		}
	}
	return nil
}

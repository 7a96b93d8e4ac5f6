package dial

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
)

// readCRL reads a certificate revocation list; there need not be one.
func readCRL(path string) (*x509.RevocationList, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("it is not PEM")
	}
	return x509.ParseRevocationList(block.Bytes)
}

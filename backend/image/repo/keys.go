package repo

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/argon2"

	"berth/backend"
	"berth/backend/image/place"
)

const (
	keysDir = "keys"
	maxKey  = 64 << 10

	masterLen = 32
	// What a slot seals: the master key and the SHA-256 of the config.
	slotLen = masterLen + sha256.Size
)

// Argon2id's parameters for new keys: as much work as RFC 9106 asks for where
// memory is scarce (3 passes over 64 MiB), in more passes over less memory, as a
// backup is to run in 64 MiB. They are stored with the key.
const (
	argonTime    = 8
	argonMemory  = 24 << 10 // KiB
	argonThreads = 2

	maxArgonTime   = 1000
	maxArgonMemory = 1 << 20 // KiB
)

// keySlot is a key file: the master key, sealed for somebody.
type keySlot struct {
	Format  string    `json:"format"`
	Kind    string    `json:"kind"` // "passphrase" or "age"
	Created time.Time `json:"created"`
	Label   string    `json:"label,omitempty"`
	// Of a passphrase, by Argon2id (RFC 9106).
	Salt    []byte `json:"salt,omitempty"`
	Time    uint32 `json:"time,omitempty"`
	Memory  uint32 `json:"memory,omitempty"` // KiB
	Threads uint8  `json:"threads,omitempty"`
	Sealed  []byte `json:"sealed"` // AES-256-GCM, or an age file
}

const slotFormat = "berth repository key 1"

func (s *keySlot) check() error {
	if s.Format != slotFormat || s.Kind != "passphrase" && s.Kind != "age" {
		return fmt.Errorf("%w: a key of format %q, kind %q", backend.ErrUnsupported, s.Format, s.Kind)
	}
	if s.Kind == "passphrase" && (s.Time == 0 || s.Time > maxArgonTime || s.Memory == 0 || s.Memory > maxArgonMemory || s.Threads == 0 || len(s.Salt) < 16) {
		return damaged("a passphrase stretched %d times over %d KiB by %d threads", s.Time, s.Memory, s.Threads)
	}
	return nil
}

// stretch makes a key of a passphrase.
func (s *keySlot) stretch(pass []byte) []byte {
	key := argon2.IDKey(pass, s.Salt, s.Time, s.Memory, s.Threads, 32)
	debug.FreeOSMemory() // what Argon2 took is not wanted again
	return key
}

func (s *keySlot) sealFor(pass, content []byte) {
	s.Kind, s.Salt, s.Time, s.Memory, s.Threads = "passphrase", make([]byte, 32), argonTime, argonMemory, argonThreads
	rand.Read(s.Salt) // never fails (crypto/rand)
	s.Sealed = (&crypt{master: s.stretch(pass)}).aead("key", s.Salt).Seal(nil, nonce(nonceBox, 0), content, []byte(slotFormat))
}

func (s *keySlot) sealTo(to []age.Recipient, content []byte) error {
	s.Kind = "age"
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to...)
	if err != nil {
		return err
	}
	if _, err := w.Write(content); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	s.Sealed = out.Bytes()
	return nil
}

// open returns what is sealed; false when the secret is not for this slot.
func (s *keySlot) open(secret Secret) ([]byte, bool) {
	if s.Kind == "passphrase" {
		if len(secret.Passphrase) == 0 {
			return nil, false
		}
		wrapping := crypt{master: secret.Keyring.stretched(s, secret.Passphrase)}
		content, err := wrapping.aead("key", s.Salt).Open(nil, nonce(nonceBox, 0), s.Sealed, []byte(slotFormat))
		return content, err == nil
	}
	if len(secret.Identities) == 0 {
		return nil, false
	}
	in, err := age.Decrypt(bytes.NewReader(s.Sealed), secret.Identities...)
	if err != nil {
		return nil, false
	}
	content, err := io.ReadAll(io.LimitReader(in, slotLen+1))
	return content, err == nil
}

// keyFile is a key slot and where it is.
type keyFile struct {
	id   string
	name string
	slot keySlot
}

func (r *Repo) keyFiles(ctx context.Context) (all []keyFile, err error) {
	entries, err := r.place.List(ctx, keysDir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		k, fault := r.keyFile(ctx, e.Name)
		if err = errors.Join(err, fault); fault == nil {
			all = append(all, k)
		}
	}
	return all, err
}

func (r *Repo) keyFile(ctx context.Context, name string) (k keyFile, err error) {
	b, err := place.Read(ctx, r.place, name, maxKey)
	if err != nil {
		return k, err
	}
	k = keyFile{id: path.Base(name), name: name}
	if keyID(b) != k.id {
		return k, fmt.Errorf("%s: %w", name, damaged("its content does not have that checksum"))
	}
	if err := json.Unmarshal(b, &k.slot); err != nil {
		return k, fmt.Errorf("%s: %w", name, damaged("%w", err))
	}
	if err := k.slot.check(); err != nil {
		return k, fmt.Errorf("%s: %w", name, err)
	}
	return k, nil
}

// keyID names a key file by the SHA-256 of what is in it.
func keyID(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// unlock finds the master key.
func (r *Repo) unlock(ctx context.Context, s Secret) ([]byte, error) {
	if s.IsZero() {
		return nil, fmt.Errorf("%w: it is encrypted", backend.ErrSecret)
	}
	files, faults := r.keyFiles(ctx)
	for _, k := range files {
		content, ok := k.slot.open(s)
		if !ok {
			continue
		}
		if len(content) != slotLen {
			return nil, fmt.Errorf("%s: %w", k.name, damaged("it holds %d bytes", len(content)))
		}
		if !bytes.Equal(content[masterLen:], r.conf.sum[:]) { // forged, or of an Init that was broken off
			faults = errors.Join(faults, fmt.Errorf("%s: %w", configName, damaged("it is not the one that key %s was made for", k.id)))
			continue
		}
		return content[:masterLen], nil
	}
	if faults != nil {
		return nil, faults
	}
	return nil, fmt.Errorf("%w: it opens none of %d keys", backend.ErrSecret, len(files))
}

// firstKeys makes a master key and the keys that open it.
func (r *Repo) firstKeys(ctx context.Context, o InitOptions) error {
	r.crypt.master = make([]byte, masterLen)
	rand.Read(r.crypt.master) // never fails (crypto/rand)
	if len(o.Secret.Passphrase) > 0 {
		if _, err := r.AddPassphrase(ctx, o.Secret.Passphrase, ""); err != nil {
			return err
		}
	}
	if len(o.Recipients) > 0 {
		if _, err := r.AddRecipients(ctx, o.Recipients, ""); err != nil {
			return err
		}
	}
	return nil
}

// Keys returns the ways to open the repository, the oldest first.
func (r *Repo) Keys(ctx context.Context) ([]Key, error) {
	files, err := r.keyFiles(ctx)
	keys := make([]Key, 0, len(files))
	for _, k := range files {
		keys = append(keys, k.key())
	}
	slices.SortFunc(keys, func(a, b Key) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return keys, err
}

func (k *keyFile) key() Key {
	return Key{ID: k.id, Kind: k.slot.Kind, Created: k.slot.Created, Label: backend.Clean(k.slot.Label)}
}

// AddPassphrase adds one that opens the repository.
func (r *Repo) AddPassphrase(ctx context.Context, pass []byte, label string) (Key, error) {
	return r.addKey(ctx, label, func(s *keySlot, content []byte) error {
		if len(pass) == 0 {
			return fmt.Errorf("%w: an empty passphrase", backend.ErrInvalid)
		}
		s.sealFor(pass, content)
		return nil
	})
}

// AddRecipients adds a key that any of them opens.
func (r *Repo) AddRecipients(ctx context.Context, to []age.Recipient, label string) (Key, error) {
	return r.addKey(ctx, label, func(s *keySlot, content []byte) error { return s.sealTo(to, content) })
}

func (r *Repo) addKey(ctx context.Context, label string, seal func(*keySlot, []byte) error) (Key, error) {
	if !r.conf.Encrypted {
		return Key{}, &backend.OpError{Op: "add a key", Target: r.place.URL(), Err: fmt.Errorf("%w: the repository is not encrypted", backend.ErrUnsupported),
			Hint: "make an encrypted one and copy the backups to it"}
	}
	s := keySlot{Format: slotFormat, Created: r.now().UTC().Truncate(time.Second), Label: label}
	if err := seal(&s, append(bytes.Clone(r.crypt.master), r.conf.sum[:]...)); err != nil {
		return Key{}, &backend.OpError{Op: "add a key", Target: r.place.URL(), Err: err}
	}
	b, err := json.Marshal(&s)
	if err != nil {
		return Key{}, err
	}
	k := keyFile{id: keyID(b), slot: s}
	return k.key(), place.Write(ctx, r.place, path.Join(keysDir, k.id), b)
}

// RemoveKey removes a key, by its ID or the beginning of it, but never the last
// that can be read. Who has seen the key's file and knows its secret can still
// open what he kept of the repository.
func (r *Repo) RemoveKey(ctx context.Context, id string) error {
	failed := func(err error, hint string) error {
		return &backend.OpError{Op: "remove key", Target: id, Err: err, Hint: hint}
	}
	files, err := r.keyFiles(ctx)
	var found []keyFile
	for _, k := range files {
		if id != "" && strings.HasPrefix(k.id, id) {
			found = append(found, k)
		}
	}
	switch {
	case len(found) > 1:
		return failed(fmt.Errorf("%w: %d keys begin so", backend.ErrInvalid, len(found)), "")
	case len(found) == 0 && err != nil:
		return failed(err, "")
	case len(found) == 0:
		return failed(fmt.Errorf("no such key: %w", fs.ErrNotExist), "berth backup key list shows them")
	case len(files) == 1:
		return failed(fmt.Errorf("%w: it is the last one; without it nobody could open the repository", backend.ErrInvalid), "add another first")
	}
	return r.place.Remove(ctx, found[0].name)
}

package repo

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
)

// Keyring remembers what passphrases were stretched to, so that a process that
// opens repositories again and again does that once: it takes a tenth of a
// second and 24 MiB, on purpose. The zero Keyring is empty. It may be used from
// several goroutines, of which one stretches at a time.
type Keyring struct {
	mu   sync.Mutex
	salt []byte
	keys map[[sha256.Size]byte][]byte
}

// keyringMost is how many it remembers: more than anybody has repositories.
const keyringMost = 64

// Forget drops everything that it remembers.
func (k *Keyring) Forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range k.keys {
		clear(key)
	}
	k.keys = nil
}

// stretched is what a slot's passphrase is stretched to; a nil Keyring remembers nothing.
func (k *Keyring) stretched(s *keySlot, pass []byte) []byte {
	if k == nil {
		return s.stretch(pass)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	name := k.name(s, pass)
	key, ok := k.keys[name]
	if !ok {
		key = s.stretch(pass)
		if k.keys == nil || len(k.keys) >= keyringMost {
			k.keys = map[[sha256.Size]byte][]byte{}
		}
		k.keys[name] = key
	}
	return append([]byte(nil), key...)
}

// name tells passphrases apart without keeping them.
func (k *Keyring) name(s *keySlot, pass []byte) (sum [sha256.Size]byte) {
	if k.salt == nil {
		k.salt = make([]byte, 32)
		rand.Read(k.salt) // never fails (crypto/rand)
	}
	mac := hmac.New(sha256.New, k.salt)
	var how [16]byte
	binary.LittleEndian.PutUint32(how[:], s.Time)
	binary.LittleEndian.PutUint32(how[4:], s.Memory)
	how[8] = s.Threads
	binary.LittleEndian.PutUint32(how[12:], uint32(len(s.Salt)))
	for _, b := range [][]byte{how[:], s.Salt, pass} {
		mac.Write(b)
	}
	mac.Sum(sum[:0])
	return sum
}

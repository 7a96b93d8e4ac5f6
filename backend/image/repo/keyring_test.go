package repo

import (
	"errors"
	"testing"

	"berth/backend"
	"berth/backend/image/place/placetest"
)

// What a keyring remembers opens the repository, and nothing else does.
func TestKeyring(t *testing.T) {
	p := placetest.NewMemory()
	initRepo(t, p, InitOptions{Secret: Secret{Passphrase: []byte("right")}})
	var k Keyring
	open := func(pass string) error {
		r, err := Open(t.Context(), p, Secret{Passphrase: []byte(pass), Keyring: &k}, Options{})
		if err == nil {
			err = r.Close()
		}
		return err
	}
	for range 2 {
		if err := open("right"); err != nil {
			t.Fatal(err)
		}
	}
	if len(k.keys) != 1 {
		t.Errorf("it stretched %d times", len(k.keys))
	}
	if err := open("wrong"); !errors.Is(err, backend.ErrSecret) {
		t.Errorf("a wrong one: %v", err)
	}
	for name := range k.keys { // what is remembered is what is used
		clear(k.keys[name])
	}
	if err := open("right"); !errors.Is(err, backend.ErrSecret) {
		t.Errorf("with what was remembered lost: %v", err)
	}
	k.Forget()
	if err := open("right"); err != nil || len(k.keys) != 1 {
		t.Errorf("after forgetting: %v, %d keys", err, len(k.keys))
	}
}

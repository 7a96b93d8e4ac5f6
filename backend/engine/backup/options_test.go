package backup

import (
	"context"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/image/place"
	"berth/backend/image/repo"
)

// A passphrase is stretched once in an engine's life, and what it was stretched
// to is forgotten when nothing needed it for a while.
func TestKeysAreKeptWhileTheyAreOfUse(t *testing.T) {
	r := newRig(t)
	read := 0
	r.opt.OpenSecret = func(_ context.Context, ref backend.RepoRef) (repo.Secret, error) {
		read++
		return repo.Secret{}, nil
	}
	m, err := New(r.opt)
	if err != nil {
		t.Fatal(err)
	}
	var rings []*repo.Keyring
	real := m.o.open
	m.o.open = func(ctx context.Context, p place.Place, s repo.Secret, o repo.Options) (vault, error) {
		rings = append(rings, s.Keyring)
		return real(ctx, p, s, o)
	}
	for range 2 {
		v, err := m.o.openRepo(t.Context(), backend.RepoRef{URL: r.url()})
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(rings) != 2 || rings[0] == nil || rings[0] != rings[1] || read != 2 {
		t.Errorf("repositories were opened with keyrings %p, and the secret read %d times", rings, read)
	}
	now := time.Now()
	if at := m.forgetKeys(&books{now: now}); !at.IsZero() {
		t.Error("with nothing to forget it wakes")
	}
	m.forgetKeys(&books{now: now, transfers: make([]backend.Transfer, 1)})
	if at := m.forgetKeys(&books{now: now.Add(time.Minute)}); !at.Equal(now.Add(keepKeys)) {
		t.Errorf("it looks again at %v", at)
	}
	if at := m.forgetKeys(&books{now: now.Add(keepKeys)}); !at.IsZero() || !m.opens.IsZero() {
		t.Error("nothing was forgotten")
	}
}

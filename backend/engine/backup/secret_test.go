package backup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/backend"
	"berth/backend/image/place"
	"berth/backend/image/repo"
)

// sealed gives a rig an encrypted repository, opened by what is in a file.
func (r *rig) sealed(name, pass string) (file string) {
	r.Helper()
	p, err := place.OpenLocal(filepath.Join(r.dir, name), true)
	if err != nil {
		r.Fatal(err)
	}
	v, err := repo.Init(r.Context(), p, repo.InitOptions{PackSize: repo.MinPackSize, Secret: repo.Secret{Passphrase: []byte(pass)}})
	if err != nil {
		r.Fatal(err)
	}
	if err := errors.Join(v.Close(), p.Close()); err != nil {
		r.Fatal(err)
	}
	file = filepath.Join(r.dir, "handover-1")
	if err := os.WriteFile(file, []byte(pass), 0o600); err != nil {
		r.Fatal(err)
	}
	r.opt.Handover = func(f string) bool { return f == file }
	r.opt.OpenSecret = func(_ context.Context, ref backend.RepoRef) (repo.Secret, error) {
		if ref.PassphraseFile == "" {
			return repo.Secret{}, nil
		}
		b, err := os.ReadFile(ref.PassphraseFile)
		return repo.Secret{Passphrase: b}, err
	}
	return file
}

// A passphrase that was handed over is gone with the transfer's end. When the
// machine is booted before that, the transfer fails in words that say what to do,
// once, and leaves nothing on the host.
func TestAPassphraseThatIsGone(t *testing.T) {
	r := newRig(t)
	r.vm("web1", true)
	file := r.sealed("sealed", "a secret")
	encrypted := func(s *backend.TransferSpec) {
		s.Repo = backend.RepoRef{URL: filepath.Join(r.dir, "sealed"), PassphraseFile: file}
		s.Limit = 1 << 20
	}
	r.start()
	id := r.orderIn(encrypted)
	r.until("some progress", func(s *backend.BackupsState) bool { return s.Transfers[0].Progress.Done > 0 })
	r.stop()
	if err := os.Remove(file); err != nil { // the machine is booted
		t.Fatal(err)
	}
	r.start()
	x := r.ends(id, backend.TransferFailed)
	if x.Attempts != 1 || !strings.Contains(x.Words, "the passphrase that was handed over for this transfer is gone; order it anew") {
		t.Errorf("after %d attempts: %s", x.Attempts, x.Words)
	}
	r.clean()
	if err := os.WriteFile(file, []byte("a secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.ends(r.orderIn(encrypted, func(s *backend.TransferSpec) { s.Limit = 0 }), backend.TransferDone)
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the passphrase is left: %v", err)
	}
}

// orderIn orders a backup of web1 wherever more says.
func (r *rig) orderIn(more ...func(*backend.TransferSpec)) backend.TransferID {
	r.Helper()
	s := backend.TransferSpec{Kind: backend.TransferBackup, Name: "web1", VM: backend.Key{Host: "hv1", UUID: uuidOf("web1")}}
	for _, f := range more {
		f(&s)
	}
	ids, err := r.c.Start(r.Context(), []backend.TransferSpec{s})
	if err != nil {
		r.Fatal(err)
	}
	return ids[0]
}

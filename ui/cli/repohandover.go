package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"berth/backend"
)

// HandoverPrefix begins the names of files in RuntimeDir that hold a secret for
// one transfer. Whoever carries the transfer out removes the file at its end.
const HandoverPrefix = "handover-"

// RuntimeDir is where files lie that must not outlive the machine's run: in
// memory, and for their owner alone. Empty: there is no such place.
func RuntimeDir(env func(string) string, uid int) string {
	switch dir := env("XDG_RUNTIME_DIR"); {
	case filepath.IsAbs(dir):
		return filepath.Join(dir, "berth")
	case uid == 0:
		return "/run/berth"
	}
	return ""
}

// handOver is a reference with which the engine can open the repository. A
// passphrase that was typed or came from the environment is written to a file
// for one transfer; undo removes it when the transfer was not ordered.
func (a *app) handOver(r *openRepo) (ref backend.RepoRef, undo func() error, err error) {
	ref, undo = r.ref(), func() error { return nil }
	if !r.Encrypted() {
		return backend.RepoRef{URL: ref.URL}, undo, nil
	}
	if ref.PassphraseFile != "" || ref.IdentityFile != "" {
		return ref, undo, nil
	}
	file, undo, err := a.handOverTyped(r.source.passphrase)
	ref.PassphraseFile = file
	return ref, undo, err
}

// handOverTyped writes a passphrase to a file for one transfer; undo removes it
// when the transfer was not ordered.
func (a *app) handOverTyped(passphrase []byte) (file string, undo func() error, err error) {
	const op = "hand the passphrase to the engine"
	undo = func() error { return nil }
	dir := RuntimeDir(a.Env, a.UID)
	if dir == "" {
		return "", undo, &backend.OpError{Op: op, Err: errors.New("XDG_RUNTIME_DIR is not set, so there is no place in memory for it"),
			Hint: "give --passphrase-file instead"}
	}
	if file, err = writeSecret(dir, passphrase); err != nil {
		return "", undo, &backend.OpError{Op: op, Err: err, Hint: "give --passphrase-file instead"}
	}
	return file, func() error { return os.Remove(file) }, nil
}

// handOverAgain makes the files anew that passphrases were handed over in for
// transfers that are ordered again: each went with the end of its transfer.
// undo removes them when nothing was ordered.
func (a *app) handOverAgain(ctx context.Context, transfers []*backend.Transfer) (undo func() error, err error) {
	var made []string
	undo = func() (err error) {
		for _, file := range made {
			if rerr := os.Remove(file); !errors.Is(rerr, fs.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
		}
		return err
	}
	dir := RuntimeDir(a.Env, a.UID)
	for _, t := range transfers {
		file := t.Spec.Repo.PassphraseFile
		if !isHandover(file) || filepath.Dir(file) != dir {
			continue
		}
		if _, err := os.Lstat(file); err == nil {
			continue
		}
		pass, err := a.passphraseOf(ctx, t.Spec.Repo.URL)
		if err == nil {
			err = writeSecretTo(file, pass)
		}
		if err != nil {
			return undo, errors.Join(err, undo())
		}
		made = append(made, file)
	}
	return undo, nil
}

// passphraseOf is the passphrase that opens a repository, from where it is to
// be had, or asked for.
func (a *app) passphraseOf(ctx context.Context, url string) ([]byte, error) {
	source, err := a.secretSource(&repoFlags{})
	if err != nil {
		return nil, err
	}
	r, err := a.openRepoAt(ctx, url, source)
	if err != nil {
		return nil, err
	}
	secret, err := r.source.secret()
	return secret.Passphrase, errors.Join(err, r.Close())
}

// writeSecret makes a file in a folder, both for this user alone.
func writeSecret(dir string, secret []byte) (file string, err error) {
	if err := secretDir(dir); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, HandoverPrefix) // mode 0600
	if err != nil {
		return "", err
	}
	return f.Name(), fillSecret(f, secret)
}

// writeSecretTo is writeSecret for a file that was there before.
func writeSecretTo(file string, secret []byte) error {
	if err := secretDir(filepath.Dir(file)); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return fillSecret(f, secret)
}

func secretDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if openToWriters(dir) {
		return fmt.Errorf("%s can be written to by others", dir)
	}
	return nil
}

// fillSecret writes a secret to a new file, which is gone again if it cannot.
func fillSecret(f *os.File, secret []byte) error {
	_, err := f.Write(append(secret[:len(secret):len(secret)], '\n'))
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// openToWriters reports whether others than its owner can write to a folder.
func openToWriters(dir string) bool {
	info, err := os.Stat(dir)
	return err != nil || info.Mode().Perm()&0o022 != 0
}

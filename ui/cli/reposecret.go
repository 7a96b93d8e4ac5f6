package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	agekeys "filippo.io/age" // age is how old something is, in this package
	"github.com/charmbracelet/x/term"
	"golang.org/x/sys/unix"

	"berth/backend"
	"berth/backend/image/repo"
)

// maxPassphrase bounds what is read of a passphrase, in bytes.
const maxPassphrase = 4096

// secretSource is where the secret of a repository is to be had.
type secretSource struct {
	passphraseFile string // whole paths
	identityFile   string
	passphrase     []byte // from the environment, or typed: a file is made of it for the engine
}

func (s *secretSource) given() bool {
	return s.passphraseFile != "" || s.identityFile != "" || len(s.passphrase) > 0
}

// secret reads what the source names.
func (s *secretSource) secret() (repo.Secret, error) {
	out := repo.Secret{Passphrase: s.passphrase}
	if s.passphraseFile != "" {
		pass, err := readPassphrase(s.passphraseFile)
		if err != nil {
			return out, err
		}
		out.Passphrase = pass
	}
	if s.identityFile != "" {
		ids, err := readIdentities(s.identityFile)
		if err != nil {
			return out, err
		}
		out.Identities = ids
	}
	return out, nil
}

// readPassphrase is the first line of a file.
func readPassphrase(file string) (pass []byte, err error) {
	fault := func(err error, hint string) error {
		return &backend.OpError{Op: "read the passphrase file", Target: backend.Clean(file), Err: pathReason(err), Hint: hint}
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fault(err, "")
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	line, err := bufio.NewReader(io.LimitReader(f, maxPassphrase)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fault(err, "")
	}
	if pass = bytes.TrimRight(line, "\r\n"); len(pass) == 0 {
		return nil, fault(errors.New("its first line is empty"), "write the passphrase on it")
	}
	return pass, nil
}

// pathReason is err without the path, which the message names already.
func pathReason(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func readIdentities(file string) (ids []agekeys.Identity, err error) {
	f, err := os.Open(file)
	if err == nil {
		defer func() { err = errors.Join(err, f.Close()) }()
		ids, err = agekeys.ParseIdentities(f)
	}
	if err != nil {
		return nil, &backend.OpError{Op: "read the identity file", Target: backend.Clean(file), Err: pathReason(err),
			Hint: "it holds lines of AGE-SECRET-KEY-1…, as age-keygen writes them"}
	}
	return ids, nil
}

// parseRecipients reads age1… of the command line.
func parseRecipients(texts []string) ([]agekeys.Recipient, error) {
	var to []agekeys.Recipient
	for _, text := range texts {
		r, err := agekeys.ParseX25519Recipient(text)
		if err != nil {
			return nil, &usageError{err: fmt.Errorf("--recipient %q is not an age recipient (age1…): %w", backend.Clean(text), err)}
		}
		to = append(to, r)
	}
	return to, nil
}

// openToOthers reports whether others than its owner can read a file.
func openToOthers(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0
}

// askPassphrase asks for a passphrase, which is not shown; with again a second
// time, so that a slip of the finger does not lock everybody out.
func (a *app) askPassphrase(ctx context.Context, prompt string, again bool) ([]byte, error) {
	pass, err := a.readSecret(ctx, prompt+": ")
	if err != nil {
		return nil, err
	}
	if len(pass) == 0 {
		return nil, errors.New("no passphrase was given, so nothing was done")
	}
	if !again {
		return pass, nil
	}
	second, err := a.readSecret(ctx, "The same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(pass, second) {
		return nil, errors.New("the two were not the same, so nothing was done")
	}
	return pass, nil
}

// readSecret reads a line of the terminal without showing it. When ctx ends
// the terminal is as it was.
func (a *app) readSecret(ctx context.Context, prompt string) (_ []byte, err error) {
	tty, ok := a.Stdin.(*os.File)
	if !ok || !term.IsTerminal(tty.Fd()) {
		return nil, errors.New("there is no terminal to ask for it on")
	}
	shown, err := hideTyping(tty.Fd()) // before the prompt: who types at once is not shown either
	if err != nil {
		return nil, fmt.Errorf("the terminal: %w", err)
	}
	defer func() { err = errors.Join(err, shown()) }()
	fmt.Fprint(a.Stderr, prompt)
	defer fmt.Fprintln(a.Stderr)
	type answer struct {
		line []byte
		err  error
	}
	ch := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(tty.Fd())
		ch <- answer{line, err}
	}()
	select {
	case a := <-ch:
		if a.err != nil {
			return nil, fmt.Errorf("no answer, so nothing was done: %w", a.err)
		}
		return a.line, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// hideTyping has a terminal not show what is typed until shown is called.
func hideTyping(fd uintptr) (shown func() error, err error) {
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	hidden := *before
	hidden.Lflag &^= unix.ECHO
	return func() error { return term.Restore(fd, before) }, term.SetState(fd, &hidden)
}

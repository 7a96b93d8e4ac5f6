package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/image/repo"
)

// repoFlags name a repository and where its secret is.
type repoFlags struct {
	repo           string
	passphraseFile string
	identityFile   string
}

// The variables that name a repository and hold its secret.
const (
	repoVariable       = "BERTH_REPO"
	passphraseVariable = "BERTH_PASSPHRASE"
)

const repoHelp = `The repository is --repo, else BERTH_REPO, else the config's backup.repo. Its
secret, if it is encrypted, is --passphrase-file or --identity-file (age), else
BERTH_PASSPHRASE, else the config's, else it is asked for.`

func (f *repoFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.repo, "repo", "", "the repository: a folder or sftp://[user@]host[:port]/path, as `REPO`")
	fl.StringVar(&f.passphraseFile, "passphrase-file", "", "the passphrase is the first line of `FILE`")
	fl.StringVar(&f.identityFile, "identity-file", "", "`FILE` with an age identity that opens it")
	completeFlag(cmd, "repo", completeRepo)
}

func completeRepo(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// errNoRepo is a command line that names no repository.
var errNoRepo = usagef("berth backup init --repo DIR makes one", "which repository? Give --repo, set %s, or backup.repo in the config", repoVariable)

// chosen is the address that flags, environment or config name; empty: none.
func (a *app) chosenRepo(f *repoFlags) (string, error) {
	for _, r := range []string{f.repo, a.Env(repoVariable), a.config.Backup.Repo} {
		if r != "" {
			return wholeRepo(r, a.Env("HOME"))
		}
	}
	return "", nil
}

// secretSource is where flags, environment or config say that the secret is.
func (a *app) secretSource(f *repoFlags) (s secretSource, err error) {
	pass, identity := f.passphraseFile, f.identityFile
	if pass == "" && identity == "" {
		if env := a.Env(passphraseVariable); env != "" {
			return secretSource{passphrase: []byte(env)}, nil
		}
		pass, identity = a.config.Backup.PassphraseFile, a.config.Backup.IdentityFile
	}
	home := a.Env("HOME")
	var perr, ierr error
	s.passphraseFile, perr = wholePath(pass, home)
	s.identityFile, ierr = wholePath(identity, home)
	for _, file := range []string{s.passphraseFile, s.identityFile} {
		if file != "" && openToOthers(file) {
			a.complain(fmt.Errorf("%s can be read by others; chmod 600 it", file))
		}
	}
	return s, errors.Join(perr, ierr)
}

// openRepo is a repository that a command has opened.
type openRepo struct {
	*repo.Repo
	url    string
	source secretSource
	demo   func() error // ends the demo that it belongs to; nil: to none
}

// Close closes its place too.
func (r *openRepo) Close() error {
	p := r.Place()
	err := errors.Join(r.Repo.Close(), p.Close())
	if r.demo != nil {
		err = errors.Join(err, r.demo())
	}
	return err
}

// ref is how a schedule, or the engine, finds the repository again; the secret
// only where it lies in a file.
func (r *openRepo) ref() backend.RepoRef {
	return backend.RepoRef{URL: r.url, PassphraseFile: r.source.passphraseFile, IdentityFile: r.source.identityFile}
}

// passphraseTries is how often a mistyped passphrase is asked for again.
const passphraseTries = 3

// openRepo opens the repository that the flags choose.
func (a *app) openRepo(ctx context.Context, f *repoFlags) (*openRepo, error) {
	url, err := a.chosenRepo(f)
	if err != nil {
		return nil, &usageError{err: err}
	}
	switch {
	case url == "" && a.flags.demo:
		return a.openDemoRepo(ctx)
	case url == "":
		return nil, errNoRepo
	}
	source, err := a.secretSource(f)
	if err != nil {
		return nil, err
	}
	return a.openRepoAt(ctx, url, source)
}

// openDemoRepo opens the repository of a demo of its own, which ends with it.
func (a *app) openDemoRepo(ctx context.Context) (_ *openRepo, err error) {
	f := &fleet{hosts: a.demoHosts()}
	o := a.backupsOptions(func() []backend.Host { return f.hosts })
	o.Settled = true
	b, err := a.Backups(ctx, o)
	if err != nil {
		return nil, closeAll(err, f)
	}
	end := func() error { return closeAll(b.Close(), f) }
	st, err := b.State(ctx)
	if err == nil && len(st.Repos) == 0 {
		err = errNoRepo
	}
	if err != nil {
		return nil, errors.Join(err, end())
	}
	r, err := a.openRepoAt(ctx, st.Repos[0].Ref.URL, secretSource{})
	if err != nil {
		return nil, errors.Join(err, end())
	}
	r.demo = end
	return r, nil
}

func (a *app) openRepoAt(ctx context.Context, url string, source secretSource) (*openRepo, error) {
	p, err := a.OpenPlace(ctx, url, false)
	if err != nil {
		return nil, noRepository(url, err)
	}
	secret, err := source.secret()
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	o := repo.Options{CacheDir: a.cacheDir()}
	r, err := repo.Open(ctx, p, secret, o)
	ask := !source.given() && isTerminal(a.Stdin) // a named secret that is wrong is to be told of
	for try := 0; ask && errors.Is(err, backend.ErrSecret) && try < passphraseTries; try++ {
		pass, perr := a.askPassphrase(ctx, "Passphrase of "+backend.Clean(url), false)
		if perr != nil {
			return nil, errors.Join(perr, p.Close())
		}
		source.passphrase = pass
		r, err = repo.Open(ctx, p, repo.Secret{Passphrase: pass}, o)
	}
	if err != nil {
		return nil, errors.Join(noRepository(url, err), p.Close())
	}
	return &openRepo{Repo: r, url: url, source: source}, nil
}

// noRepository says what to do about a repository that cannot be opened.
func noRepository(url string, err error) error {
	hint := backend.Hint(err)
	switch {
	case hint != "":
		return err
	case errors.Is(err, fs.ErrNotExist):
		hint = "berth backup init --repo " + backend.Clean(url) + " makes one"
	case errors.Is(err, backend.ErrSecret):
		hint = "give --passphrase-file, --identity-file or " + passphraseVariable
	case errors.Is(err, backend.ErrDamaged):
		hint = "berth backup check --rebuild tells what is wrong, and mends what can be"
	default:
		return err
	}
	return advised("open the repository", url, err, hint)
}

// advised adds a hint to an error that has none; the repository is named once.
func advised(op, url string, err error, hint string) error {
	var said *backend.OpError
	for inner := err; errors.As(inner, &said); {
		inner = said.Err
	}
	if said != nil {
		with := *said // the innermost, which is nearest to the cause
		with.Hint = hint
		return &with
	}
	return &backend.OpError{Op: op, Target: backend.Clean(url), Err: err, Hint: hint}
}

// cacheDir keeps copies of what distant repositories hold; empty: none are kept.
func (a *app) cacheDir() string {
	switch dir := a.Env("XDG_CACHE_HOME"); {
	case filepath.IsAbs(dir):
		return filepath.Join(dir, "berth")
	case a.UID == 0:
		return "/var/cache/berth"
	case filepath.IsAbs(a.Env("HOME")):
		return filepath.Join(a.Env("HOME"), ".cache", "berth")
	}
	return ""
}

// withRepo runs do over the repository that the flags choose.
func (a *app) withRepo(cmd *cobra.Command, f *repoFlags, do func(context.Context, *openRepo) error) (err error) {
	if err := a.load(cmd); err != nil {
		return err
	}
	ctx := cmd.Context()
	r, err := a.openRepo(ctx, f)
	if err != nil {
		return ended(ctx, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	err = do(ctx, r)
	if trouble := r.Trouble(); trouble != nil {
		a.complain(trouble)
	}
	return ended(ctx, err)
}

// changeRepo is withRepo for what changes the repository.
func (a *app) changeRepo(cmd *cobra.Command, f *repoFlags, wrong error, do func(context.Context, *openRepo) error) error {
	if err := a.loadToChange(cmd, wrong); err != nil {
		return err
	}
	return a.withRepo(cmd, f, do)
}

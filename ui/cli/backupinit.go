package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/image/repo"
	"berth/model"
	"berth/model/config"
)

// initFlags are those of berth backup init.
type initFlags struct {
	repoFlags
	encrypt    bool
	recipients []string
	splitSize  sizeValue
	label      string
	output     string
}

func (a *app) backupInitCommand() *cobra.Command {
	f := initFlags{splitSize: repo.DefaultPackSize}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a repository",
		Long: "Make a repository in a folder that is empty or not there yet.\n\n" +
			"With --encrypt nobody reads it without its passphrase, which is --passphrase-file,\n" +
			"else BERTH_PASSPHRASE, else asked for twice. With --recipient the holders of those\n" +
			"age keys can open it too, or alone. Nobody can help you when all of them are lost.\n\n" +
			"--split-size bounds its files, for FAT (4G) or tape; each is written when it is\n" +
			"full, so small ones let an interrupted backup go on nearer to where it was.",
		Example: "  berth backup init --repo /srv/backup --encrypt\n" +
			"  berth backup init --repo sftp://backup@nas/srv/berth --recipient age1…",
		Args: withUsage(noArguments("name the repository with --repo")),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runBackupInit(cmd, &f) },
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&f.encrypt, "encrypt", false, "encrypt it with a passphrase")
	fl.StringArrayVar(&f.recipients, "recipient", nil, "encrypt it so that the age key of `RECIPIENT` (age1…) opens it; may be given several times")
	fl.Var(&f.splitSize, "split-size", "its files become at most `SIZE`")
	fl.StringVar(&f.label, "label", "", "`TEXT` for people, to tell repositories apart")
	textOrJSON(cmd, &f.output)
	completeFlag(cmd, "split-size", fixed("64M", "650M", "4G"))
	cmd.ValidArgsFunction = fixed()
	return cmd
}

// options are what the flags come to; the passphrase may be asked for.
func (a *app) initOptions(ctx context.Context, f *initFlags, source *secretSource) (o repo.InitOptions, err error) {
	o.PackSize, o.Label = int64(f.splitSize), f.label
	if o.Recipients, err = parseRecipients(f.recipients); err != nil {
		return o, err
	}
	if !f.encrypt {
		return o, nil
	}
	if o.Secret, err = source.secret(); err != nil {
		return o, err
	}
	o.Secret.Identities = nil // it opens repositories; a recipient makes them
	if len(o.Secret.Passphrase) > 0 {
		return o, nil
	}
	if !isTerminal(a.Stdin) {
		return o, usagef("", "--encrypt needs a passphrase and there is no terminal to ask on; give --passphrase-file or %s", passphraseVariable)
	}
	source.passphrase, err = a.askPassphrase(ctx, "New passphrase", true)
	o.Secret.Passphrase = source.passphrase
	return o, err
}

// check refuses flags that contradict one another.
func (f *initFlags) check(source *secretSource) error {
	if f.splitSize < repo.MinPackSize || f.splitSize > repo.MaxPackSize {
		return usagef("", "--split-size %s: use %s to %s", &f.splitSize, model.Bytes(repo.MinPackSize), model.Bytes(repo.MaxPackSize))
	}
	if !f.encrypt && (f.passphraseFile != "" || len(source.passphrase) > 0) {
		return usagef("", "a passphrase is given, and --encrypt is not; give both, or neither for a repository that everybody can read")
	}
	return nil
}

func (a *app) runBackupInit(cmd *cobra.Command, f *initFlags) error {
	if err := a.loadToChange(cmd, checkFormat(f.output, "text", "json")); err != nil {
		return err
	}
	ctx := cmd.Context()
	url, err := a.chosenRepo(&f.repoFlags)
	if err != nil {
		return &usageError{err: err}
	}
	if url == "" {
		return errNoRepo
	}
	source, err := a.secretSource(&f.repoFlags)
	if err != nil {
		return err
	}
	if err := f.check(&source); err != nil {
		return err
	}
	o, err := a.initOptions(ctx, f, &source)
	if err != nil {
		return ended(ctx, err)
	}
	return ended(ctx, a.initRepo(ctx, f, url, source, o))
}

func (a *app) initRepo(ctx context.Context, f *initFlags, url string, source secretSource, o repo.InitOptions) (err error) {
	p, err := a.OpenPlace(ctx, url, true)
	if err != nil {
		return err
	}
	made, err := repo.Init(ctx, p, o)
	if err != nil {
		if errors.Is(err, fs.ErrExist) && backend.Hint(err) == "" {
			err = advised("make a repository", url, err, "choose a folder that is empty")
		}
		return errors.Join(err, p.Close())
	}
	r := &openRepo{Repo: made, url: url, source: source}
	defer func() { err = errors.Join(err, r.Close()) }()
	a.refreshCatalogue(ctx, r)
	if f.output == "json" {
		return encodeJSON(a.Stdout, newRepoRecord(r))
	}
	how := "not encrypted: everybody who can read the folder can read the disks in it"
	if r.Encrypted() {
		how = "encrypted; without its passphrase or key nobody can restore from it, so keep a copy elsewhere"
	}
	_, err = fmt.Fprintf(a.Stdout, "%s: made, %s\n", backend.Clean(url), how)
	return err
}

// repoRecord is a repository in JSON.
type repoRecord struct {
	Repo      string  `json:"repo"`
	ID        string  `json:"id"`
	Label     string  `json:"label"`
	Encrypted bool    `json:"encrypted"`
	Created   *string `json:"created_at"`
}

func newRepoRecord(r *openRepo) repoRecord {
	return repoRecord{backend.Clean(r.url), r.ID(), r.Label(), r.Encrypted(), stamp(r.Created())}
}

// sizeValue is a flag's amount of bytes, as 4G.
type sizeValue int64

func (v *sizeValue) Type() string { return "SIZE" }

// String is what help shows as the default.
func (v *sizeValue) String() string {
	if v == nil || *v == 0 {
		return ""
	}
	return model.Bytes(float64(*v))
}

// Set reads a flag's value.
func (v *sizeValue) Set(s string) error {
	n, err := config.ParseSize(s)
	if err != nil {
		return err
	}
	*v = sizeValue(n)
	return nil
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/image/repo"
)

func (a *app) backupKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "List, add and remove the keys that open an encrypted repository",
		Long: "List, add and remove the keys that open an encrypted repository. Each opens all of\n" +
			"it; the data is not written anew when they change. The last one cannot be removed.\n\n" + repoHelp,
		Args: withUsage(noSuchCommand),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.keyListCommand(), a.keyAddCommand(), a.keyRemoveCommand())
	return cmd
}

// keyRecord is one key in JSON.
type keyRecord struct {
	Key     string  `json:"key"`
	Kind    string  `json:"kind"` // "passphrase", "age"
	Created *string `json:"created_at"`
	Label   string  `json:"label"`
}

func newKeyRecord(k *repo.Key) keyRecord {
	return keyRecord{backend.Clean(k.ID), backend.Clean(k.Kind), stamp(k.Created), backend.Clean(k.Label)}
}

var keyColumns = []cellColumn[repo.Key]{
	{"KEY", 0, false, func(k *repo.Key, _ time.Time) string { return backend.Clean(k.ID) }},
	{"KIND", 0, false, func(k *repo.Key, _ time.Time) string { return backend.Clean(k.Kind) }},
	{"MADE", 1, false, func(k *repo.Key, now time.Time) string { return clockText(k.Created, now) }},
	{"LABEL", 2, false, func(k *repo.Key, _ time.Time) string { return backend.Clean(k.Label) }},
}

func (a *app) keyListCommand() *cobra.Command {
	var f repoFlags
	output := "table"
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the keys",
		Long:    "List the keys. JSON is a list of objects: key kind (passphrase age) created_at\nlabel.",
		Args:    withUsage(noArguments("")),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(output, "table", "json"); err != nil {
				return err
			}
			return a.withRepo(cmd, &f, func(ctx context.Context, r *openRepo) error {
				keys, err := r.Keys(ctx)
				if err != nil {
					return err
				}
				return a.printKeys(output, keys)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "`FORMAT`: table or json")
	completeFlag(cmd, "output", fixed("table", "json"))
	cmd.ValidArgsFunction = fixed()
	return cmd
}

func (a *app) printKeys(format string, keys []repo.Key) error {
	if format != "json" {
		return printCells(a, a.Stdout, keyColumns, keys, time.Now())
	}
	list := make([]keyRecord, len(keys))
	for i := range keys {
		list[i] = newKeyRecord(&keys[i])
	}
	return encodeJSON(a.Stdout, list)
}

// keyAddFlags are those of berth backup key add.
type keyAddFlags struct {
	repoFlags
	newFile    string
	recipients []string
	label      string
	output     string
}

func (a *app) keyAddCommand() *cobra.Command {
	var f keyAddFlags
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Add a passphrase, or the age keys of recipients",
		Long: "Add a passphrase, which is --new-passphrase-file or asked for twice, or with\n" +
			"--recipient the age keys of others. JSON is what berth backup key list has of it.\n\n" + repoHelp,
		Args: withUsage(noArguments("a passphrase is never given on the command line, where others can see it")),
		RunE: func(cmd *cobra.Command, _ []string) error {
			wrong := checkFormat(f.output, "text", "json")
			if f.newFile != "" && len(f.recipients) > 0 {
				wrong = usagef("", "--new-passphrase-file and --recipient exclude one another")
			}
			return a.changeRepo(cmd, &f.repoFlags, wrong, func(ctx context.Context, r *openRepo) error { return a.addKey(ctx, &f, r) })
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.newFile, "new-passphrase-file", "", "the new passphrase is the first line of `FILE`")
	fl.StringArrayVar(&f.recipients, "recipient", nil, "the age key of `RECIPIENT` (age1…) opens it; may be given several times")
	fl.StringVar(&f.label, "label", "", "`TEXT` for people: whose it is")
	textOrJSON(cmd, &f.output)
	cmd.ValidArgsFunction = fixed()
	return cmd
}

func (a *app) addKey(ctx context.Context, f *keyAddFlags, r *openRepo) error {
	if !r.Encrypted() {
		return notEncrypted(r)
	}
	key, err := a.makeKey(ctx, f, r)
	if err != nil {
		return err
	}
	if f.output == "json" {
		return encodeJSON(a.Stdout, newKeyRecord(&key))
	}
	_, err = fmt.Fprintf(a.Stdout, "%s: added\n", backend.Clean(key.ID))
	return err
}

func (a *app) makeKey(ctx context.Context, f *keyAddFlags, r *openRepo) (repo.Key, error) {
	if len(f.recipients) > 0 {
		to, err := parseRecipients(f.recipients)
		if err != nil {
			return repo.Key{}, err
		}
		return r.AddRecipients(ctx, to, f.label)
	}
	if f.newFile != "" {
		pass, err := readPassphrase(f.newFile)
		if err != nil {
			return repo.Key{}, err
		}
		return r.AddPassphrase(ctx, pass, f.label)
	}
	if !isTerminal(a.Stdin) {
		return repo.Key{}, usagef("", "there is no terminal to ask on; give --new-passphrase-file or --recipient")
	}
	pass, err := a.askPassphrase(ctx, "New passphrase", true)
	if err != nil {
		return repo.Key{}, err
	}
	return r.AddPassphrase(ctx, pass, f.label)
}

func notEncrypted(r *openRepo) error {
	return &backend.OpError{Op: "change the keys", Target: backend.Clean(r.url), Err: errors.New("it is not encrypted, so it has none"),
		Hint: "make another with berth backup init --encrypt, and berth backup copy what is here to it"}
}

func (a *app) keyRemoveCommand() *cobra.Command {
	var f repoFlags
	yes, output := false, ""
	cmd := &cobra.Command{
		Use:     "remove KEY...",
		Aliases: []string{"rm"},
		Short:   "Remove keys, but never the last",
		Long: "Remove keys, but never the last. KEY is a key's name as berth backup key list has\n" +
			"it, or the beginning of it. Whoever has a copy of the repository and the removed\n" +
			"key can still open that copy. JSON is the list of those that are left.\n\n" + repoHelp,
		Args: withUsage(func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("remove which key? Give one KEY or more")
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeRepo(cmd, &f, checkFormat(output, "text", "json"), func(ctx context.Context, r *openRepo) error {
				return a.removeKeys(ctx, r, output, args, yes)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	textOrJSON(cmd, &output)
	cmd.ValidArgsFunction = fixed()
	return cmd
}

func (a *app) removeKeys(ctx context.Context, r *openRepo, output string, args []string, yes bool) error {
	keys, err := r.Keys(ctx)
	if err != nil {
		return err
	}
	ids, err := findKeys(keys, args)
	if err != nil {
		return err
	}
	if len(ids) >= len(keys) {
		return &backend.OpError{Op: "remove the keys", Target: strings.Join(args, " "), Err: errors.New("no key would be left, and nobody could ever restore from it"), Hint: "add another first"}
	}
	if err := a.mayLose(ctx, yes, "key remove", fmt.Sprintf("Remove %s?\nWho has only that will not open it any more.", strings.Join(ids, ", "))); err != nil {
		return err
	}
	for _, id := range ids {
		if err := r.RemoveKey(ctx, id); err != nil {
			return err
		}
		if output == "json" {
			continue
		}
		if _, err := fmt.Fprintf(a.Stdout, "%s: removed\n", backend.Clean(id)); err != nil {
			return err
		}
	}
	if output == "json" {
		return a.printKeys(output, slices.DeleteFunc(keys, func(k repo.Key) bool { return slices.Contains(ids, k.ID) }))
	}
	return nil
}

// findKeys finds keys by the beginnings of their names.
func findKeys(keys []repo.Key, args []string) ([]string, error) {
	var ids []string
	var errs []error
	for _, arg := range args {
		var found []string
		for _, k := range keys {
			if strings.HasPrefix(k.ID, arg) {
				found = append(found, k.ID)
			}
		}
		switch {
		case len(found) == 0:
			errs = append(errs, fmt.Errorf("%s: no such key; berth backup key list shows them", backend.Clean(arg)))
		case len(found) > 1:
			errs = append(errs, fmt.Errorf("%s: %w: say which of %s", backend.Clean(arg), backend.ErrAmbiguous, strings.Join(found, ", ")))
		case !slices.Contains(ids, found[0]):
			ids = append(ids, found[0])
		}
	}
	return ids, errors.Join(errs...)
}

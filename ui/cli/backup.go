package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model/config"
)

// BackupsOptions say which backups to open.
type BackupsOptions struct {
	Config *config.Config
	// Fleet are the hosts at hand, whose VMs can be backed up. Reading what
	// there is needs none.
	Fleet func() []backend.Host
	// Connect makes a host that is not at hand and that the engine knows, to find
	// the VMs that a schedule is to back up now; nil in the demo.
	Connect func(name, uri string) (backend.Host, error)
	// Demo: backups within this process over the fleet, which is a demo's.
	Demo bool
	// Settled has the demo's wait until all that it begins with is there.
	Settled bool
	// OpenPlace is Program.OpenPlace.
	OpenPlace OpenPlaceFunc
	// Ensure sees to it that an engine runs, which running tells; nil in the demo.
	Ensure func(ctx context.Context, running func(context.Context) (bool, error)) error
	Env    func(string) string
	UID    int
}

// backupCommand groups what can be done about backups without the screen.
func (a *app) backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Back up VMs while they run, look after the backups, restore them",
		Long: "Back up VMs into a repository while they run, and restore them. A repository is a\n" +
			"folder, here or on another machine over SFTP, that keeps each piece of data once,\n" +
			"whichever VM or backup it belongs to, compressed, and encrypted if you like.\n\n" +
			"The first backup of a VM reads its disks whole, those after it only what has\n" +
			"changed; each is complete by itself. Backups and restores are carried out by the\n" +
			"engine (berth engine --help), so they go on when you log out.\n\n" +
			repoHelp + "\n\n" + pointHelp,
		Example: "  berth backup init --repo /srv/backup --encrypt\n" +
			"  berth backup create web1 db1           goes on in the engine; ^C cancels\n" +
			"  berth backup list --vm web1\n" +
			"  berth backup restore web1@yesterday --to web1-old --start\n" +
			"  berth backup schedule add --cron '30 2 * * *' --all --keep-daily 7 --keep-weekly 4",
		Args:             withUsage(noSuchCommand),
		RunE:             func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRun: endOnInterrupt,
	}
	cmd.AddCommand(a.backupInitCommand(), a.backupKeyCommand(), a.backupCreateCommand(), a.backupListCommand(), a.backupShowCommand(), a.backupDiffCommand(), a.backupVerifyCommand(), a.backupCheckCommand(),
		a.backupForgetCommand(), a.backupPruneCommand(), a.backupCopyCommand(), a.backupLocksCommand(), a.backupUnlockCommand(), a.backupRestoreCommand(), a.backupExportCommand(), a.backupFilesCommand(), a.backupServeCommand(),
		a.backupScheduleCommand(), a.backupLeftoversCommand(), a.backupJobsCommand(), a.backupLimitCommand(), a.backupLogCommand())
	for _, v := range transferVerbs() {
		cmd.AddCommand(a.transferVerbCommand(v))
	}
	return cmd
}

// withBackups runs do over the backups, without connecting to hosts.
func (a *app) withBackups(cmd *cobra.Command, do func(backend.Backups) error) (err error) {
	if err := a.load(cmd); err != nil {
		return err
	}
	var f fleet
	if a.flags.demo {
		f.hosts = a.demoHosts()
	}
	defer func() { err = closeAll(err, &f) }()
	return a.overBackups(cmd.Context(), &f, do)
}

func (a *app) overBackups(ctx context.Context, f *fleet, do func(backend.Backups) error) (err error) {
	o := a.backupsOptions(func() []backend.Host { return f.hosts })
	o.Settled = true
	b, err := a.Backups(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	return do(b)
}

func (a *app) openBackups(ctx context.Context, hosts func() []backend.Host) (backend.Backups, error) {
	return a.Backups(ctx, a.backupsOptions(hosts))
}

func (a *app) backupsOptions(hosts func() []backend.Host) BackupsOptions {
	o := BackupsOptions{Config: a.config, Fleet: hosts, Demo: a.flags.demo, OpenPlace: a.OpenPlace, Env: a.Env, UID: a.UID}
	if !a.flags.demo {
		o.Ensure, o.Connect = a.ensureEngine, a.connectNamed
	}
	return o
}

// loadToChange loads the configuration for a command that changes something,
// and refuses it when nothing may be changed or the command line is wrong.
func (a *app) loadToChange(cmd *cobra.Command, wrong error) error {
	if err := a.load(cmd); err != nil {
		return err
	}
	return errors.Join(a.mayChange(), wrong)
}

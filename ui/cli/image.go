package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/audit"
	"berth/backend/image"
)

// imageCommand groups what can be done to disk images without the screen.
func (a *app) imageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Look at disk images; copy, convert, compress, split, check them",
		Long: "Look at disk images and work on them. list asks the hosts; the other commands work\n" +
			"on files of this machine, and create, resize and delete on those of a host when\n" +
			"one is named with -c.\n\n" +
			"What is made appears whole or not at all, is durable when the command ends, and is\n" +
			"read back and compared unless --no-verify is given. Holes stay holes, and zeroes\n" +
			"become holes. Nothing is ever overwritten. An image that a VM writes to is refused\n" +
			"unless --force is given, which makes a copy as after a power cut at best; berth\n" +
			"backup create is for that.",
		Example: "  berth image list --orphans\n" +
			"  berth image copy web1.qcow2 /mnt/usb/ sftp://nas/images/web1.qcow2\n" +
			"  berth image split web1.qcow2 --size 1G\n" +
			"  berth image compress web1.raw",
		Args:             withUsage(noSuchCommand),
		RunE:             func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRun: endOnInterrupt,
	}
	cmd.AddCommand(a.imageListCommand(), a.imageInfoCommand(), a.imageCopyCommand(), a.imageConvertCommand(), a.imageCompressCommand(), a.imageDecompressCommand(),
		a.imageSplitCommand(), a.imageJoinCommand(), a.imageChecksumCommand(), a.imageCreateCommand(), a.imageResizeCommand(), a.imageDeleteCommand())
	return cmd
}

// someFiles wants one argument or more.
func someFiles(what string) cobra.PositionalArgs {
	return withUsage(func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s what? Give one %s or more", cmd.Name(), what)
		}
		return nil
	})
}

// fromTo wants two arguments, or between two numbers of them.
func fromTo(words string, least, most int) cobra.PositionalArgs {
	return withUsage(func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return fmt.Errorf("%s takes %s, and there are %d arguments", cmd.Name(), words, len(args))
		}
		return nil
	})
}

// imageWork is one command that changes something: its progress on a
// terminal, its line in the audit trail.
type imageWork struct {
	*app
	verb  string
	meter *meter
	phase backend.Phase
}

// changeImages runs do for a command that makes or changes images, unless
// nothing may be changed or the command line is wrong.
func (a *app) changeImages(cmd *cobra.Command, wrong error, do func(w *imageWork) error) error {
	if err := a.load(cmd); err != nil {
		return err
	}
	if err := errors.Join(a.mayChange(), wrong); err != nil {
		return err
	}
	w := &imageWork{app: a, verb: "image-" + cmd.Name()}
	err := do(w)
	w.endMeter()
	if se := interruption(cmd.Context()); se != nil && err != nil && !errors.Is(err, errReported) {
		return fmt.Errorf("%w; nothing of it stays", se)
	}
	return err
}

// progress shows how far it is.
func (w *imageWork) progress(phase backend.Phase, done, total int64) {
	if w.meter == nil || w.phase != phase {
		w.meter, w.phase = w.app.meter(string(phase)), phase
	}
	w.meter.show(done, total, "")
}

func (w *imageWork) endMeter() {
	if w.meter != nil {
		w.meter.end()
		w.meter = nil
	}
}

// note writes what was done, or not, to the audit trail.
func (w *imageWork) note(host, detail string, outcome error) {
	w.endMeter()
	if w.app.flags.demo {
		return
	}
	if host == "" {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	trail := audit.Open(w.config.Paths.AuditFile, w.Env)
	if err := trail.Record(audit.Entry{Host: host, Verb: w.verb, Detail: detail}, outcome); err != nil {
		w.complain(err)
	}
}

// say tells on stdout what became of something.
func (w *imageWork) say(name, format string, args ...any) error {
	w.endMeter()
	_, err := fmt.Fprintf(w.Stdout, "%s: %s\n", backend.Clean(name), fmt.Sprintf(format, args...))
	return err
}

// Progress as package image wants it.
func (w *imageWork) report() image.Progress {
	if !isTerminal(w.Stderr) {
		return nil
	}
	return w.progress
}

// firstLine is an error's first line, for a table.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return backend.Clean(line)
}

package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"berth/model/config"
)

// usageError is a wrong command line: exit code 2.
type usageError struct {
	err  error
	hint string // what to try; empty: the command's help
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(hint, format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...), hint: hint}
}

func helpHint(cmd *cobra.Command) string { return "Try: " + cmd.CommandPath() + " --help" }

// withUsage makes what a validator of arguments says a usage error.
func withUsage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &usageError{err: err, hint: helpHint(cmd)}
		}
		return nil
	}
}

// oneName wants exactly one VM.
func oneName(cmd *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return fmt.Errorf("%s what? Give one NAME", cmd.Name())
	case 1:
		return nil
	}
	return fmt.Errorf("%s takes one NAME, and there are %d: %s", cmd.Name(), len(args), strings.Join(args, " "))
}

// noArguments wants none; instead says what may have been meant.
func noArguments(instead string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		text := fmt.Sprintf("%s takes no argument, and there is %q", cmd.Name(), args[0])
		if instead != "" {
			text += "; " + instead
		}
		return errors.New(text)
	}
}

// oneOf wants exactly one of some words.
func oneOf(what string, words []string) cobra.PositionalArgs {
	list := strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s of which %s? Give %s", cmd.Name(), what, list)
		}
		if len(args) > 1 {
			return fmt.Errorf("%s takes one %s, and there are %d: %s", cmd.Name(), what, len(args), strings.Join(args, " "))
		}
		for _, w := range words {
			if w == args[0] {
				return nil
			}
		}
		text := fmt.Sprintf("there is no %s %q", what, args[0])
		if near := config.Nearest(args[0], words); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		return fmt.Errorf("%s; use %s", text, list)
	}
}

// noSuchCommand refuses arguments where only a command could stand.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("there is no command %q", cmd.CommandPath()+" "+args[0])
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += fmt.Sprintf("; did you mean %q?", near[0])
	}
	return errors.New(text)
}

// flagError is a flag that does not exist, or has no such value, as a usage
// error that names the flag that was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return &usageError{err: err, hint: helpHint(cmd)}
	}
	name := unknown.GetSpecifiedName()
	text := fmt.Sprintf("there is no flag --%s", name)
	if near := config.Nearest(name, flagNames(cmd)); near != "" {
		text += fmt.Sprintf("; did you mean --%s?", near)
	}
	return &usageError{err: errors.New(text), hint: helpHint(cmd)}
}

// flagNames are the flags that cmd takes.
func flagNames(cmd *cobra.Command) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}

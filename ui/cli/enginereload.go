package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"berth/model/config"
)

// reloadEvery is how often the engine looks whether its config was changed.
// Two stats cost nothing, and see through whatever way an editor saves. Tests
// are in more of a hurry.
var reloadEvery = 2 * time.Second

// errConfigChanged is why an engine makes way for one with the new settings.
var errConfigChanged = errors.New("the config was changed")

// reloading runs serve, and again with the new settings whenever the config
// files change: an engine may end at any moment and the next goes on, so
// nothing has to be brought up to date inside one. A config with an error is
// told of, and the settings stay as they were.
func (a *app) reloading(cmd *cobra.Command, say func(error), serve func(context.Context) error) error {
	seen := fingerprint(configPaths(a.config.Paths, a.flags.config)) // before anything else can change them
	for {
		ctx, cancel := context.WithCancelCause(cmd.Context())
		next := make(chan *config.Config, 1)
		go func() { next <- a.awaitNewConfig(ctx, cmd, &seen, say, cancel) }()
		err := serve(ctx)
		cancel(nil)
		changed := <-next
		if changed == nil || (err != nil && !errors.Is(err, context.Canceled)) || cmd.Context().Err() != nil {
			return err
		}
		a.config = changed
	}
}

// awaitNewConfig cancels when the config has changed and has no error, and
// returns it; nil when ctx ends before that.
func (a *app) awaitNewConfig(ctx context.Context, cmd *cobra.Command, seen *string, say func(error), cancel context.CancelCauseFunc) *config.Config {
	paths := configPaths(a.config.Paths, a.flags.config)
	for pause(ctx, reloadEvery) == nil {
		now := fingerprint(paths)
		if now == *seen {
			continue
		}
		*seen = now
		c, err := a.freshConfig(cmd)
		if err != nil {
			say(fmt.Errorf("the config was changed, and has an error; the settings stay as they were: %w", err))
			continue
		}
		cancel(errConfigChanged)
		return c
	}
	return nil
}

// freshConfig reads the config anew, beside the one in force.
func (a *app) freshConfig(cmd *cobra.Command) (*config.Config, error) {
	fresh := *a
	fresh.config = nil
	if err := fresh.load(cmd); err != nil {
		return nil, err
	}
	return fresh.config, fresh.mayChange()
}

// configPaths are the files that settings may come from, there or not.
func configPaths(p config.Paths, own string) []string {
	if own != "" {
		return []string{p.SystemFile, own}
	}
	return []string{p.SystemFile, p.ConfigFile}
}

// fingerprint changes when any of the files does.
func fingerprint(paths []string) string {
	text := ""
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil {
			text += fmt.Sprintf("%s %d %d;", p, info.Size(), info.ModTime().UnixNano())
		}
	}
	return text
}

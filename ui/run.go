package ui

import (
	"context"
	"errors"
	"os"
	"time"

	"berth/model"
	"berth/ui/screen"
)

// closeWait is how long the end of the program waits for what is still being
// written to the audit trail.
const closeWait = 2 * time.Second

// Run opens the console on this terminal and returns when the person quits.
func Run(ctx context.Context, opt model.Options, look Look) error {
	scr := screen.New(os.Stdout, screen.Options{
		In: os.Stdin, AltScreen: true, Mouse: opt.Settings.Mouse,
		Profile: look.Profile, ASCII: look.Glyphs.ASCII, Term: os.Getenv("TERM"),
	})
	opt.Terminal = scr
	app := model.NewApp(ctx, opt)
	_, err := scr.Run(ctx, NewRoot(app, scr, look))
	return errors.Join(err, app.Close(closeWait))
}

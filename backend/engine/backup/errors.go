package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"berth/backend"
	"berth/backend/store"
)

var (
	// errCancelled is why a transfer's context ends when a person wants that.
	errCancelled = errors.New("cancelled")
	// errEnding is why it ends with the engine: the next one goes on.
	errEnding = errors.New("the engine ends")
	// errGone: the session has ended by itself; only a new one helps.
	errGone = errors.New("the backup job has ended")
)

// permanent are failures that trying again does not mend.
var permanent = []error{
	backend.ErrNoRoom, backend.ErrSecret, backend.ErrDamaged, backend.ErrInvalid, backend.ErrNoDomain, backend.ErrReadOnly,
	backend.ErrUnsupported, backend.ErrAuth, backend.ErrHostKey, backend.ErrURI, backend.ErrNoStorage, fs.ErrNotExist, fs.ErrExist,
	fs.ErrPermission, store.ErrLeaseLost, store.ErrCorrupt, store.ErrNewer, store.ErrMoved, errDies,
}

// lasts reports whether an error will not go away by itself.
func lasts(err error) bool {
	for _, p := range permanent {
		if errors.Is(err, p) {
			return true
		}
	}
	return false
}

// lost reports whether a connection was lost rather than something refused.
func lost(err error) bool {
	return errors.Is(err, backend.ErrUnreachable) || errors.Is(err, backend.ErrTimeout) || errors.Is(err, backend.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded)
}

// stopped reports why a transfer was told to end: errCancelled, errEnding, or
// nil when it was not.
func stopped(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	if errors.Is(context.Cause(ctx), errCancelled) {
		return errCancelled
	}
	return errEnding
}

// words is an error as people read it in a list: one line.
func words(err error) string {
	if err == nil {
		return ""
	}
	return backend.Clean(strings.ReplaceAll(err.Error(), "\n", "; "))
}

// count is "1 point" or "2 points".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

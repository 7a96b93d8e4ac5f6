package repo

import (
	"context"

	"golang.org/x/time/rate"
)

// CopyOptions say how to copy points to another repository.
type CopyOptions struct {
	Limit    *rate.Limiter // bytes read a second; nil: none
	Gate     func(ctx context.Context) error
	Progress func(CopyProgress)
}

// CopyProgress is how far CopyTo is.
type CopyProgress struct {
	Point       string
	Done, Total int64 // bytes of chunks
	New         int64 // bytes that the other repository did not have
}

// CopyReport is what CopyTo did.
type CopyReport struct {
	Copied  []string // IDs there, in the order of what was asked for
	Skipped []string // those that were there already
	New     int64    // bytes that the other repository did not have
	Stored  int64    // bytes that those take
}

// CopyTo copies points, by their whole IDs (none: all), to another
// repository, whatever the keys of both: each chunk is read back, verified,
// encrypted anew. Chunks that are there already are not copied. Begun again
// after it broke off it goes on from where it was.
func (r *Repo) CopyTo(ctx context.Context, dst *Repo, ids []string, o CopyOptions) (CopyReport, error) {
	return CopyReport{}, errSoon
}

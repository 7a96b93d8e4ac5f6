package demo

import (
	"context"

	"berth/backend"
)

// keeper is a host as those see it who run it.
type keeper struct{ *host }

var (
	_ backend.Host    = keeper{}
	_ backend.Definer = keeper{}
	_ backend.Tuner   = keeper{}

	_ backend.Storage     = keeper{}
	_ backend.ImageOpener = keeper{}
	_ backend.HostFiles   = keeper{}
	_ backend.Backuper    = keeper{}
	_ backend.JobWatcher  = keeper{}
)

// Keeper is one of a fleet's hosts as those see it who run the fleet: when the
// console may change nothing (Options.ReadOnly), they still do, as a queue's
// engine goes on while somebody only looks. A Host of another kind is
// returned as it is.
func Keeper(h backend.Host) backend.Host {
	if d, ok := h.(*host); ok {
		return keeper{d}
	}
	return h
}

// ReadOnly is never so.
func (k keeper) ReadOnly() bool { return false }

// Do carries out one verb.
func (k keeper) Do(ctx context.Context, a backend.Action) error {
	target := a.Name
	if target == "" {
		target = a.UUID.String()
	}
	return k.do(ctx, a, target)
}

// Define stores a definition.
func (k keeper) Define(ctx context.Context, text string) (backend.UUID, error) {
	return k.define(ctx, text)
}

// SetShares changes weights.
func (k keeper) SetShares(ctx context.Context, id backend.UUID, s backend.Shares) error {
	return k.setShares(ctx, id, s)
}

// PoolDo starts, stops or refreshes a pool.
func (k keeper) PoolDo(ctx context.Context, pool string, verb backend.PoolVerb) error {
	return k.poolDo(ctx, pool, verb)
}

// DefinePool makes a pool.
func (k keeper) DefinePool(ctx context.Context, s backend.PoolSpec) error {
	return k.definePool(ctx, s)
}

// CreateImage makes an image.
func (k keeper) CreateImage(ctx context.Context, s backend.ImageSpec) error {
	return k.createImage(ctx, s)
}

// ResizeImage changes an image's size.
func (k keeper) ResizeImage(ctx context.Context, path string, size uint64, shrink bool) error {
	return k.resizeImage(ctx, path, size, shrink)
}

// DeleteImage deletes an image that nothing uses.
func (k keeper) DeleteImage(ctx context.Context, path string) error { return k.deleteImage(ctx, path) }

// MakeImage makes an image and opens it for writing.
func (k keeper) MakeImage(ctx context.Context, path, format string, size uint64) (backend.NewImage, error) {
	n, err := k.makeImage(ctx, path, format, size)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// WriteFile writes a small file.
func (k keeper) WriteFile(ctx context.Context, path string, content []byte) error {
	return k.writeFile(ctx, path, content)
}

// RenameFile moves an image or a small file.
func (k keeper) RenameFile(ctx context.Context, from, to string) error {
	return k.renameFile(ctx, from, to)
}

// RemoveFile deletes an image or a small file.
func (k keeper) RemoveFile(ctx context.Context, path string) error { return k.removeFile(ctx, path) }

// BeginBackup takes a point in time of a machine's disks.
func (k keeper) BeginBackup(ctx context.Context, r backend.BackupRequest) (backend.BackupSession, error) {
	return k.beginBackup(ctx, r)
}

// CleanUp removes what a broken-off backup left.
func (k keeper) CleanUp(ctx context.Context, l backend.Leftover) error { return k.cleanUp(ctx, l) }

// AbortDomainJob ends a job.
func (k keeper) AbortDomainJob(ctx context.Context, j backend.DomainJob) error {
	return k.abortDomainJob(ctx, j)
}

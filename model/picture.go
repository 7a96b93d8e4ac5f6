package model

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"berth/backend"
)

// savePicture writes the display of a domain to a file of its own in dir; the
// file appears whole or not at all.
func savePicture(ctx context.Context, from backend.Screenshotter, id backend.UUID, dir, name string, at time.Time) (path string, err error) {
	dir, err = filepath.Abs(dir) // an empty one is the current folder
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path = filepath.Join(dir, fmt.Sprintf("%s-%s.png", fileName(name), at.Format("20060102-150405")))
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Cleanup()) }()
	if err := from.Screenshot(ctx, id, f); err != nil {
		return "", err
	}
	return path, f.CloseAtomicallyReplace()
}

// fileName makes a file's name of a VM's name, which may hold anything.
func fileName(name string) string {
	return strings.TrimLeft(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '_'
	}, name), ".-")
}

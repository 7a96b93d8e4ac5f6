package lab

import (
	"context"
	"crypto/sha256"
	_ "embed" // for the script
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

//go:embed scripts/mkguest
var mkguest string

// buildImage returns a directory with the guests' vmlinuz and initrd.gz. It is
// made once for each version of the kernel, of the programs inside and of the
// script, and kept in the user's cache directory.
func buildImage(ctx context.Context) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		base = "/var/tmp" // no HOME, as in a bare container
	}
	key, err := imageKey()
	if err != nil {
		return "", err
	}
	base = filepath.Join(base, "berth-lab")
	dir := filepath.Join(base, key)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(base, "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	if err := run(ctx, "bash", "-c", mkguest, "mkguest", tmp); err != nil {
		return "", err
	}
	// Another test binary may have finished first: its image is the same.
	if err := os.Rename(tmp, dir); err != nil {
		if _, there := os.Stat(dir); there != nil {
			return "", err
		}
	}
	return dir, nil
}

// imageKey names an image by all that goes into it.
func imageKey() (string, error) {
	sum := sha256.New()
	fmt.Fprint(sum, mkguest)
	files, _ := filepath.Glob("/boot/vmlinuz-*cloud*")
	for _, name := range []string{"busybox", "qemu-ga"} {
		path, err := lookPath(name)
		if err != nil {
			return "", err
		}
		files = append(files, path)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(sum, f, info.Size(), info.ModTime().UnixNano())
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

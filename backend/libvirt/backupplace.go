package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

const (
	// socketMost is what a unix socket's path may measure (sun_path less its end).
	socketMost = 107
	// reserveLeast is free space that a backup leaves in any case.
	reserveLeast = 16 << 20
	// scratchLeast is the room that scratch files need to begin with, at least;
	// or all of the disk when that is smaller.
	scratchLeast = 64 << 20
)

// runDir is the folder that libvirt has for a running domain: its QEMU may make
// sockets there, whatever AppArmor or SELinux forbid, and it goes with the domain.
func (s *subject) runDir(ctx context.Context, m dial.Machine) (string, error) {
	base := "/var/lib/libvirt/qemu"
	if s.h.target.Driver() == "qemu:///session" {
		var err error
		if base, err = sessionLib(); err != nil {
			return "", err
		}
	}
	list, err := m.List(ctx, base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", onFile(err)
	}
	prefix := "domain-" + strconv.Itoa(int(s.dom.ID)) + "-"
	for _, f := range list {
		if f.Mode.IsDir() && strings.HasPrefix(f.Name, prefix) {
			return path.Join(base, f.Name), nil
		}
	}
	return "", fmt.Errorf("%w: libvirt's folder %s/%s... of the running VM is not there", backend.ErrUnsupported, base, prefix)
}

// sessionLib is where a user's own libvirt keeps its domains' folders
// (virQEMUDriverConfigNew in libvirt's src/qemu/qemu_conf.c).
func sessionLib() (string, error) {
	config, err := os.UserConfigDir()
	return path.Join(config, "libvirt/qemu/lib"), err
}

// placeScratch chooses a place for each disk's scratch file: beside its image,
// where QEMU surely may write, else beside another of its images.
func (b *begin) placeScratch(ctx context.Context, id string) error {
	var dirs []string
	if b.r.ScratchDir != "" {
		st, err := b.m.Stat(ctx, b.r.ScratchDir)
		if err != nil || !st.Mode.IsDir() {
			return fmt.Errorf("%w: the folder for scratch files %s is not there: %w", backend.ErrInvalid, backend.Clean(b.r.ScratchDir), errors.Join(err))
		}
		dirs = []string{b.r.ScratchDir}
	}
	var others []string
	for i, d := range b.t.Disks {
		if dir := folder(&b.s.xml.Devices.Disks[i], d.Path); dir != "" && d.Skip == "" {
			others = append(others, dir)
		}
	}
	others = append(others, "/var/lib/libvirt/images")
	for i, d := range b.t.Disks {
		if d.Skip != "" {
			b.t.Scratch = append(b.t.Scratch, "")
			continue
		}
		choice := dirs
		if len(choice) == 0 {
			if dir := folder(&b.s.xml.Devices.Disks[i], d.Path); dir != "" {
				choice = []string{dir}
			}
			choice = append(choice, others...)
		}
		dir, err := roomFor(ctx, b.m, choice, d.Size)
		if err != nil {
			return fmt.Errorf("the scratch file of %s: %w", d.Target, err)
		}
		b.t.Scratch = append(b.t.Scratch, path.Join(dir, dial.DraftPrefix+id+"-"+d.Target+scratchSuffix))
	}
	return nil
}

// roomFor is the first folder with room for the scratch file of a disk of that
// size. How much it will need depends on how much the guest writes.
func roomFor(ctx context.Context, m dial.Machine, dirs []string, size int64) (string, error) {
	need := uint64(min(size, max(scratchLeast, size/50))) + reserveLeast
	var tried []string
	for _, dir := range dirs {
		free, _, err := m.Room(ctx, dir)
		switch {
		case err != nil && ctx.Err() != nil:
			return "", err
		case err == nil && free >= need:
			return dir, nil
		case err == nil && !slices.Contains(tried, dir):
			tried = append(tried, dir)
		}
	}
	return "", &backend.OpError{Op: "place it", Err: fmt.Errorf("%w: %d MiB are needed to begin with, beside what the guest writes meanwhile, in %s",
		backend.ErrNoRoom, need>>20, backend.Clean(strings.Join(tried, ", "))), Hint: "free space there, or name another folder for scratch files"}
}

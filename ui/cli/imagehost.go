package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"berth/backend"
)

// storageDeadline bounds how long a host is waited for.
const storageDeadline = gatherDeadline

// withHosts runs do over the chosen hosts.
func (a *app) withHosts(cmd *cobra.Command, do func(f *fleet) error) error {
	if err := a.load(cmd); err != nil {
		return err
	}
	return a.overFleet(cmd.Context(), do)
}

// storageOf is a host's storage.
func storageOf(h backend.Host) (backend.Storage, error) {
	s, ok := h.(backend.Storage)
	if !ok {
		return nil, fmt.Errorf("%s: %w: berth cannot see its storage", backend.Clean(h.Name()), backend.ErrUnsupported)
	}
	return s, nil
}

// fromStorage asks all hosts side by side and joins what they tell. Those that
// fail are complained about, and failed is true.
func fromStorage[T any](ctx context.Context, a *app, f *fleet, ask func(context.Context, backend.Storage) ([]T, error)) (all []T, failed bool) {
	lists, errs := make([][]T, len(f.hosts)), make([]error, len(f.hosts))
	var wg sync.WaitGroup
	for i, h := range f.hosts {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, storageDeadline)
			defer cancel()
			s, err := storageOf(h)
			if err == nil {
				lists[i], err = ask(ctx, s)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	for i, h := range f.hosts {
		if errs[i] != nil {
			a.complain(fmt.Errorf("%s: %w", backend.Clean(h.Name()), errs[i]))
			failed = true
		}
		all = append(all, lists[i]...)
	}
	return all, failed
}

// remoteNamed reports whether the command line names hosts to work on: else
// files of this machine are meant.
func (a *app) remoteNamed() bool { return len(a.flags.connect) > 0 || a.flags.demo }

// oneStorage is the storage of the host that was named; of several that is
// refused.
func oneStorage(f *fleet) (backend.Host, backend.Storage, error) {
	if len(f.hosts) != 1 {
		var names []string
		for _, h := range f.hosts {
			names = append(names, backend.Clean(h.Name()))
		}
		return nil, nil, usagef("", "on which host? Name one with -c (hosts: %s)", strings.Join(names, " "))
	}
	h := f.hosts[0]
	if h.ReadOnly() {
		return nil, nil, fmt.Errorf("%w: %s was opened without permission to change anything", backend.ErrReadOnly, backend.Clean(h.Name()))
	}
	s, err := storageOf(h)
	return h, s, err
}

// localImages are the images that the libvirt of this machine knows; none when
// it has none that answers, which is no error: files are then only guarded by
// QEMU's own locks.
func (a *app) localImages(ctx context.Context) (_ []backend.Image, err error) {
	f, err := a.openFleet(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = closeAll(err, f) }()
	var list []backend.Image
	for _, h := range f.hosts {
		s, ok := h.(backend.Storage)
		if !ok || a.Local == nil || !a.Local(h.URI()) {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, storageDeadline)
		images, err := s.Images(limited)
		cancel()
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, fmt.Errorf("%s cannot say who uses the image: %w; add --force to go by QEMU's locks alone", backend.Clean(h.Name()), err)
		}
		list = append(list, images...)
	}
	return list, nil
}

// notWritten refuses an image that a running VM writes to, as libvirt knows it:
// QEMU's locks do not show on every file system, nor on devices. Where no
// libvirt runs they must do.
func (a *app) notWritten(ctx context.Context, file string, force bool) error {
	if force {
		return nil
	}
	images, err := a.localImages(ctx)
	if err != nil && !errors.Is(err, backend.ErrUnreachable) {
		return err
	}
	names, err := namesOf(file)
	if err != nil {
		return err
	}
	for i := range images {
		for _, u := range images[i].Users {
			if u.Active && !u.ReadOnly && slices.Contains(names, images[i].Path) {
				return &backend.OpError{Op: "read", Target: backend.Clean(file), Err: fmt.Errorf("%w: %s runs with it as %s", backend.ErrBusy, backend.Clean(u.Name), backend.Clean(u.Target)),
					Hint: "back it up with berth backup create, which works while it runs; shut it down; or add --force for a copy that may be torn"}
			}
		}
	}
	return nil
}

// namesOf are a file's absolute path, and the same without symbolic links.
func namesOf(file string) ([]string, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	names := []string{abs}
	if target, err := filepath.EvalSymlinks(abs); err == nil && target != abs {
		names = append(names, target)
	}
	return names, nil
}

// usedBy says which VMs have an image as a disk.
func usedBy(images []backend.Image, path string) error {
	for i := range images {
		m := &images[i]
		if m.Path != path || len(m.Users) == 0 {
			continue
		}
		var names []string
		for _, u := range m.Users {
			names = append(names, backend.Clean(u.Name)+" ("+backend.Clean(u.Target)+")")
		}
		return &backend.OpError{Op: "take", Target: backend.Clean(path), Err: fmt.Errorf("%w: it is a disk of %s", backend.ErrBusy, strings.Join(names, ", ")),
			Hint: "detach it or delete the VM first"}
	}
	return nil
}

// failedIf is errReported when something has been complained about.
func failedIf(failed bool) error {
	if failed {
		return errReported
	}
	return nil
}

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// controllers are the cgroup controllers that give a host's guests shares.
var controllers = []string{"cpu", "blkio"}

// cgroupRoot is where this machine's controllers are mounted, each by itself
// (cgroups version 1).
const cgroupRoot = "/sys/fs/cgroup"

// CgroupsMissing says why this machine's hosts cannot have cgroups, or nil.
func CgroupsMissing() error {
	for _, c := range controllers {
		dir := filepath.Join(cgroupRoot, c, "lab-"+strconv.Itoa(os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("no %s controller of cgroups version 1 that the lab may use: %w", c, err)
		}
		if err := os.Remove(dir); err != nil {
			return err
		}
	}
	return nil
}

// Cgroups restarts the host's libvirtd with control of its guests' CPU shares
// and I/O weight, unless it has that. The groups are below one of the host's
// own, and go with it; should the lab's owner die by SIGKILL, empty ones stay
// until the next use of that name.
func (h *Host) Cgroups(ctx context.Context) error {
	if h.cgroups {
		return nil
	}
	if err := CgroupsMissing(); err != nil {
		return err
	}
	h.cgroups = true // from here on there is something to remove
	return h.makeCgroups(ctx)
}

// makeCgroups is Cgroups in one boot of the host.
func (h *Host) makeCgroups(ctx context.Context) error {
	if err := h.dropCgroups(); err != nil {
		return err
	}
	conf := filepath.Join(h.Dir, "etc", "qemu.conf")
	text := strings.Replace(qemuConf, "cgroup_controllers = []", `cgroup_controllers = ["cpu", "blkio"]`, 1)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return err
	}
	if err := h.KillLibvirtd(ctx, "TERM"); err != nil {
		return err
	}
	for _, c := range controllers {
		if err := os.MkdirAll(h.cgroup(c), 0o755); err != nil {
			return err
		}
		if _, err := h.Run(ctx, "mount", "--bind", h.cgroup(c), filepath.Join(cgroupRoot, c)); err != nil {
			return err
		}
	}
	// libvirt takes a machine that has both for one of version 2.
	if _, err := h.Run(ctx, "bash", "-c", "! mountpoint -q "+cgroupRoot+"/unified || umount "+cgroupRoot+"/unified"); err != nil {
		return err
	}
	return h.StartLibvirtd(ctx)
}

// cgroup is the host's own group of a controller, by a name that no other
// host of this machine has.
func (h *Host) cgroup(controller string) string {
	return filepath.Join(cgroupRoot, controller, "berth-lab-"+h.Addr)
}

// dropCgroups removes the host's groups, which no process uses any more.
func (h *Host) dropCgroups() error {
	var errs []error
	for _, c := range controllers {
		var dirs []string
		err := filepath.WalkDir(h.cgroup(c), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for i := len(dirs) - 1; i >= 0; i-- {
			if err := os.Remove(dirs[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

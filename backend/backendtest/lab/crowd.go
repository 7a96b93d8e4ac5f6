package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Crowd defines guests NAME-001 to NAME-n like g on a host and starts the
// first running of them, through one virsh, as scale tests need. A UUID in g
// is ignored.
func (h *Host) Crowd(ctx context.Context, g Guest, n, running int) error {
	dir, err := os.MkdirTemp(h.Dir, "crowd-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if g.NIC {
		if err := h.makeNetwork(ctx); err != nil {
			return err
		}
	}
	var script strings.Builder
	name := g.Name
	for i := 1; i <= n; i++ {
		g.Name, g.UUID = fmt.Sprintf("%s-%03d", name, i), newUUID()
		if g.DiskMiB > 0 {
			if err := h.makeDisk(ctx, g); err != nil {
				return err
			}
		}
		text, err := h.XML(g)
		if err != nil {
			return err
		}
		file := filepath.Join(dir, g.Name+".xml")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
		fmt.Fprintln(&script, "define", file)
		if i <= running {
			fmt.Fprintln(&script, "start", g.Name)
		}
	}
	file := filepath.Join(dir, "script")
	if err := os.WriteFile(file, []byte(script.String()), 0o644); err != nil {
		return err
	}
	// virsh's exit status is that of the last command alone: look for errors.
	out, err := h.Run(ctx, "bash", "-c", `virsh -q -c qemu:///system <"$1" 2>&1`, "crowd", file)
	if err == nil && strings.Contains(out, "error:") {
		err = fmt.Errorf("lab: crowd: %s", out[strings.Index(out, "error:"):])
	}
	return err
}

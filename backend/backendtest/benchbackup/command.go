package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// command runs a program and keeps the most memory that it held.
type command struct {
	argv []string
	env  []string
	most int64
}

func (c *command) run(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(c.argv, " "), err, strings.TrimSpace(out.String()))
	}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.most = max(c.most, u.Maxrss<<10)
	}
	return nil
}

func (c *command) memory() int64 { return c.most }

// shell runs a script with arguments, $1 and so on.
func shell(script string, args ...string) func(context.Context) error {
	c := &command{argv: append([]string{"bash", "-ec", script, "bench"}, args...)}
	return c.run
}

// taken is what the files below a path take on the disk.
func taken(path string) func() (int64, error) {
	return func() (n int64, err error) {
		err = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if st, ok := info.Sys().(*syscall.Stat_t); ok && !d.IsDir() {
				n += st.Blocks * 512
			}
			return err
		})
		return n, err
	}
}

// highWater is the most memory that a process held, from /proc/PID/status.
func highWater(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	return 0
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"berth/backend/backendtest/lab"
	"berth/backend/backendtest/mixed"
)

// scene is what all contests are about: one image, as a file, as the disk of a
// VM that is off, and as that of one that runs.
type scene struct {
	berth string
	dir   string
	own   bool // dir is ours to delete
	image string
	lab   *lab.Lab
	host  *lab.Host
	env   []string
	pass  string // a file with a passphrase
}

const seed = 4

func setUp(ctx context.Context, berth, dir string) (s *scene, err error) {
	s = &scene{berth: berth, dir: dir}
	if dir == "" {
		if s.dir, err = os.MkdirTemp("/var/tmp", "berth-bench-"); err != nil {
			return nil, err
		}
		s.own = true
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	s.image = s.path("image.raw")
	s.env = []string{"XDG_STATE_HOME=" + s.path("state"), "XDG_CACHE_HOME=" + s.path("cache"), "XDG_RUNTIME_DIR=" + s.path("run")}
	s.pass = s.path("passphrase")
	if err := os.WriteFile(s.pass, []byte("correct horse battery staple\n"), 0o600); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.path("run"), 0o700); err != nil {
		return nil, err
	}
	if _, err := os.Stat(s.image); err != nil {
		if err := mixed.Write(s.image, seed); err != nil {
			return nil, err
		}
	}
	return s, s.machines(ctx)
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, name) }

// machines makes the VMs: one that is off, and two that run.
func (s *scene) machines(ctx context.Context) (err error) {
	if s.lab, err = lab.Up(ctx, "", 1); err != nil {
		return err
	}
	s.host = s.lab.Host(1)
	images := filepath.Join(s.host.Dir, "lib", "images")
	if err := shell(`cp --sparse=always "$1" "$2/still.raw"; qemu-img convert -O qcow2 "$1" "$2/live.qcow2"; cp "$2/live.qcow2" "$2/peer.qcow2"; sync`, s.image, images)(ctx); err != nil {
		return err
	}
	for _, d := range []struct{ name, format string }{{"still", "raw"}, {"live", "qcow2"}, {"peer", "qcow2"}} {
		text, err := s.host.XML(lab.Guest{Name: d.name})
		if err != nil {
			return err
		}
		disk := fmt.Sprintf(`<disk type='file' device='disk'><driver name='qemu' type='%s'/><source file='/var/lib/libvirt/images/%s.%[1]s'/><target dev='vda' bus='virtio'/></disk>`, d.format, d.name)
		if err := s.host.DefineXML(ctx, strings.Replace(text, "<memballoon", disk+"<memballoon", 1)); err != nil {
			return err
		}
	}
	for _, name := range []string{"live", "peer"} { // virtnbdbackup refuses a VM with checkpoints of others
		if _, err := s.host.Virsh(ctx, "start", name); err != nil {
			return err
		}
	}
	return nil
}

// close ends what setUp began.
func (s *scene) close() (err error) {
	if s.host != nil {
		err = s.cli("engine", "stop").run(context.Background())
	}
	if s.lab != nil {
		err = errors.Join(err, s.lab.Close())
	}
	if s.own {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// cli is a command of berth's on the lab's host.
func (s *scene) cli(args ...string) *command {
	uri := s.host.URI("unix")
	return &command{argv: append([]string{s.berth, "--connect", uri}, args...), env: s.env}
}

// engine is the number of the engine's process.
func (s *scene) engine() int {
	c := s.cli("engine", "status", "-o", "json")
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	out, err := cmd.Output()
	if err != nil {
		return 0
	}
	var status struct{ PID int }
	if json.Unmarshal(out, &status) != nil {
		return 0
	}
	return status.PID
}

// Package lab starts libvirt hosts of its own for tests, benchmarks and
// pictures, on one machine and without touching the user's libvirt.
//
// Each host has its own mount, network, UTS and PID namespaces, a libvirtd
// over directories below the lab's, an sshd and an address; guests run under
// software emulation. A host lives as long as a pipe that its owner holds: when
// the owner ends, in whatever way, every process, mount and network card of the
// lab is gone. It needs root and the packages in scripts/install.
//
// Tests use Need and Start; the command in cmd/lab gives people and scripts
// the same lab from a shell.
package lab

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
)

// Lab is a set of running hosts.
type Lab struct {
	Dir   string  // everything of the lab is below it
	Image string  // directory of the guests' vmlinuz and initrd.gz
	Hosts []*Host // hv1, hv2, ...

	net     *network
	removes bool // Dir was made by Up
}

// Up starts n hosts below dir, which must be absent, empty or "" for a new
// temporary directory. The path is kept short because unix socket names end
// below it (sun_path holds 108 bytes).
func Up(ctx context.Context, dir string, n int) (*Lab, error) {
	if err := Missing(); err != nil {
		return nil, err
	}
	image, err := buildImage(ctx)
	if err != nil {
		return nil, err
	}
	l := &Lab{Dir: dir, Image: image}
	if dir == "" {
		if l.Dir, err = os.MkdirTemp("/tmp", "berth-lab-"); err != nil {
			return nil, err
		}
		l.removes = true
	}
	if err := l.up(ctx, n); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Lab) up(ctx context.Context, n int) error {
	ca, err := makeKeys(l.Dir)
	if err != nil {
		return err
	}
	if l.net, err = plugNetwork(ctx, l.Dir); err != nil {
		return err
	}
	for i := 1; i <= n; i++ {
		name := "hv" + strconv.Itoa(i)
		h := &Host{Name: name, Addr: l.net.addr(10 + i), Dir: filepath.Join(l.Dir, name), lab: l}
		l.Hosts = append(l.Hosts, h)
		if err := h.install(ca); err != nil {
			return err
		}
		if err := h.Boot(ctx); err != nil {
			return err
		}
	}
	return makeSSHHome(l.Dir, l.Hosts)
}

// Host returns the i-th host, counted from 1.
func (l *Lab) Host(i int) *Host { return l.Hosts[i-1] }

// Home is a home directory whose .ssh holds a key the lab's hosts accept, a
// known_hosts with their keys, and a config with the aliases hv1, hv2, ...
func (l *Lab) Home() string { return filepath.Join(l.Dir, "home") }

// PKI is the directory of the client's TLS certificates, as the URI parameter
// pkipath takes it.
func (l *Lab) PKI() string { return filepath.Join(l.Dir, "pki") }

// Close ends every host and removes what Up made.
func (l *Lab) Close() error {
	var errs []error
	for _, h := range l.Hosts {
		errs = append(errs, h.Kill())
	}
	if l.net != nil {
		errs = append(errs, l.net.unplug())
	}
	if l.removes {
		errs = append(errs, os.RemoveAll(l.Dir))
	}
	return errors.Join(errs...)
}

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// tools are the programs the lab runs, by the Debian package that has them.
var tools = []struct{ name, pkg string }{
	{"libvirtd", "libvirt-daemon-system"},
	{"virsh", "libvirt-clients"},
	{"qemu-system-x86_64", "qemu-system-x86"},
	{"qemu-img", "qemu-utils"},
	{"nbdcopy", "libnbd-bin"},
	{"busybox", "busybox-static"},
	{"qemu-ga", "qemu-guest-agent"},
	{"sshd", "openssh-server"},
	{"ip", "iproute2"},
	{"iptables", "iptables"},
	{"cpio", "cpio"},
	{"modprobe", "kmod"},
	{"dnsmasq", "dnsmasq-base"},
	{"mke2fs", "e2fsprogs"},
	{"unshare", "util-linux"},
	{"nsenter", "util-linux"},
}

// Missing says what this machine or user lacks to run a lab, or nil.
func Missing() error {
	if os.Geteuid() != 0 {
		return errors.New("the lab needs root")
	}
	var lack []string
	for _, t := range tools {
		if _, err := lookPath(t.name); err != nil {
			lack = append(lack, t.pkg)
		}
	}
	if k, _ := filepath.Glob("/boot/vmlinuz-*cloud*"); len(k) == 0 {
		lack = append(lack, "linux-image-cloud-amd64")
	}
	if len(lack) > 0 {
		return fmt.Errorf("the lab needs the packages %s (backend/backendtest/lab/scripts/install gets them)", strings.Join(lack, " "))
	}
	return nil
}

// lookPath finds a program also in the sbin directories, which are not on
// everybody's PATH.
func lookPath(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	for _, d := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if p, err := exec.LookPath(filepath.Join(d, name)); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

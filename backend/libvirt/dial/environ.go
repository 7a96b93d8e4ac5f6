package dial

import (
	"os"
	"os/exec"
	"os/user"
	"strings"
)

// environ is everything outside a URI that decides where it leads. Tests make
// their own, so that none of them depends on whose machine it runs on.
type environ struct {
	home      string
	user      string // login name
	uid       int
	hostname  string
	getenv    func(string) string
	runDirs   []string // where system daemons keep their sockets, in order
	pki       string   // "/etc/pki"
	sshDir    string   // "/etc/ssh": the system's configuration and known hosts
	remoteRun string   // where a remote host's system daemons keep their sockets
	// look finds a program, or returns "".
	look func(name string) string
}

// systemEnviron is the environment berth runs in.
func systemEnviron() *environ {
	e := &environ{
		uid:       os.Geteuid(),
		getenv:    os.Getenv,
		runDirs:   runDirs(),
		pki:       "/etc/pki",
		sshDir:    "/etc/ssh",
		remoteRun: "/var/run/libvirt",
		look:      lookProgram,
	}
	e.home = os.Getenv("HOME")
	if u, err := user.Current(); err == nil {
		e.user = u.Username
		if e.home == "" {
			e.home = u.HomeDir
		}
	}
	if e.user == "" {
		e.user = os.Getenv("USER")
	}
	if h, err := os.Hostname(); err == nil {
		e.hostname = h
	}
	return e
}

// runDirs lists /run/libvirt and, where it is another directory,
// /var/run/libvirt: libvirt is built with either.
func runDirs() []string {
	dirs := []string{"/run/libvirt"}
	run, err1 := os.Stat("/run")
	old, err2 := os.Stat("/var/run")
	if err1 != nil || (err2 == nil && !os.SameFile(run, old)) {
		dirs = append(dirs, "/var/run/libvirt")
	}
	return dirs
}

// lookProgram finds a daemon, also in the sbin directories that an ordinary
// user's PATH lacks.
func lookProgram(name string) string {
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	for _, dir := range []string{"/usr/sbin/", "/usr/local/sbin/", "/sbin/"} {
		if p, err := exec.LookPath(dir + name); err == nil {
			return p
		}
	}
	return ""
}

// tilde expands a leading "~/".
func (e *environ) tilde(path string) string {
	if path == "~" {
		return e.home
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return e.home + "/" + rest
	}
	return path
}

// Command lab gives people and scripts the test lab of package lab.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"berth/backend/backendtest/lab"
)

const usage = `usage: lab [-dir DIR] COMMAND
  up N                   start N hosts, hv1 to hvN; they run until down
  down                   end all of them and delete their files
  uri I TRANSPORT        print host I's URI: unix unix-ro tcp tls ssh test
  in I CMD...            run a command on host I, where qemu:///system is its libvirt
  guest I [FLAGS] NAME   define and start a guest (-h tells the flags)
  crowd I [FLAGS] NAME   many guests, NAME-001 ...: -n defined, -running of them started
  stop I NAME | cont I NAME           freeze a guest's QEMU, let it go on
  kill I | boot I | cut I | join I    power and network cable of host I
  cgroups I              give host I CPU shares and I/O weights; restarts its libvirtd
  restart I              restart host I's libvirtd`

func main() {
	dir := flag.String("dir", "/tmp/berth-lab", "the lab's directory")
	flag.Usage = func() { fmt.Fprintln(os.Stderr, usage) }
	flag.Parse()
	err := command(*dir, flag.Args())
	var exit *exec.ExitError
	switch {
	case errors.Is(err, flag.ErrHelp):
		flag.Usage()
		os.Exit(2)
	case errors.As(err, &exit):
		os.Exit(max(exit.ExitCode(), 1))
	case err != nil:
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func command(dir string, args []string) error {
	if len(args) == 0 {
		return flag.ErrHelp
	}
	name, args := args[0], args[1:]
	switch name {
	case "up":
		return up(dir, args)
	case "serve":
		return serve(dir, args)
	}
	l, err := lab.Attach(dir)
	if err != nil {
		return err
	}
	if name == "down" {
		return errors.Join(l.Ask("down", 0), os.RemoveAll(dir))
	}
	if len(args) == 0 {
		return flag.ErrHelp
	}
	i, err := strconv.Atoi(args[0])
	if err != nil || i < 1 || i > len(l.Hosts) {
		return fmt.Errorf("no host %q; there are %d", args[0], len(l.Hosts))
	}
	return onHost(l, i, name, args[1:])
}

// onHost carries out a command that concerns one host.
func onHost(l *lab.Lab, i int, name string, args []string) error {
	ctx, h := context.Background(), l.Host(i)
	switch name {
	case "uri":
		if len(args) != 1 {
			return flag.ErrHelp
		}
		fmt.Println(h.URI(args[0]))
		return nil
	case "in":
		c := h.Command(args...)
		path, err := exec.LookPath(c[0])
		if err != nil {
			return err
		}
		return syscall.Exec(path, c, os.Environ())
	case "guest", "crowd":
		return guests(ctx, h, name, args)
	case "stop", "cont":
		if len(args) != 1 {
			return flag.ErrHelp
		}
		return h.Signal(ctx, args[0], map[string]syscall.Signal{"stop": syscall.SIGSTOP, "cont": syscall.SIGCONT}[name])
	case "kill", "boot", "cut", "join", "cgroups":
		return l.Ask(name, i)
	case "restart":
		return h.RestartLibvirtd(ctx)
	}
	return flag.ErrHelp
}

func guests(ctx context.Context, h *lab.Host, name string, args []string) error {
	var g lab.Guest
	f := flag.NewFlagSet(name, flag.ExitOnError)
	f.BoolVar(&g.OS, "os", name == "guest", "boot the lab's Linux (root, password berth)")
	f.BoolVar(&g.NIC, "nic", false, "a network card on the lab's network")
	f.BoolVar(&g.VGA, "vga", false, "a display")
	f.BoolVar(&g.NoAgent, "no-agent", false, "no guest agent channel")
	f.IntVar(&g.DiskMiB, "disk", 0, "MiB of an ext4 disk")
	f.IntVar(&g.MiB, "mem", 0, "MiB of memory")
	f.IntVar(&g.VCPUs, "vcpus", 1, "virtual CPUs")
	f.StringVar(&g.Title, "title", "", "title")
	f.StringVar(&g.Words, "words", "", "kernel command line: hog writer deaf hostile hostname=NAME")
	n := f.Int("n", 10, "crowd: how many to define")
	running := f.Int("running", 0, "crowd: how many of them to start")
	if err := f.Parse(args); err != nil {
		return err
	}
	if g.Name = f.Arg(0); g.Name == "" {
		return flag.ErrHelp
	}
	if name == "crowd" {
		return h.Crowd(ctx, g, *n, *running)
	}
	uuid, err := h.StartGuest(ctx, g)
	if err == nil {
		fmt.Println(uuid)
	}
	return err
}

// up leaves a process behind that serves the lab, and returns when that is ready.
func up(dir string, args []string) error {
	if _, err := lab.Attach(dir); err == nil {
		return fmt.Errorf("a lab is up in %s already", dir)
	}
	if len(args) != 1 {
		return flag.ErrHelp
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "lab.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	server := exec.Command(self, "-dir", dir, "serve", args[0])
	server.Stdout, server.Stderr = log, log
	server.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := server.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	for {
		select {
		case <-ended:
			text, _ := os.ReadFile(log.Name())
			return errors.Join(fmt.Errorf("the lab did not come up: %s", text), os.RemoveAll(dir))
		case <-time.After(50 * time.Millisecond):
			if _, err := lab.Attach(dir); err == nil {
				return nil
			}
		}
	}
}

func serve(dir string, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 {
		return fmt.Errorf("how many hosts? not %q", args[0])
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	l, err := lab.Up(ctx, dir, n)
	if err != nil {
		return err
	}
	return l.Serve(ctx)
}

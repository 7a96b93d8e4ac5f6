package script

import (
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/backend/backendtest/lab"
)

// host is the script's own lab host, or the one that all scripts share, each
// with guests of names of its own.
func host(ts *testscript.TestScript) *lab.Host {
	if own := of(ts).own; own != nil {
		return own.Host(1)
	}
	h, err := lab.SharedHost()
	ts.Check(err)
	return h
}

func cmdHypervisor(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	switch strings.Join(args, "") {
	case "-own":
		l, err := lab.Up(ctx, "", 1)
		ts.Check(err)
		of(ts).own = l
	case "crash":
		ts.Check(host(ts).KillLibvirtd(ctx, "KILL"))
		return
	case "start":
		ts.Check(host(ts).StartLibvirtd(ctx))
		return
	case "keys":
		ts.Check(os.Symlink(filepath.Join(host(ts).Home(), ".ssh"), filepath.Join(ts.Getenv("HOME"), ".ssh")))
		return
	}
	for name, transport := range map[string]string{"URI": "unix", "URI_RO": "unix-ro", "URI_TEST": "test", "URI_TCP": "tcp", "URI_TLS": "tls", "URI_SSH": "ssh"} {
		ts.Setenv(name, host(ts).URI(transport))
	}
}

func cmdGuest(ts *testscript.TestScript, _ bool, args []string) {
	var g lab.Guest
	f := flag.NewFlagSet("guest", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	off, words := f.Bool("off", false, ""), map[string]*bool{}
	f.BoolVar(&g.OS, "os", false, "")
	f.BoolVar(&g.NIC, "nic", false, "")
	f.BoolVar(&g.VGA, "vga", false, "")
	f.IntVar(&g.DiskMiB, "disk", 0, "")
	f.StringVar(&g.Title, "title", "", "")
	f.StringVar(&g.Description, "description", "", "")
	for _, w := range []string{"hog", "writer", "deaf", "hostile"} {
		words[w] = f.Bool(w, false, "")
	}
	ts.Check(f.Parse(args))
	for w, on := range words {
		if *on {
			g.Words += w + " "
		}
	}
	g.Name = f.Arg(0)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	h := host(ts)
	start := h.StartGuest
	if *off {
		start = h.Define
	}
	uuid, err := start(ctx, g)
	ts.Defer(func() { ts.Check(h.Forget(context.Background(), uuid)) })
	ts.Check(err)
	ts.Setenv("UUID_"+strings.ReplaceAll(g.Name, "-", "_"), uuid)
}

func cmdVirsh(ts *testscript.TestScript, neg bool, args []string) {
	cmdOnHost(ts, neg, append([]string{"virsh", "-q", "-c", "qemu:///system"}, args...))
}

func cmdOnHost(ts *testscript.TestScript, neg bool, args []string) {
	c := host(ts).Command(args...)
	if err := ts.Exec(c[0], c[1:]...); (err != nil) != neg {
		ts.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
}

func cmdState(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	var got string
	is := func() bool {
		got, _ = host(ts).Virsh(ctx, "domstate", args[0])
		got = strings.TrimSpace(got)
		return got == args[1]
	}
	if lab.Await(ctx, is) != nil {
		ts.Fatalf("%s is %s, not %s", args[0], got, args[1])
	}
}

func signal(ts *testscript.TestScript, name string, s syscall.Signal) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	ts.Check(host(ts).Signal(ctx, name, s))
}

// Command bench measures berth beside virsh on one libvirt host of the lab:
// what a person waits for, and what the console costs the machine it watches.
// It prints a table for the README. It needs root and about eight minutes.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"berth/backend/backendtest/lab"
)

func main() {
	berth := flag.String("berth", "./berth", "the program to measure")
	idle := flag.Duration("idle", time.Minute, "how long to watch an idle console")
	only := flag.String("only", "", "only `demo` or only `lab`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	path, err := filepath.Abs(*berth)
	if err == nil {
		b := &bench{berth: path, idle: *idle}
		err = b.run(ctx, *only)
		b.print(os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run: what is measured, and the rows found so far.
type bench struct {
	berth string
	state string // directory for what berth keeps
	idle  time.Duration
	host  *lab.Host
	rows  []row
}

func (b *bench) run(ctx context.Context, only string) (err error) {
	if b.state, err = os.MkdirTemp("", "berth-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.state)
	if err := b.binary(ctx); err != nil {
		return err
	}
	if only != "lab" {
		if err := b.demo(ctx); err != nil {
			return err
		}
	}
	if only == "demo" {
		return nil
	}
	return b.lab(ctx)
}

// lab measures at three sizes of one host.
func (b *bench) lab(ctx context.Context) (err error) {
	l, err := lab.Up(ctx, "", 1)
	if err != nil {
		return err
	}
	defer func() {
		if e := l.Close(); err == nil {
			err = e
		}
	}()
	b.host = l.Host(1)
	for _, size := range []struct {
		title            string
		defined, running int
		start            float64 // ms
		cpu              [3]float64
		rss              float64
	}{
		{"10 running", 10, 10, 120, [3]float64{}, 0},
		{"100 running", 90, 90, 120, [3]float64{2, 5, 9}, 40},
		{"1000 domains, 100 running", 900, 0, 200, [3]float64{3, 6, 9}, 50},
	} {
		progress("making guests: %s", size.title)
		crowd := lab.Guest{Name: fmt.Sprintf("vm%d", size.defined), NIC: true}
		if err := b.host.Crowd(ctx, crowd, size.defined, size.running); err != nil {
			return err
		}
		if err := b.settle(ctx); err != nil {
			return err
		}
		if err := b.firstList(ctx, size.title, size.start); err != nil {
			return err
		}
		if size.rss == 0 {
			continue
		}
		if err := b.watch(ctx, size.title, size.cpu, size.rss); err != nil {
			return err
		}
	}
	return nil
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

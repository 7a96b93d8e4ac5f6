// Command benchbackup measures berth's backups and image copies beside the
// tools that people use now, over the same 4 GiB image with 1.35 GiB of mixed
// data. The sides take turns, so that what else the machine does hits all of
// them; it prints medians and ratios as a table for the README. It needs root,
// the lab's programs, restic and virtnbdbackup, and about fifteen minutes.
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
)

func main() {
	berth := flag.String("berth", "./berth", "the program to measure")
	rounds := flag.Int("rounds", 5, "how often each side has its turn")
	dir := flag.String("dir", "", "where images and repositories go; empty: a temporary folder")
	only := flag.String("only", "", "only contests whose name begins with this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	if err := run(ctx, *berth, *dir, *only, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "benchbackup:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, berth, dir, only string, rounds int) (err error) {
	path, err := filepath.Abs(berth)
	if err != nil {
		return err
	}
	s, err := setUp(ctx, path, dir)
	if err != nil {
		return err
	}
	defer func() {
		if e := s.close(); err == nil {
			err = e
		}
	}()
	t := &table{}
	for _, c := range s.contests() {
		if len(only) > len(c.name) || c.name[:len(only)] != only {
			continue
		}
		if err := c.hold(ctx, rounds, t); err != nil {
			t.print(os.Stdout)
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	t.print(os.Stdout)
	return nil
}

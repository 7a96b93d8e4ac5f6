package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// state is what a lab tells other processes about itself, in state.json.
type state struct {
	Image string
	Hosts []*Host
}

func (l *Lab) stateFile() string { return filepath.Join(l.Dir, "state.json") }
func (l *Lab) socket() string    { return filepath.Join(l.Dir, "lab.sock") }

func (l *Lab) saveState() error {
	b, err := json.MarshalIndent(state{l.Image, l.Hosts}, "", "  ")
	if err != nil {
		return err
	}
	tmp := l.stateFile() + ".new"
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, l.stateFile())
}

// Attach finds the lab that another process serves in dir. Its hosts can be
// used in every way but Boot, Kill and Cable, for which there is Ask.
func Attach(dir string) (*Lab, error) {
	l := &Lab{Dir: dir}
	b, err := os.ReadFile(l.stateFile())
	if err != nil {
		return nil, fmt.Errorf("no lab in %s: %w", dir, err)
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, err
	}
	l.Image, l.Hosts = s.Image, s.Hosts
	for _, h := range l.Hosts {
		h.lab = l
	}
	return l, nil
}

// Ask has the process that serves the lab kill, boot, cut (pull the cable of),
// join (plug in again) or give cgroups to host i, or end the whole lab: down.
func (l *Lab) Ask(what string, i int) error {
	c, err := net.Dial("unix", l.socket())
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := fmt.Fprintln(c, what, i); err != nil {
		return err
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	if answer = strings.TrimSpace(answer); err == nil && answer != "ok" {
		return errors.New(answer)
	}
	return err
}

// Serve answers Ask until somebody asks for down or ctx ends, and closes the lab.
func (l *Lab) Serve(ctx context.Context) error {
	ln, err := net.Listen("unix", l.socket())
	if err != nil {
		return errors.Join(err, l.Close())
	}
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	if err := l.saveState(); err != nil {
		return errors.Join(err, l.Close())
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			return l.Close()
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if strings.HasPrefix(line, "down") {
			err := l.Close()
			answer(c, err)
			return err
		}
		if err == nil {
			err = errors.Join(l.obey(ctx, line), l.saveState())
		}
		answer(c, err)
	}
}

func answer(c net.Conn, err error) {
	text := "ok"
	if err != nil {
		text = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	fmt.Fprintln(c, text) //nolint:errcheck // whoever asked may have left
	c.Close()
}

func (l *Lab) obey(ctx context.Context, line string) error {
	what, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
	i, err := strconv.Atoi(arg)
	if err != nil || i < 1 || i > len(l.Hosts) {
		return fmt.Errorf("no host %q", arg)
	}
	h := l.Host(i)
	switch what {
	case "kill":
		return h.Kill()
	case "boot":
		return h.Boot(ctx)
	case "cut":
		return h.Cable(ctx, false)
	case "join":
		return h.Cable(ctx, true)
	case "cgroups":
		return h.Cgroups(ctx)
	}
	return fmt.Errorf("nothing is called %q", what)
}

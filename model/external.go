package model

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/aymanbagabas/go-osc52/v2"
	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// resultMsg brings what a command found back into Update.
type resultMsg struct{ apply func(*App) tea.Cmd }

func (a *App) onResult(m resultMsg) tea.Cmd { return m.apply(a) }

// result makes the message for a command that ends with apply.
func result(apply func(*App) tea.Cmd) tea.Msg { return resultMsg{apply} }

func (a *App) consoleDisabled() string {
	r := a.one()
	if r == nil {
		return "no VM is selected"
	}
	if err := a.hostRefuses(r); err != nil {
		return err.Error()
	}
	if _, ok := a.consoleHost(r); !ok {
		return "this host cannot open consoles"
	}
	if !r.State.Active() {
		return fmt.Sprintf("%s is %s", r.Name, r.State)
	}
	return ""
}

func (a *App) console() tea.Cmd { return a.openConsole(a.one().Key(), false) }

func (a *App) openConsole(k backend.Key, force bool) tea.Cmd {
	r := a.Fleet.Row(k)
	if r == nil {
		return a.Warn("the VM is gone")
	}
	host, _ := a.consoleHost(r)
	name := r.Name
	session := &consoleSession{ctx: a.ctx, host: host, uuid: k.UUID, name: name, on: k.Host, force: force,
		record: a.recorder(k, name, "console", map[bool]string{true: "taken over by force"}[force])}
	return a.term.Exec(session, func(err error) tea.Msg {
		left := session.left
		return result(func(a *App) tea.Cmd { return a.consoleEnded(k, name, left, err) })
	})
}

func (a *App) consoleEnded(k backend.Key, name string, left bool, err error) tea.Cmd {
	switch {
	case err == nil && !left:
		return tea.Batch(a.Warn("the console of "+name+" was closed at its other end"), a.Fleet.PollHost(k.Host))
	case err == nil:
		return tea.Batch(a.Info("left the console of "+name), a.Fleet.PollHost(k.Host))
	case errors.Is(err, backend.ErrBusy):
		a.Push(newConfirm(Confirm{Title: "Take over the console of " + name + "?", Yes: "Take over", Danger: true,
			Body:  []string{"Somebody else has it open; their session would end."},
			OnYes: func(a *App, _ *Confirm) tea.Cmd { return a.openConsole(k, true) }}))
		return nil
	}
	return a.Bad(err.Error())
}

func (a *App) sshDisabled() string {
	r := a.one()
	switch {
	case r == nil:
		return "no VM is selected"
	case a.demoHosts[r.Host]:
		return "the demo's guests have no network"
	case !r.State.Active():
		return fmt.Sprintf("%s is %s", r.Name, r.State)
	case guestAddress(r) == "":
		return r.Name + " has no address that is known"
	}
	return ""
}

// guestAddress is the first of the guest's addresses that is one. What a guest
// says is its address never reaches a command line otherwise.
func guestAddress(r *Row) string {
	for _, s := range r.Addresses {
		if ip, err := netip.ParseAddr(s); err == nil && !ip.IsLinkLocalUnicast() && !ip.IsLoopback() {
			return ip.String()
		}
	}
	return ""
}

func (a *App) ssh() tea.Cmd {
	r := a.one()
	name, addr := r.Name, guestAddress(r)
	cmd := exec.CommandContext(a.ctx, "ssh", sshArgs(a.Fleet.HostState(r.Host).Host.URI(), a.opt.SSHUser, addr)...)
	return a.term.Exec(execCommand{cmd}, func(err error) tea.Msg {
		return result(func(a *App) tea.Cmd {
			if err != nil {
				return a.Warn(fmt.Sprintf("ssh to %s (%s): %v", name, addr, err))
			}
			return a.Info("left ssh to " + name)
		})
	})
}

// sshArgs goes through the host when the host itself is reached by ssh: its
// guests' networks are often behind it.
func sshArgs(hostURI, user, addr string) []string {
	var args []string
	if u, err := url.Parse(hostURI); err == nil && strings.HasSuffix(u.Scheme, "+ssh") {
		jump := u.Host
		if u.User != nil {
			jump = u.User.Username() + "@" + jump
		}
		args = append(args, "-J", jump)
	}
	if user != "" {
		args = append(args, "-l", user)
	}
	return append(args, "--", addr)
}

// execCommand lets an exec.Cmd run under Terminal.Exec.
type execCommand struct{ *exec.Cmd }

func (c execCommand) SetStdin(r io.Reader) { c.Stdin = r }

func (c execCommand) SetStdout(w io.Writer) { c.Stdout = w }

func (c execCommand) SetStderr(w io.Writer) { c.Stderr = w }

func (a *App) screenshotDisabled() string {
	r := a.one()
	if r == nil {
		return "no VM is selected"
	}
	s := a.Fleet.HostState(r.Host)
	if s == nil {
		return "its host is gone"
	}
	if _, ok := s.Host.(backend.Screenshotter); !ok {
		return "this host cannot take pictures"
	}
	if !r.State.Active() {
		return fmt.Sprintf("%s is %s", r.Name, r.State)
	}
	return ""
}

func (a *App) screenshot() tea.Cmd {
	r := a.one()
	k, name := r.Key(), r.Name
	shooter := a.Fleet.HostState(k.Host).Host.(backend.Screenshotter)
	dir, now, parent := a.opt.PicDir, a.clock.Now(), a.ctx
	return tea.Batch(a.Info("taking a picture of "+name), func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, 20*time.Second)
		defer cancel()
		path, err := savePicture(ctx, shooter, k.UUID, dir, name, now)
		return result(func(a *App) tea.Cmd {
			if err != nil {
				return a.Bad(fmt.Sprintf("screenshot of %s: %v", name, err))
			}
			return a.OK("saved " + path)
		})
	})
}

// copyText puts text on the person's clipboard, through ssh and tmux too,
// where the terminal allows it.
func (a *App) copyText(label, text string) tea.Cmd {
	a.term.Write(osc52.New(backend.Clean(text)).String())
	return a.Info("copied the " + label + ", if your terminal allows OSC 52")
}

// copyXML copies a VM's stored definition.
func (a *App) copyXML(k backend.Key) tea.Cmd {
	s := a.Fleet.HostState(k.Host)
	if s == nil {
		return a.Warn("its host is gone")
	}
	host, parent := s.Host, a.ctx
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, detailDeadline)
		defer cancel()
		x, err := host.XML(ctx, k.UUID, true)
		return result(func(a *App) tea.Cmd {
			if err != nil {
				return a.Bad(err.Error())
			}
			a.term.Write(osc52.New(backend.CleanXML(x)).String())
			return a.Info("copied the XML, if your terminal allows OSC 52 of that length")
		})
	}
}

func (a *App) toggleMouse() tea.Cmd {
	a.Mouse = !a.Mouse
	a.term.SetMouse(a.Mouse)
	if a.Mouse {
		return a.Info("berth has the mouse: click, header, wheel")
	}
	return a.Info("the terminal has the mouse: select text as usual")
}

// Settings are what :save keeps, as they are now.
func (a *App) Settings() Settings {
	return Settings{Theme: a.Theme, Columns: a.VMs.Columns, SortBy: a.VMs.SortBy, Desc: a.VMs.Desc,
		Filter: a.VMs.filter.String(), Mouse: a.Mouse, Refresh: a.Fleet.refresh}
}

func (a *App) save() tea.Cmd {
	if a.opt.Save == nil {
		return a.Warn("there is nowhere to keep settings")
	}
	keep, s := a.opt.Save, a.Settings()
	return func() tea.Msg {
		path, err := keep(s)
		return result(func(a *App) tea.Cmd {
			if err != nil {
				return a.Bad(fmt.Sprintf("settings not kept: %v", err))
			}
			return a.OK("kept in " + path)
		})
	}
}

// background stops berth as ^Z stops any program; the shell's fg lets it go on.
func (a *App) background() tea.Cmd {
	return a.term.Exec(stopSelf{}, func(err error) tea.Msg {
		return result(func(a *App) tea.Cmd {
			if err != nil {
				return a.Warn(fmt.Sprintf("berth could not be stopped: %v", err))
			}
			return a.Fleet.PollNow()
		})
	})
}

// stopSelf is a command that stops berth's whole process group, as the
// terminal itself would have done in another mode.
type stopSelf struct{}

// Run returns when the shell has let berth go on. The stop itself may come a
// moment after kill returns, so the continuation is waited for; not for long,
// because in an orphaned process group the stop is ignored.
func (stopSelf) Run() error {
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGCONT)
	defer signal.Stop(again)
	if err := syscall.Kill(0, syscall.SIGTSTP); err != nil {
		return err
	}
	select {
	case <-again:
	case <-time.After(time.Second):
	}
	return nil
}

func (stopSelf) SetStdin(io.Reader) {}

func (stopSelf) SetStdout(io.Writer) {}

func (stopSelf) SetStderr(io.Writer) {}

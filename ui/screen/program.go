package screen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/term"
)

// Run runs a Bubble Tea program on the screen: it takes the terminal over,
// reports sizes, and gives the terminal back whatever happens. If Options.In
// is no terminal, keys are read from /dev/tty. The model hands its frames to
// Show; what its View returns is not looked at.
//
// It returns when the model quits, ctx ends, SIGINT arrives, or the terminal
// goes away; only the last is an error.
func (s *Screen) Run(ctx context.Context, model tea.Model, opts ...tea.ProgramOption) (tea.Model, error) {
	closeInput, err := s.openInput()
	if err != nil {
		return model, err
	}
	defer closeInput()
	if err := s.Start(); err != nil {
		return model, err
	}
	defer s.Stop()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Bubble Tea's own signal handler would send a message to a loop that has
	// ended already and wait for ever; its context ends the loop without waiting
	// for the goroutine that reads keys. So both are left out, and whatever ends
	// the program asks it to quit.
	opts = append([]tea.ProgramOption{tea.WithoutSignalHandler(), tea.WithoutRenderer(), tea.WithOutput(s.tty.out), tea.WithInput(s.tty.in)}, opts...)
	p := tea.NewProgram(guard{model, s}, opts...)
	go s.interrupts(ctx, cancel)
	go s.WatchSize(ctx, func(w, h int) { p.Send(tea.WindowSizeMsg{Width: w, Height: h}) })
	ended := make(chan struct{})
	asked := make(chan struct{})
	go func() { defer close(asked); s.quitWhen(ctx, p, ended) }()
	final, err := p.Run()
	close(ended)
	<-asked
	if g, ok := final.(guard); ok {
		final = g.model
	}
	if lost := s.Err(); lost != nil {
		return final, fmt.Errorf("the terminal went away: %w", lost)
	}
	if ctx.Err() != nil && !errors.Is(err, tea.ErrProgramPanic) {
		err = nil // a signal ended it, which is no failure of the program's
	}
	return final, err
}

// quitPatience is how long a program that was asked to quit may take.
const quitPatience = 3 * time.Second

// quitWhen asks the program to quit when ctx ends or the terminal goes away,
// and ends it when it does not.
func (s *Screen) quitWhen(ctx context.Context, p *tea.Program, ended <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-s.lost:
	case <-ended:
		return
	}
	go p.Quit() // waits for the loop, which another program may be holding up
	t := time.NewTimer(quitPatience)
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C:
		p.Kill()
	}
}

// interrupts ends the program on SIGINT, unless another program has the
// terminal: then a ^C was meant for that one, and reached berth only because
// both are in the same process group.
func (s *Screen) interrupts(ctx context.Context, end func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt)
	defer signal.Stop(c)
	for {
		select {
		case <-ctx.Done():
			return
		case <-c:
			if !s.suspended() {
				end()
			}
		}
	}
}

// suspended reports whether another program has the terminal.
func (s *Screen) suspended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.suspends > 0
}

// openInput finds a terminal to read keys from.
func (s *Screen) openInput() (closer func(), err error) {
	if s.tty.in != nil && term.IsTerminal(s.tty.in.Fd()) {
		return func() {}, nil
	}
	f, err := os.Open("/dev/tty")
	if err != nil {
		return nil, fmt.Errorf("no terminal to read keys from: %w; start berth on a terminal, or use berth vm list", err)
	}
	s.tty.in = f
	return func() { _ = f.Close() }, nil
}

// Exec is tea.Exec on this screen: c has the terminal to itself, with its
// normal modes, and everything is drawn anew after it.
func (s *Screen) Exec(c tea.ExecCommand, fn tea.ExecCallback) tea.Cmd {
	return tea.Exec(&aside{ExecCommand: c, screen: s}, fn)
}

// ExecProcess is tea.ExecProcess on this screen.
func (s *Screen) ExecProcess(c *exec.Cmd, fn tea.ExecCallback) tea.Cmd {
	return s.Exec(&process{c}, fn)
}

// aside runs a command while the screen is suspended.
type aside struct {
	tea.ExecCommand
	screen *Screen
}

// Run suspends the screen around the command, and resumes it even when the
// command panics.
func (c *aside) Run() error {
	c.screen.Suspend()
	defer c.screen.Resume()
	return c.ExecCommand.Run()
}

// process is an exec.Cmd whose unset files are the terminal's.
type process struct{ *exec.Cmd }

// SetStdin sets the input if the command has none.
func (p *process) SetStdin(r io.Reader) {
	if p.Stdin == nil {
		p.Stdin = r
	}
}

// SetStdout sets the output if the command has none.
func (p *process) SetStdout(w io.Writer) {
	if p.Stdout == nil {
		p.Stdout = w
	}
}

// SetStderr sets the error output if the command has none.
func (p *process) SetStderr(w io.Writer) {
	if p.Stderr == nil {
		p.Stderr = w
	}
}

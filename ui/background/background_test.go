package background

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/creack/pty"
)

// The program of a person who runs "berth --version" on a pseudo-terminal
// where nobody answers queries.
const program = `package main

import (
	"fmt"

	_ "berth/ui/background"

	tea "github.com/charmbracelet/bubbletea"
)

func main() { _ = tea.Quit; fmt.Println("version 1") }
`

// build compiles the program inside the module, where the import paths are
// what they will be.
func build(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Fatal("needs the go command: ", err)
	}
	dir, err := os.MkdirTemp(".", "_probe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "probe")
	cmd := exec.Command("go", "build", "-o", bin, "./"+dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// onPTY runs a program on a pseudo-terminal that answers nothing.
func onPTY(t *testing.T, bin string) (output []byte, took time.Duration) {
	t.Helper()
	cmd := exec.Command(bin)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "CI=", "COLORTERM=truecolor")
	start := time.Now()
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	output, _ = io.ReadAll(tty) // ends with EIO when the program does
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return output, time.Since(start)
}

func TestTerminalIsNotQueried(t *testing.T) {
	output, took := onPTY(t, build(t))
	if !bytes.Contains(output, []byte("version 1")) {
		t.Fatalf("the program printed %q", output)
	}
	if bytes.ContainsRune(output, 0x1b) {
		t.Errorf("the terminal was asked: %q", output)
	}
	// Waiting for an answer takes 5 s.
	if took > 3*time.Second {
		t.Errorf("took %v", took)
	}
}

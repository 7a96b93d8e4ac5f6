package demo

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A process that is killed leaves its folder; the next one removes it, and not
// those of processes that live.
func TestFoldersOfTheDeadAreRemoved(t *testing.T) {
	dir := t.TempDir()
	if os.Getenv("BERTH_DEMO_CHILD") != "" {
		t.Skip("only in the parent")
	}
	live, dead := startChild(t, dir), startChild(t, dir)
	if !exists(live.folder) || !exists(dead.folder) {
		t.Fatal("a process without a folder")
	}
	if err := dead.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = dead.cmd.Wait() // killed
	f, _ := ownFleet(t, Options{Seed: 1, Dir: dir})
	own, err := f.folder()
	if err != nil {
		t.Fatal(err)
	}
	if exists(dead.folder) {
		t.Error("what the dead process left is still there")
	}
	if !exists(live.folder) || !exists(own) {
		t.Error("the folder of a living process was removed")
	}
}

func TestFoldersWithoutALockGoWhenTheyAreOld(t *testing.T) {
	dir := t.TempDir()
	young, old, other := filepath.Join(dir, dirPrefix+"1-young"), filepath.Join(dir, dirPrefix+"2-old"), filepath.Join(dir, "other")
	past := time.Now().Add(-time.Hour)
	for _, name := range []string{young, old, other} {
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{old, other} {
		if err := os.Chtimes(name, past, past); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(other, filepath.Join(dir, dirPrefix+"link")); err != nil {
		t.Fatal(err)
	}
	sweep(dir)
	if exists(old) || !exists(young) || !exists(other) {
		t.Errorf("old %v, young %v, another's %v", exists(old), exists(young), exists(other))
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

type process struct {
	cmd    *exec.Cmd
	folder string
}

// startChild starts a process with a fleet of its own, which stays until it is killed.
func startChild(t *testing.T, dir string) process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChildWithAFleet$", "-test.v")
	cmd.Env = append(os.Environ(), "BERTH_DEMO_CHILD="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // it may be dead
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if folder, ok := strings.CutPrefix(lines.Text(), "folder "); ok {
			return process{cmd, folder}
		}
	}
	t.Fatal("the child has no folder")
	return process{}
}

// TestChildWithAFleet is what startChild runs.
func TestChildWithAFleet(t *testing.T) {
	dir := os.Getenv("BERTH_DEMO_CHILD")
	if dir == "" {
		t.Skip("only as a child")
	}
	f, _ := newFleet(t, Options{Seed: 1, Dir: dir})
	folder, err := f.folder()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("\nfolder " + folder)
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the parent goes
}

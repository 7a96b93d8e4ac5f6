package repo

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"berth/backend/image/place"
)

// killDir is set for the process that TestKilledAtAnyMoment kills.
const killDir = "BERTH_TEST_KILL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		if err := writeForEver(dir, os.Getenv(killDir+"_RUN")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if dir := os.Getenv(scaleDir); dir != "" {
		if err := scaleWork(dir, os.Getenv(scaleDir+"_DO")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// killPlan is the nth backup of a run.
func killPlan(run string, n int) plan {
	seed := uint64(n + 7*len(run))
	for _, c := range run {
		seed = seed*31 + uint64(c)
	}
	a := newMem(3<<20 + 100)
	a.random(seed, 0, 30<<10)
	a.random(seed+1, 2<<20, 9000)
	b := newMem(8 << 10)
	b.random(5, 0, 8<<10) // the same in all
	return plan{vm: 9, at: started.Add(time.Duration(seed%100_000_000) * time.Second), disks: map[string]*mem{"vda": a, "vdb": b}}
}

// writeForEver makes backups, forgets and prunes, and says when each is done.
func writeForEver(dir, run string) error {
	p, err := place.OpenLocal(dir, false)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for n := 0; ; n++ {
		made, err := makePoint(context.Background(), p, Secret{}, killPlan(run, n))
		if err != nil {
			return err
		}
		fmt.Println("made", n, made.m.ID)
		if n%3 != 2 {
			continue
		}
		err = withRepo(context.Background(), plainScene, p, func(r *Repo) error {
			fmt.Println("forgetting", made.m.ID)
			if err := r.Forget(context.Background(), made.m.ID); err != nil {
				return err
			}
			_, err := r.Prune(context.Background(), PruneOptions{Waste: 1})
			return err
		})
		if err != nil {
			return err
		}
	}
}

var plainScene = &scene{} // for its secret, which is none

// A process that writes, forgets and prunes is killed at random moments. Each
// time all that it said was done is there, whole, and nothing else is amiss.
func TestKilledAtAnyMoment(t *testing.T) {
	dir := quickDir(t)
	p, err := place.OpenLocal(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, initRepo(t, p, InitOptions{}))
	rng := seeded(t)
	var made []madePoint
	for run := range many(200, 20) {
		name := fmt.Sprint("run", run)
		for n, id := range killed(t, dir, name, time.Duration(rng.Int64N(int64(120*time.Millisecond)))) {
			pl := killPlan(name, n)
			made = append(made, madePoint{m: Manifest{ID: id}, disks: map[string][]byte{"vda": pl.disks["vda"].data, "vdb": pl.disks["vdb"].data}})
		}
		r := openRepo(t, p, Secret{})
		for i := max(0, len(made)-4); i < len(made); i++ {
			for target := range made[i].disks {
				if err := made[i].restore(t.Context(), r, target); err != nil {
					t.Fatalf("after run %d: point %d: %v", run, i, err)
				}
			}
		}
		if run%20 == 19 {
			nothingAmiss(t, r, len(made))
		}
	}
	t.Logf("%d points were made", len(made))
	if len(made) == 0 {
		t.Error("no process came as far as one point")
	}
}

// killed runs a writer for a while, kills it, and returns the IDs of points
// that it said were made and did not begin to forget, by their numbers.
func killed(t *testing.T, dir, run string, after time.Duration) map[int]string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), killDir+"="+dir, killDir+"_RUN="+run)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	made := map[int]string{}
	lines := bufio.NewScanner(out)
	var timer *time.Timer
	for lines.Scan() {
		var n int
		var id string
		line := lines.Text()
		switch {
		case line == "ready":
			timer = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		case strings.HasPrefix(line, "made"):
			if _, err := fmt.Sscanf(line, "made %d %s", &n, &id); err == nil && len(id) == 32 {
				made[n] = id
			}
		case strings.HasPrefix(line, "forgetting"):
			for n, id := range made {
				if strings.HasSuffix(line, id) {
					delete(made, n)
				}
			}
		}
	}
	_ = cmd.Wait() // killed
	if timer == nil {
		t.Fatal("the writer did not begin")
	}
	timer.Stop()
	return made
}

// nothingAmiss verifies all, and prunes what the dead have left.
func nothingAmiss(t *testing.T, r *Repo, points int) {
	t.Helper()
	if _, err := r.Prune(t.Context(), PruneOptions{}); err != nil {
		t.Fatal(err)
	}
	rep, err := r.Verify(t.Context(), VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range rep.Damages {
		if !d.Rebuild {
			t.Fatal(d)
		}
	}
	if len(rep.Verified) < points {
		t.Fatalf("%d points are verified, %d were made", len(rep.Verified), points)
	}
}

// quickDir is a folder in memory where there is one: what SIGKILL leaves does
// not depend on the disk.
func quickDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "berth-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

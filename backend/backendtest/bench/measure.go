package main

import (
	"context"
	"debug/elf"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"time"

	"berth/backend/backendtest/tty"
)

// Every console is measured in a terminal of this size.
const width, height = 200, 50

func (b *bench) binary(ctx context.Context) error {
	stripped := b.berth + ".stripped"
	defer os.Remove(stripped)
	if err := exec.CommandContext(ctx, "strip", "-o", stripped, b.berth).Run(); err != nil {
		stripped = b.berth // no binutils: make build strips as well
	}
	info, err := os.Stat(stripped)
	if err != nil {
		return err
	}
	f, err := elf.Open(b.berth)
	if err != nil {
		return err
	}
	defer f.Close()
	what := "binary, static, stripped"
	if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 {
		what = fmt.Sprintf("binary, NOT static (%v)", libs)
	}
	b.add(what, "–", "MB", []float64{float64(info.Size()) / 1e6}, []float64{25})
	return nil
}

// console starts berth on the lab's host, or anywhere for the demo, in a
// terminal, with no configuration or state of the user's.
func (b *bench) console(onHost bool, args ...string) (*tty.Session, error) {
	argv := append([]string{b.berth}, args...)
	if onHost {
		argv = b.host.Command(argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "XDG_STATE_HOME=" + b.state}
	return tty.Start(cmd, width, height)
}

// firstList measures from exec to the first frame with a VM in it.
func (b *bench) firstList(ctx context.Context, title string, limit float64) error {
	const runs = 15
	var own, virsh []time.Duration
	for range runs {
		from := time.Now()
		s, err := b.console(true)
		if err != nil {
			return err
		}
		at, err := s.Await(within(ctx, 30*time.Second), listed)
		if err != nil {
			s.Close()
			return fmt.Errorf("first list of %s: %w; the screen is\n%s", title, err, s.Screen())
		}
		own = append(own, at.Sub(from))
		if err := quit(ctx, s); err != nil {
			return err
		}
		from = time.Now()
		if _, err := b.host.Virsh(ctx, "list", "--all"); err != nil {
			return err
		}
		virsh = append(virsh, time.Since(from))
	}
	b.add("start to first VM list, "+title, fmt.Sprintf("%.0f ms", ms(quantile(virsh, .5))), "ms", []float64{ms(quantile(own, .5))}, []float64{limit})
	return nil
}

func listed(screen string) bool {
	return strings.Contains(screen, "vm10-0") || strings.Contains(screen, "vm90-0") || strings.Contains(screen, "vm900-0")
}

// settle waits until the guests' firmware has done its work.
func (b *bench) settle(ctx context.Context) error {
	for {
		from := b.sample(0)
		if err := sleep(ctx, 4*time.Second); err != nil {
			return err
		}
		if _, _, qemu := percent(from, b.sample(0)); qemu < 12 {
			return nil
		}
	}
}

// watch measures what an idle console costs, then how fast it answers.
func (b *bench) watch(ctx context.Context, title string, cpu [3]float64, rss float64) error {
	progress("watching: %s", title)
	_, idleLibvirtd, idleQEMU, err := b.during(ctx, 0, b.idle/2)
	if err != nil {
		return err
	}
	virsh, err := b.virshEachSecond(ctx, b.idle/2)
	if err != nil {
		return err
	}
	s, err := b.console(true, "--refresh", "1s")
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Await(within(ctx, 30*time.Second), listed); err != nil {
		return err
	}
	pid := descendant(s.Cmd.Process.Pid)
	if err := sleep(ctx, 10*time.Second); err != nil { // all is read once
		return err
	}
	before := resident(pid)
	s.TakeOutput()
	berth, libvirtd, qemu, err := b.during(ctx, pid, b.idle)
	if err != nil {
		return err
	}
	out, _ := s.TakeOutput()
	b.add("CPU of tool + libvirtd + QEMUs at 1 s refresh, "+title+fmt.Sprintf(" (idle without any tool: %.1f + %.1f)", idleLibvirtd, idleQEMU),
		virsh, "% of a core", []float64{berth, libvirtd, qemu}, cpu[:])
	b.add("bytes to the terminal a second, idle, 200×50, "+title, "–", "B/s", []float64{float64(len(out)) / b.idle.Seconds()}, []float64{1000})
	if err := b.keys(ctx, s, "key press to repaint, p50 / p90, "+title, "j", "k", []float64{8, 16}); err != nil {
		return err
	}
	b.add(fmt.Sprintf("resident memory, %s (%v earlier: %.1f)", title, b.idle, before), "–", "MiB", []float64{resident(pid)}, []float64{rss})
	return quit(ctx, s)
}

// during tells what berth, libvirtd and the QEMUs use of a core for a while.
func (b *bench) during(ctx context.Context, pid int, d time.Duration) (berth, libvirtd, qemu float64, err error) {
	from := b.sample(pid)
	err = sleep(ctx, d)
	berth, libvirtd, qemu = percent(from, b.sample(pid))
	return berth, libvirtd, qemu, err
}

// virshEachSecond is what a person without berth would do: watch virsh list.
func (b *bench) virshEachSecond(ctx context.Context, d time.Duration) (string, error) {
	from, tool := b.sample(0), time.Duration(0)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for time.Since(from.at) < d {
		c := b.host.Command("virsh", "-c", "qemu:///system", "list", "--all")
		cmd := exec.CommandContext(ctx, c[0], c[1:]...)
		if err := cmd.Run(); err != nil {
			return "", err
		}
		tool += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	to := b.sample(0)
	_, libvirtd, qemu := percent(from, to)
	return fmt.Sprintf("%.1f / %.1f / %.1f (list --all each second)", 100*tool.Seconds()/to.at.Sub(from.at).Seconds(), libvirtd, qemu), nil
}

// keys presses two keys that undo one another, three times each in turn, and
// measures how soon each press shows.
func (b *bench) keys(ctx context.Context, s *tty.Session, what, there, back string, limit []float64) error {
	const presses = 200
	var took []time.Duration
	for i := range presses {
		if _, err := s.Quiet(within(ctx, 10*time.Second), 15*time.Millisecond); err != nil {
			return fmt.Errorf("%s: it is never quiet: %w", what, err)
		}
		if err := sleep(ctx, time.Duration(rand.IntN(20))*time.Millisecond); err != nil {
			return err
		}
		key := there
		if i/3%2 == 1 {
			key = back
		}
		d, err := s.Press(within(ctx, 10*time.Second), key)
		if err != nil {
			return fmt.Errorf("%s: press %d: %w", what, i, err)
		}
		took = append(took, d)
	}
	b.add(what, "–", "ms", []float64{ms(quantile(took, .5)), ms(quantile(took, .9))}, limit)
	return nil
}

// demo measures the largest fleet of the simulator.
func (b *bench) demo(ctx context.Context) error {
	for _, n := range []string{"100", "10000"} {
		s, err := b.console(false, "--demo", "--demo-vms", n)
		if err != nil {
			return err
		}
		_, err = s.Await(within(ctx, 30*time.Second), func(screen string) bool { return strings.Contains(screen, "running") })
		if err == nil {
			err = b.keys(ctx, s, "frame time, p50 / p90, scrolling half pages of "+n+" demo VMs, key to terminal", tty.CtrlD, tty.CtrlU, []float64{5, 5})
		}
		if err == nil {
			err = quit(ctx, s)
		}
		if err != nil {
			s.Close()
			return fmt.Errorf("demo of %s VMs: %w; the screen is\n%s", n, err, s.Screen())
		}
	}
	return nil
}

func quit(ctx context.Context, s *tty.Session) error {
	if err := s.Type(tty.CtrlC); err != nil {
		return err
	}
	_, err := s.Wait(within(ctx, 10*time.Second))
	return err
}

// within bounds one step; the timer ends with ctx at the latest.
func within(ctx context.Context, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(ctx, cancel)
	return ctx
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

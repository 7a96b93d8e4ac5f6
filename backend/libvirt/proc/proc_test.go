package proc

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend"
)

const qemuStat = "4711 (qemu-system-x86) S 1 4711 4711 0 -1 138412416 51234 0 12 0 1234 567 0 0 20 0 4 0 98765 1234567168 40960 18446744073709551615 1 1 0 0 0 0 268444224 4096 17123 0 0 0 -1 1 0 0 0 321 0 0 0 0 0 0 0 0 0\n"

func TestParseStat(t *testing.T) {
	good := stat{state: 'S', ppid: 1, utime: 1234, stime: 567, start: 98765, rss: 40960}
	for name, c := range map[string]struct {
		line string
		want stat
		bad  bool
	}{
		"a QEMU":                  {line: qemuStat, want: good},
		"blanks and parentheses":  {line: strings.Replace(qemuStat, "qemu-system-x86", "a) R 9 (b c", 1), want: good},
		"newline in the name":     {line: strings.Replace(qemuStat, "qemu-system-x86", "a\n) S", 1), want: good},
		"ends with rss":           {line: strings.SplitAfter(qemuStat, " 40960")[0] + "\n", want: good},
		"empty":                   {bad: true},
		"no parenthesis":          {line: "4711 qemu S 1 2 3", bad: true},
		"cut after the name":      {line: "4711 (qemu)", bad: true},
		"cut after the state":     {line: "4711 (qemu) S", bad: true},
		"cut before rss":          {line: strings.Split(qemuStat, " 40960")[0], bad: true},
		"a negative time":         {line: strings.Replace(qemuStat, " 1234 ", " -234 ", 1), bad: true},
		"a word instead of time":  {line: strings.Replace(qemuStat, " 1234 ", " 12x4 ", 1), bad: true},
		"too large to be a count": {line: strings.Replace(qemuStat, " 1234 ", " 99999999999999999999 ", 1), bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat([]byte(c.line))
			if (err != nil) != c.bad {
				t.Fatalf("error %v, want one: %v", err, c.bad)
			}
			if err == nil && got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(qemuStat))
	f.Add([]byte("1 ()) S 1"))
	f.Add([]byte("1 (x) S  1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"))
	f.Fuzz(func(t *testing.T, line []byte) {
		s, err := parseStat(line)
		if err == nil && (s.utime > 1<<63-1 || s.rss > 1<<63-1) {
			t.Errorf("%q gave %+v", line, s)
		}
	})
}

func TestReadOwnProcess(t *testing.T) {
	r, err := OpenProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	used := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	if off := used - p.CPU; off < -2*tick || off > time.Second {
		t.Errorf("CPU %v, the kernel's other count is %v", p.CPU, used)
	}
	if age := time.Since(p.Start); age < 0 || age > time.Hour {
		t.Errorf("started %v ago", age)
	}
	if p.PID != os.Getpid() || p.RSS < 1<<20 || p.RSS > 1<<40 {
		t.Errorf("PID %d, %d bytes resident", p.PID, p.RSS)
	}
}

func TestStartIsWhenItStarted(t *testing.T) {
	before := time.Now()
	cmd := startSleep(t)
	after := time.Now()
	r, err := OpenProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	if p.Start.Before(before.Add(-2*tick)) || p.Start.After(after.Add(2*tick)) {
		t.Errorf("started %v, want between %v and %v", p.Start, before, after)
	}
}

func startSleep(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // the test may have done so
		_ = cmd.Wait()
	})
	return cmd
}

func TestGone(t *testing.T) {
	cmd := startSleep(t)
	pid := cmd.Process.Pid
	r, err := OpenProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // "signal: killed"
	if _, err := r.Read(); !errors.Is(err, ErrGone) || !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("reading a process that ended: %v", err)
	}
	if _, err := OpenProcess(pid); !errors.Is(err, ErrGone) {
		t.Errorf("opening a process that ended: %v", err)
	}
	if _, err := NetDev(pid); !errors.Is(err, ErrGone) {
		t.Errorf("interfaces of a process that ended: %v", err)
	}
}

func TestZombieIsGone(t *testing.T) {
	cmd := startSleep(t)
	r, err := OpenProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// Waits for the end without reaping it.
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if p, err := r.Read(); !errors.Is(err, ErrGone) {
		t.Errorf("a zombie gave %+v, %v", p, err)
	}
}

func TestCloseTwice(t *testing.T) {
	r, err := OpenProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if _, err := r.Read(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("reading after close: %v", err)
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	r, err := OpenProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := r.Read(); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a reading", n)
	}
}

// fakeProc puts a /proc of our own in the place of the real one.
type fakeProc struct {
	t   testing.TB
	dir string
}

func newFakeProc(t testing.TB) *fakeProc {
	old := root
	root = t.TempDir()
	t.Cleanup(func() { root = old })
	return &fakeProc{t, root}
}

func (f *fakeProc) add(pid, ppid int, comm string, args ...string) {
	f.t.Helper()
	dir := filepath.Join(f.dir, strconv.Itoa(pid))
	if err := os.Mkdir(dir, 0o755); err != nil {
		f.t.Fatal(err)
	}
	stat := strings.Replace(qemuStat, " S 1 ", " S "+strconv.Itoa(ppid)+" ", 1)
	for name, text := range map[string]string{"comm": comm + "\n", "cmdline": strings.Join(args, "\x00") + "\x00", "stat": stat} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
}

const (
	uuid1 = "11111111-1111-4111-8111-111111111111"
	uuid2 = "22222222-2222-4222-8222-222222222222"
	uuid3 = "33333333-3333-4333-8333-333333333333"
)

func mustUUID(t testing.TB, s string) backend.UUID {
	t.Helper()
	u, err := backend.ParseUUID(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestFindQEMU(t *testing.T) {
	f := newFakeProc(t)
	long := strings.Repeat("x", 40<<10)
	f.add(10, 1, "qemu-system-x86", "/usr/bin/qemu-system-x86_64", "-name", "guest=web1", "-uuid", uuid1, "-no-user-config")
	f.add(11, 1, "qemu-kvm", "/usr/libexec/qemu-kvm", "-device", long, "-uuid", uuid2)
	f.add(12, 1, "bash", "bash", "-c", "qemu-system-x86_64", "-uuid", uuid3) // no QEMU
	f.add(13, 1, "qemu-img", "qemu-img", "convert")
	f.add(14, 1, "qemu-system-x86", "qemu-system-x86_64", "-uuid", "no uuid")
	f.add(15, 1, "qemu-system-x86", "qemu-system-x86_64", "-uuid")
	if err := os.Mkdir(filepath.Join(f.dir, "sys"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(f.dir, "16"), 0o755); err != nil { // has just ended
		t.Fatal(err)
	}
	got, err := FindQEMU(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[mustUUID(t, uuid1)] != 10 || got[mustUUID(t, uuid2)] != 11 {
		t.Errorf("found %v", got)
	}
}

func TestFindQEMUTwice(t *testing.T) {
	args := []string{"qemu-system-x86_64", "-uuid"}
	f := newFakeProc(t)
	f.add(20, 1, "qemu-system-x86", append(args, uuid1)...)
	f.add(21, 20, "qemu-system-x86", append(args, uuid1)...) // forked by 20
	f.add(32, 1, "qemu-system-x86", append(args, uuid2)...)
	f.add(31, 32, "qemu-system-x86", append(args, uuid2)...) // child with the smaller number
	f.add(40, 1, "qemu-system-x86", append(args, uuid3)...)
	f.add(41, 1, "qemu-system-x86", append(args, uuid3)...)
	f.add(42, 1, "qemu-system-x86", append(args, uuid3)...)
	got, err := FindQEMU(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got[mustUUID(t, uuid1)] != 20 || got[mustUUID(t, uuid2)] != 32 {
		t.Errorf("found %v, want the parents 20 and 32", got)
	}
	if pid, ok := got[mustUUID(t, uuid3)]; ok {
		t.Errorf("chose %d of three unrelated processes with one UUID", pid)
	}
}

func TestFindQEMUEndsWithItsContext(t *testing.T) {
	newFakeProc(t).add(10, 1, "qemu-system-x86", "qemu-system-x86_64", "-uuid", uuid1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := FindQEMU(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func FuzzFindUUID(f *testing.F) {
	f.Add([]byte("qemu\x00-uuid\x00" + uuid1 + "\x00"))
	f.Add([]byte("-uuid\x00"))
	f.Add([]byte("-uuid"))
	f.Fuzz(func(t *testing.T, line []byte) {
		u, ok := findUUID(line)
		if ok && !strings.Contains(strings.ToLower(strings.ReplaceAll(string(line), "-", "")), strings.ReplaceAll(u.String(), "-", "")) {
			t.Errorf("%q gave %v", line, u)
		}
	})
}

const netDev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  123456     789    0    0    0     0          0         0   123456     789    0    0    0     0       0          0
 vnet0:1000 10 1 2 3 4 5 6 2000 20 3 4 7 8 9 10
verylongifname0: 18446744073709551615       1    0    0    0     0          0         0        5       6    7    8    0     0       0          0
`

func TestParseNetDev(t *testing.T) {
	at := time.Unix(1, 0)
	got, err := parseNetDev([]byte(netDev), at)
	if err != nil {
		t.Fatal(err)
	}
	want := backend.NetCounter{At: at, RxBytes: 1000, RxPkts: 10, RxErrs: 1, RxDrop: 2, TxBytes: 2000, TxPkts: 20, TxErrs: 3, TxDrop: 4}
	if len(got) != 3 || got["vnet0"] != want {
		t.Errorf("got %+v, want vnet0 to be %+v", got, want)
	}
	if c := got["verylongifname0"]; c.RxBytes != 1<<64-1 || c.TxDrop != 8 {
		t.Errorf("got %+v", c)
	}
	for _, bad := range []string{"a\nb\nno colon here\n", "a\nb\nvnet0: 1 2 3\n", "a\nb\nvnet0: 1 2 3 4 5 6 7 8 9 10 x 12\n"} {
		if m, err := parseNetDev([]byte(bad), at); err == nil {
			t.Errorf("%q gave %v", bad, m)
		}
	}
}

func FuzzParseNetDev(f *testing.F) {
	f.Add([]byte(netDev))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseNetDev(data, time.Unix(1, 0))
		if err == nil && m == nil {
			t.Error("neither counters nor an error")
		}
	})
}

func TestNetDevOfThisMachine(t *testing.T) {
	own, err := NetDev(0)
	if err != nil {
		t.Fatal(err)
	}
	byPID, err := NetDev(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := own["lo"]; !ok {
		t.Errorf("no lo among %v", own)
	}
	if len(own) != len(byPID) {
		t.Errorf("%d interfaces by self, %d by number", len(own), len(byPID))
	}
}

func BenchmarkRead(b *testing.B) {
	r, err := OpenProcess(os.Getpid())
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Read(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseStat(b *testing.B) {
	line := []byte(qemuStat)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseStat(line); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFindQEMU(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := FindQEMU(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNetDev(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NetDev(0); err != nil {
			b.Fatal(err)
		}
	}
}

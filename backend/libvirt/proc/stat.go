package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ErrGone is the error of reading a process that has ended. It wraps
// os.ErrProcessDone.
var ErrGone = fmt.Errorf("QEMU process is gone: %w", os.ErrProcessDone)

// userHZ is how many clock ticks a second /proc counts in. The kernel's own
// rate is scaled to this one, which is part of the interface on every
// architecture QEMU/KVM runs on (USER_HZ, asm-generic/param.h).
const userHZ = 100

// tick is one clock tick.
const tick = time.Second / userHZ

// Process is what one process has used.
type Process struct {
	PID   int
	Start time.Time     // when it was started, to the clock tick
	CPU   time.Duration // user and system time of all its threads, to the clock tick
	RSS   uint64        // resident memory in bytes, shared pages included
}

// ProcessReader reads one process again and again from a file kept open,
// which stays bound to that process: when it ends and its number is given to
// another, the reader says ErrGone. It is not for concurrent use.
type ProcessReader struct {
	pid  int
	fd   int
	boot time.Time // when the machine booted, on this machine's clock now
	page uint64
	buf  [1024]byte // a stat line is at most some 50 numbers
}

// OpenProcess starts reading a process. The error is ErrGone when there is
// none of that number.
func OpenProcess(pid int) (*ProcessReader, error) {
	path := root + "/" + strconv.Itoa(pid) + "/stat"
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
			return nil, ErrGone
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	boot, err := bootTime()
	if err != nil {
		_ = unix.Close(fd) // it was only read
		return nil, err
	}
	return &ProcessReader{pid: pid, fd: fd, boot: boot, page: uint64(os.Getpagesize())}, nil
}

// bootTime is finer than the btime in /proc/stat, which is in whole seconds.
func bootTime() (time.Time, error) {
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return time.Time{}, fmt.Errorf("time since boot: %w", err)
	}
	return time.Now().Round(0).Add(-time.Duration(up.Nano())), nil // the wall clock alone
}

// Read reads the process's figures now.
func (r *ProcessReader) Read() (Process, error) {
	if r.fd < 0 {
		return Process{}, os.ErrClosed
	}
	n, err := unix.Pread(r.fd, r.buf[:], 0)
	for err == unix.EINTR {
		n, err = unix.Pread(r.fd, r.buf[:], 0)
	}
	switch {
	case err == unix.ESRCH, err == nil && n == 0:
		return Process{}, ErrGone
	case err != nil:
		return Process{}, fmt.Errorf("process %d: %w", r.pid, err)
	}
	s, err := parseStat(r.buf[:n])
	if err != nil {
		return Process{}, fmt.Errorf("process %d: %w", r.pid, err)
	}
	if s.state == 'Z' || s.state == 'X' {
		return Process{}, ErrGone
	}
	return Process{
		PID:   r.pid,
		Start: r.boot.Add(time.Duration(s.start) * tick),
		CPU:   time.Duration(s.utime+s.stime) * tick,
		RSS:   s.rss * r.page,
	}, nil
}

// Close ends reading. A second call does nothing.
func (r *ProcessReader) Close() error {
	if r.fd < 0 {
		return nil
	}
	fd := r.fd
	r.fd = -1
	return unix.Close(fd)
}

// stat holds the fields of /proc/PID/stat that matter here, in its units.
type stat struct {
	state        byte   // field 3
	ppid         int    // 4
	utime, stime uint64 // 14, 15: clock ticks
	start        uint64 // 22: clock ticks since boot
	rss          uint64 // 24: pages
}

var errStat = errors.New("unexpected format of /proc/PID/stat")

// parseStat reads a stat line. The second field, the command's name in
// parentheses, may itself hold blanks and parentheses, so that counting
// begins after the last one.
func parseStat(line []byte) (stat, error) {
	var s stat
	end := bytes.LastIndexByte(line, ')')
	if end < 0 || end+3 >= len(line) || line[end+1] != ' ' || line[end+3] != ' ' {
		return s, errStat
	}
	s.state = line[end+2]
	rest := line[end+4:]
	for field := 4; field <= 24; field++ {
		var word []byte
		word, rest, _ = bytes.Cut(rest, []byte{' '})
		if field == 24 {
			word = bytes.TrimSuffix(word, []byte{'\n'})
		}
		switch field {
		case 4, 14, 15, 22, 24:
		default:
			if len(word) == 0 {
				return s, errStat
			}
			continue
		}
		v, ok := number(word)
		if !ok {
			return s, errStat
		}
		switch field {
		case 4:
			s.ppid = int(v)
		case 14:
			s.utime = v
		case 15:
			s.stime = v
		case 22:
			s.start = v
		case 24:
			s.rss = v
		}
	}
	return s, nil
}

// number reads a decimal number that fits 63 bits.
func number(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	return v, v <= 1<<63-1
}

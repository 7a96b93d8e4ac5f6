package proc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/backend"
)

// maxCommandLine bounds what is read of a command line. A QEMU with hundreds
// of devices has some tens of KiB, with -uuid near the front.
const maxCommandLine = 256 << 10

// FindQEMU finds the QEMU process of every running domain by the "-uuid"
// argument libvirt gives it. A UUID that several unrelated processes claim,
// as when two libvirts on this machine run a domain each, is left out: nothing
// tells whose it is. Processes that cannot be read are passed over.
func FindQEMU(ctx context.Context) (map[backend.UUID]int, error) {
	dir, err := os.Open(root)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	found := map[backend.UUID]int{}
	doubtful := map[backend.UUID]bool{}
	buf := make([]byte, 8<<10)
	for {
		names, err := dir.Readdirnames(256)
		for _, name := range names {
			pid, ok := number([]byte(name))
			if !ok {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			var uuid backend.UUID
			if uuid, buf, ok = commandUUID(name, buf); ok && !doubtful[uuid] {
				claim(found, doubtful, uuid, int(pid))
			}
		}
		if errors.Is(err, io.EOF) || (err == nil && len(names) == 0) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// claim enters pid for uuid. When a process just forks a child to run a
// helper, both have the same command line: the parent is the guest's.
func claim(found map[backend.UUID]int, doubtful map[backend.UUID]bool, uuid backend.UUID, pid int) {
	other, twice := found[uuid]
	switch {
	case !twice, parent(other) == pid:
		found[uuid] = pid
	case parent(pid) == other:
	default:
		delete(found, uuid)
		doubtful[uuid] = true
	}
}

// parent is the number of pid's parent, or 0.
func parent(pid int) int {
	line, err := os.ReadFile(root + "/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	s, err := parseStat(line)
	if err != nil {
		return 0
	}
	return s.ppid
}

// commandUUID reads the command line of one process if it is a QEMU. buf is
// working space, which it returns, grown if that was needed.
func commandUUID(pid string, buf []byte) (backend.UUID, []byte, bool) {
	// Reading a command line waits for the process's memory map, which a
	// process in trouble may hold for long: leave those of others alone.
	n, err := readFile(root+"/"+pid+"/comm", buf)
	if err != nil || !isQEMU(buf[:n]) {
		return backend.UUID{}, buf, false
	}
	path := root + "/" + pid + "/cmdline"
	n, err = readFile(path, buf)
	for err == nil && n == len(buf) && n < maxCommandLine {
		buf = make([]byte, 4*len(buf))
		n, err = readFile(path, buf)
	}
	if err != nil {
		return backend.UUID{}, buf, false
	}
	uuid, ok := findUUID(buf[:n])
	return uuid, buf, ok
}

// readFile reads the beginning of a file, until it ends or buf is full.
func readFile(path string, buf []byte) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	n := 0
	for n < len(buf) {
		m, err := unix.Read(fd, buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, err
		}
		if m == 0 {
			break
		}
		n += m
	}
	return n, nil
}

// isQEMU reports whether a process's name (comm) is a QEMU's: libvirt lets
// people choose the program, but all that are packaged have one of these words
// in their names (qemu-system-x86_64, qemu-kvm, kvm).
func isQEMU(comm []byte) bool {
	return bytes.Contains(comm, []byte("qemu")) || bytes.Contains(comm, []byte("kvm"))
}

// findUUID finds the value of the -uuid argument in a command line, whose
// arguments end in NUL.
func findUUID(cmdline []byte) (backend.UUID, bool) {
	for len(cmdline) > 0 {
		var arg []byte
		arg, cmdline, _ = bytes.Cut(cmdline, []byte{0})
		if string(arg) != "-uuid" {
			continue
		}
		value, _, ended := bytes.Cut(cmdline, []byte{0})
		if !ended || len(value) != 36 {
			return backend.UUID{}, false
		}
		uuid, err := backend.ParseUUID(string(value))
		return uuid, err == nil
	}
	return backend.UUID{}, false
}

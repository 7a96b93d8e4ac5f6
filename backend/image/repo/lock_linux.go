package repo

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// holder tells a process from all others, so that it can be told whether it
// still lives.
type holder struct {
	Host  string `json:"host"`
	Owner string `json:"owner"`
	PID   int    `json:"pid"`
	Start string `json:"start"` // field 22 of /proc/PID/stat: ticks from the boot to its start
	Boot  string `json:"boot"`  // /proc/sys/kernel/random/boot_id
	Space string `json:"space"` // its PID namespace
	// Machine is /etc/machine-id, hashed: it is nobody else's business.
	Machine string `json:"machine,omitempty"`
}

// initSpace is the PID namespace of a machine itself (PROC_PID_INIT_INO of the
// kernel): containers have others.
const initSpace = "pid:[4026531836]"

// thisProcess is what a lock says of its holder.
var thisProcess = sync.OnceValue(func() holder {
	h := holder{PID: os.Getpid(), Boot: firstLine("/proc/sys/kernel/random/boot_id"), Machine: machine()}
	h.Host, _ = os.Hostname() // only for people
	h.Space, _ = os.Readlink("/proc/self/ns/pid")
	h.Start, _ = processStart(h.PID) // without, the lock has to expire
	if u, err := user.Current(); err == nil {
		h.Owner = u.Username
	}
	return h
})

func machine() string {
	id := firstLine("/etc/machine-id")
	if id == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("berth lock " + id))
	return hex.EncodeToString(sum[:8])
}

func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

// processStart is field 22 of /proc/PID/stat (proc_pid_stat(5)).
func processStart(pid int) (string, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 20 || fields[0] == "Z" { // a zombie does nothing any more
		return "", fs.ErrNotExist
	}
	return fields[19], nil
}

// gone says why the process cannot live any more, as far as can be told from
// here; else "".
func (h *holder) gone() string {
	here := thisProcess()
	if h.Boot == "" || h.Start == "" || h.Space == "" {
		return ""
	}
	if h.Boot != here.Boot {
		if h.Space == initSpace && here.Space == initSpace && h.Machine != "" && h.Machine == here.Machine && h.Host == here.Host {
			return "this machine was started anew since"
		}
		return ""
	}
	if h.Space != here.Space {
		return ""
	}
	start, err := processStart(h.PID)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ESRCH), err == nil && start != h.Start:
		return "its process " + strconv.Itoa(h.PID) + " on this machine is gone"
	}
	return ""
}

// steady is the time since the machine's boot, sleep included, which nobody
// can set (CLOCK_BOOTTIME, clock_gettime(2)).
func steady() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Duration(time.Now().UnixNano()) // a kernel before 2.6.39
	}
	return time.Duration(ts.Nano())
}

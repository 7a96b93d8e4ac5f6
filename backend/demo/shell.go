package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// shell is what the guest's terminal knows of the person at it.
type shell struct {
	line  []byte // typed so far
	stage stage
	user  string
}

type stage uint8

const (
	atLogin stage = iota
	atPassword
	atShell
)

// obey lets the guest's terminal driver look at what was typed.
func (s *talk) obey() {
	for len(s.typed) > 0 && s.v.phase == phaseUp {
		c := s.typed[0]
		s.typed = s.typed[1:]
		s.key(c)
	}
}

// key is a terminal driver in its cooked mode: it echoes, and knows how to
// erase a character, a line, and what ends a line.
func (s *talk) key(c byte) {
	sh := &s.shell
	echo := sh.stage != atPassword
	switch {
	case c == '\r' || c == '\n':
		s.write("\r\n")
		line := string(sh.line)
		sh.line = sh.line[:0]
		s.enter(line)
	case c == 0x7f || c == '\b':
		if n := len(sh.line); n > 0 {
			sh.line = sh.line[:n-1]
			if echo {
				s.write("\b \b")
			}
		}
	case c == 0x15: // ^U
		if echo {
			s.write(strings.Repeat("\b \b", len(sh.line)))
		}
		sh.line = sh.line[:0]
	case c == 0x03: // ^C
		sh.line = sh.line[:0]
		s.write("^C\r\n")
		s.prompt()
	case c == 0x04 && len(sh.line) == 0 && sh.stage == atShell: // ^D
		s.write("logout\r\n")
		s.logout()
	case c >= 0x20 && c < 0x7f && len(sh.line) < 1024:
		sh.line = append(sh.line, c)
		if echo {
			s.write(string(c))
		}
	}
}

// enter takes a whole line.
func (s *talk) enter(line string) {
	sh, v := &s.shell, s.v
	switch sh.stage {
	case atLogin:
		if sh.user = strings.TrimSpace(line); sh.user != "" {
			sh.stage = atPassword
		}
	case atPassword:
		sh.stage = atShell
		s.write("Last login: " + v.fleet().shown(v.fleet().now).Add(-26*time.Hour).Format(time.ANSIC) + " on ttyS0\r\n" +
			"This guest is simulated: any password is right. \"help\" lists what it can do.\r\n")
	case atShell:
		s.run(strings.Fields(line))
	}
	s.prompt()
}

func (s *talk) prompt() {
	name := s.v.guestName()
	switch {
	case s.v.phase != phaseUp:
	case s.shell.stage == atLogin:
		s.write(name + " login: ")
	case s.shell.stage == atPassword:
		s.write("Password: ")
	case s.shell.user == "root":
		s.write("root@" + name + ":~# ")
	default:
		s.write(s.shell.user + "@" + name + ":~$ ")
	}
}

func (s *talk) logout() {
	s.shell = shell{}
	s.write("\r\n" + s.v.issue("ttyS0") + "\r\n\r\n")
}

// run carries out one command line.
func (s *talk) run(words []string) {
	if len(words) == 0 {
		return
	}
	do, ok := commands[words[0]]
	if !ok {
		s.write("-sh: " + words[0] + ": not found\r\n")
		return
	}
	if text := do(s, words[1:]); text != "" {
		s.write(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n")
	}
}

// commands of the simulated shell; each returns what it prints.
var commands map[string]func(s *talk, args []string) string

func init() { // not a literal: help lists the map it is in
	commands = map[string]func(*talk, []string) string{
		"help":     func(*talk, []string) string { return strings.Join(slices.Sorted(maps.Keys(commands)), "  ") },
		"uptime":   func(s *talk, _ []string) string { return s.v.uptimeLine() },
		"uname":    uname,
		"hostname": func(s *talk, _ []string) string { return s.v.guestName() },
		"whoami":   func(s *talk, _ []string) string { return s.shell.user },
		"echo":     func(_ *talk, args []string) string { return strings.Join(args, " ") },
		"date":     func(s *talk, _ []string) string { return s.v.fleet().shown(s.v.fleet().now).Format(time.UnixDate) },
		"free":     func(s *talk, _ []string) string { return s.v.freeTable() },
		"dmesg":    func(s *talk, _ []string) string { return s.v.dmesg() },
		"df":       func(s *talk, _ []string) string { return s.v.dfTable() },
		"ip":       func(s *talk, _ []string) string { return "enp1s0 UP " + strings.Join(s.v.addresses, " ") },
		"exit":     func(s *talk, _ []string) string { s.logout(); return "" },
		"poweroff": func(s *talk, _ []string) string { s.v.stopGuest(s.v.powerOff); return "" },
		"reboot":   func(s *talk, _ []string) string { s.v.stopGuest(s.v.reboot); return "" },
	}
}

func uname(s *talk, args []string) string {
	if !slices.Contains(args, "-a") {
		return "Linux"
	}
	return "Linux " + s.v.guestName() + " " + osNames[s.v.def().os].kernel + " #1 SMP x86_64 GNU/Linux"
}

// uptimeLine is the guest's own clock, which stood still while it was paused
// or saved.
func (v *vm) uptimeLine() string {
	f := v.fleet()
	up := v.uptime(f.now)
	days, rest := up/(24*time.Hour), up%(24*time.Hour)
	text := fmt.Sprintf("%d min", rest/time.Minute)
	if up >= time.Hour {
		text = fmt.Sprintf("%2d:%02d", rest/time.Hour, rest%time.Hour/time.Minute)
	}
	if days > 0 {
		text = fmt.Sprintf("%d days, %s", days, text)
	}
	load := v.draw.cpu
	return fmt.Sprintf(" %s up %s,  1 user,  load average: %.2f, %.2f, %.2f", f.shown(f.now).Format(time.TimeOnly), text, load, load*0.97, load*0.93)
}

func (v *vm) freeTable() string {
	d := &v.draw
	total := uint64(d.balloon) / kib * 98 / 100
	used := min(uint64(d.used)/kib, total)
	touched := min(max(uint64(d.touched)/kib, used), total)
	return fmt.Sprintf("%15s %11s %11s %11s %11s\nMem: %10d %11d %11d %11d %11d\nSwap: %9d %11d %11d",
		"total", "used", "free", "buff/cache", "available", total, used, total-touched, touched-used, total-used, 0, 0, 0)
}

func (v *vm) dfTable() string {
	m := v.at(v.fleet().now)
	var b strings.Builder
	fmt.Fprintf(&b, "%-14s %12s %12s %5s %s", "Filesystem", "1K-blocks", "Used", "Use%", "Mounted on")
	for i := range v.live.disks {
		k := &v.live.disks[i]
		if k.device != "disk" {
			continue
		}
		mount, used := "/", v.allocated(k, &m)
		if i > 0 {
			mount, used = "/srv", uint64(float64(k.capacity)*v.role.mem)
		}
		fmt.Fprintf(&b, "\n%-14s %12d %12d %4d%% %s", "/dev/"+k.target+"1", k.capacity/kib, used/kib, 100*used/max(k.capacity, 1), mount)
	}
	return b.String()
}

func (v *vm) dmesg() string {
	var lines []string
	for _, l := range v.bootLines() {
		if strings.HasPrefix(l.text, "[ ") && !strings.HasPrefix(l.text, "[  OK") {
			lines = append(lines, l.text)
		}
	}
	return strings.Join(lines, "\n")
}

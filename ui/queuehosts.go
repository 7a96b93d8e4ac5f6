package ui

import (
	"strings"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

// hostLinesMost is how many lines of the queue's screen the hosts may take.
func hostLinesMost(h int) int { return max(1, min(8, h/4)) }

// queueHostLines is how many they take.
func (r *Root) queueHostLines(h int) int {
	if r.queueAbsent() != nil {
		return 0
	}
	return min(len(r.app.Queue.State.Hosts), hostLinesMost(h))
}

// queueHosts are what the hosts have, give and have left: a line each, or
// several on a line where they are many.
func (r *Root) queueHosts(w, h int) []string {
	hosts := r.app.Queue.State.Hosts
	if len(hosts) == 0 {
		return nil
	}
	n := hostLinesMost(h)
	if len(hosts) > n {
		return r.compactHosts(hosts, w, n)
	}
	names, words := 0, 0
	for i := range hosts {
		names = max(names, min(widget.Width(hosts[i].Name), max(8, w/6)))
		_, word, _ := r.queueHostState(&hosts[i])
		words = max(words, widget.Width(word))
	}
	var lines []string
	for i := range hosts {
		lines = append(lines, r.queueHostLine(&hosts[i], w, names, words))
	}
	return lines
}

// queueHostState is whether a host takes jobs, as a shape, a word and a look;
// the word is empty when it does.
func (r *Root) queueHostState(h *backend.QueueHost) (string, string, themes.Role) {
	g := &r.look.Glyphs
	switch {
	case h.Down:
		return g.Cross, "down", themes.RoleBad
	case h.Drained:
		return g.Off, "drained", themes.RoleWarn
	case h.Trouble != "":
		return g.Warn, "trouble", themes.RoleWarn
	}
	return g.Running, "", themes.RoleOK
}

func (r *Root) queueHostLine(h *backend.QueueHost, w, names, words int) string {
	glyph, word, role := r.queueHostState(h)
	left := " " + r.st(role, glyph) + " " + r.st(themes.RoleHost, widget.Fit(backend.Clean(h.Name), names)) + " "
	if words > 0 {
		left += r.st(role, widget.Fit(word, words)) + " "
	}
	if h.Trouble != "" {
		return widget.Fit(left+r.st(role, backend.Clean(h.Trouble)), w)
	}
	free := h.Free()
	taken := h.Outside.Plus(h.Used)
	cpu := [2]string{itoa(taken.VCPU) + "/" + itoa(h.Capacity.VCPU), itoa(free.VCPU) + " free"}
	mem := [2]string{amount(taken.Memory) + "/" + amount(h.Capacity.Memory), amount(free.Memory) + " free"}
	room := w - widget.Width(left)
	text := func(t [2]string, first, second int) string {
		if room < 56 {
			return widget.FitRight(t[0], first)
		}
		return widget.FitRight(t[0], first) + " " + r.st(themes.RoleMuted, widget.FitRight(t[1], second))
	}
	cpuText, memText := text(cpu, 7, 8), text(mem, 9, 10)
	bar := max(3, min(40, (room-2-widget.Width(cpuText)-widget.Width(memText)-10)/2))
	line := left + r.st(themes.RoleMuted, "CPU ") + r.hostBar(float64(h.Used.VCPU), float64(h.Outside.VCPU), float64(h.Reserved.VCPU), float64(h.Capacity.VCPU), bar) + " " + cpuText +
		"  " + r.st(themes.RoleMuted, "MEM ") + r.hostBar(float64(h.Used.Memory), float64(h.Outside.Memory), float64(h.Reserved.Memory), float64(h.Capacity.Memory), bar) + " " + memText
	return widget.Fit(line, w)
}

func amount(bytes uint64) string { return model.Bytes(float64(bytes)) }

// hostBar is what of a host's capacity jobs, VMs outside the queue and the
// reservation take; the reservation shows only where it is free now.
func (r *Root) hostBar(used, outside, reserved, capacity float64, w int) string {
	fill := widget.StackGlyphs(&r.look.Glyphs)
	reserved = max(0, min(reserved, capacity-used-outside))
	return widget.Stack([]widget.Share{
		{Value: used, Glyph: fill[0], Style: r.styles.Get(themes.RoleBarFull)},
		{Value: outside, Glyph: fill[1], Style: r.styles.Get(themes.RoleOff)},
		{Value: reserved, Glyph: fill[2], Style: r.styles.Get(themes.RoleAccent)},
	}, capacity, w, widget.Share{Glyph: fill[3], Style: r.styles.Get(themes.RoleBarEmpty)})
}

// compactHosts puts several hosts on a line: name, and small bars for CPU and
// memory. Those that find no room are counted, with what they have free.
func (r *Root) compactHosts(hosts []backend.QueueHost, w, n int) []string {
	names := 6
	for i := range hosts {
		names = max(names, min(widget.Width(hosts[i].Name), 16))
	}
	cell := names + 3 + 15
	across := max(1, (w-1)/(cell+1))
	fit := across * n
	if len(hosts) > fit {
		fit = across*n - across // the last line tells of the rest
	}
	var lines []string
	for i := 0; i < min(fit, len(hosts)); i += across {
		var parts []string
		for k := i; k < min(i+across, len(hosts)); k++ {
			parts = append(parts, widget.Fit(r.compactHost(&hosts[k], names), cell))
		}
		lines = append(lines, widget.Fit(strings.Join(parts, " "), w))
	}
	if rest := hosts[min(fit, len(hosts)):]; len(rest) > 0 {
		lines = append(lines, widget.Fit(" "+r.st(themes.RoleMuted, r.sumOfHosts(rest, fit > 0)), w))
	}
	return lines
}

func (r *Root) compactHost(h *backend.QueueHost, names int) string {
	glyph, word, role := r.queueHostState(h)
	text := " " + r.st(role, glyph) + " " + r.st(themes.RoleHost, widget.Fit(backend.Clean(h.Name), names)) + " "
	if word != "" {
		return text + r.st(role, word)
	}
	return text + r.st(themes.RoleMuted, "c") + r.hostBar(float64(h.Used.VCPU), float64(h.Outside.VCPU), float64(h.Reserved.VCPU), float64(h.Capacity.VCPU), 6) +
		r.st(themes.RoleMuted, "m") + r.hostBar(float64(h.Used.Memory), float64(h.Outside.Memory), float64(h.Reserved.Memory), float64(h.Capacity.Memory), 6)
}

func (r *Root) sumOfHosts(hosts []backend.QueueHost, more bool) string {
	var free, capacity backend.Resources
	for i := range hosts {
		if h := &hosts[i]; !h.Down && !h.Drained {
			free, capacity = free.Plus(h.Free()), capacity.Plus(h.Capacity)
		}
	}
	text := hostsWord(len(hosts))
	if more {
		text = itoa(len(hosts)) + " more hosts"
	}
	return text + ": " + itoa(free.VCPU) + " of " + itoa(capacity.VCPU) + " vCPU free, " + amount(free.Memory) + " of " + amount(capacity.Memory) + " memory"
}

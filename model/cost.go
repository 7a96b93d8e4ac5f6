package model

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

// Cost is what berth itself uses.
type Cost struct {
	At      time.Time
	Used    time.Duration // CPU time since the start
	CPU     float64       // percent of one core since the last look
	Memory  uint64        // resident, bytes
	Updates uint64
}

type costMsg struct{ cost Cost }

type costTick struct{}

const costEvery = 2 * time.Second

func (a *App) toggleCost() tea.Cmd {
	a.ShowCost = !a.ShowCost
	if a.ShowCost && !a.costing {
		a.costing = true
		return readCost
	}
	return nil
}

func (a *App) onCost(m costMsg) tea.Cmd {
	if s := m.cost.At.Sub(a.Cost.At).Seconds(); !a.Cost.At.IsZero() && s > 0 {
		m.cost.CPU = 100 * (m.cost.Used - a.Cost.Used).Seconds() / s
	}
	a.Cost = m.cost
	if !a.ShowCost {
		a.costing = false
		return nil
	}
	return a.clock.After(costEvery, costTick{})
}

func readCost() tea.Msg {
	c := Cost{At: time.Now()}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err == nil {
		c.Used = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	// proc(5): the second field of statm is the resident size in pages.
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 1 {
			if n, err := strconv.ParseUint(f[1], 10, 64); err == nil {
				c.Memory = n * uint64(os.Getpagesize())
			}
		}
	}
	return costMsg{c}
}

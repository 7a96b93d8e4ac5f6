package model

import (
	"context"
	"fmt"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// undefine looks first at what the selected VM has, then asks what to delete
// with it, by name, and for the VM's name.
func (a *App) undefine() tea.Cmd {
	r := a.one()
	k, name := r.Key(), r.Name
	host, parent := a.Fleet.HostState(k.Host).Host, a.ctx
	return tea.Batch(a.Info("looking at what belongs to "+name), func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, detailDeadline)
		defer cancel()
		d, err := host.Detail(ctx, k.UUID)
		return result(func(a *App) tea.Cmd {
			if err != nil {
				return a.Bad(fmt.Sprintf("delete %s: %v", name, err))
			}
			return a.askUndefine(k, &d)
		})
	})
}

// undefineChoice is one switch of the question, and what it sets.
type undefineChoice struct {
	Choice
	set func(*backend.UndefineOptions, bool)
}

// undefineChoices are what can go with a definition; only what is there.
func undefineChoices(d *backend.Detail) []undefineChoice {
	var out []undefineChoice
	add := func(on bool, label string, set func(*backend.UndefineOptions, bool)) {
		out = append(out, undefineChoice{Choice{Label: label, On: on}, set})
	}
	if disks := writableDisks(d); len(disks) > 0 {
		add(false, "its storage: "+strings.Join(disks, ", "), func(o *backend.UndefineOptions, on bool) { o.Storage = on })
	}
	if n, c := len(d.Snapshots), len(d.Checkpoints); n+c > 0 {
		add(true, fmt.Sprintf("the metadata of %d snapshots and %d checkpoints", n, c), func(o *backend.UndefineOptions, on bool) { o.Snapshots = on })
	}
	if strings.HasPrefix(d.Firmware, "UEFI") {
		add(true, "its NVRAM (UEFI variables)", func(o *backend.UndefineOptions, on bool) { o.NVRAM = on })
	}
	if d.VM.ManagedSave {
		add(true, "its saved state", func(o *backend.UndefineOptions, on bool) { o.ManagedSave = on })
	}
	return out
}

func writableDisks(d *backend.Detail) []string {
	var out []string
	for i := range d.Disks {
		k := &d.Disks[i]
		if k.ReadOnly || k.Source == "" || k.Device == "cdrom" || k.Device == "floppy" {
			continue
		}
		text := k.Source
		if k.Capacity > 0 {
			text += " (" + Bytes(float64(k.Capacity)) + ")"
		}
		out = append(out, text)
	}
	return out
}

func (a *App) askUndefine(k backend.Key, d *backend.Detail) tea.Cmd {
	r := a.Fleet.Row(k)
	if r == nil {
		return a.Warn("the VM is gone")
	}
	if why := a.refused(backend.VerbUndefine, r); why != "" {
		return a.Warn(why)
	}
	name := r.Name
	what := undefineChoices(d)
	c := Confirm{Title: "Delete " + name + "?", Yes: "Delete", Danger: true, Type: name,
		Body: []string{"The definition is deleted from " + r.Host + ". This cannot be undone."}}
	if len(what) > 0 {
		c.Body = append(c.Body, "Choose what goes with it:")
	}
	for _, w := range what {
		c.Choices = append(c.Choices, w.Choice)
	}
	c.OnYes = func(a *App, c *Confirm) tea.Cmd {
		act := backend.Action{Verb: backend.VerbUndefine, UUID: k.UUID, Name: name}
		for i, w := range what {
			w.set(&act.Delete, c.Choices[i].On)
		}
		cmd := a.startAction(k, act)
		if a.Screen == ScreenDetail {
			return tea.Batch(cmd, a.Go(ScreenVMs))
		}
		return cmd
	}
	a.Push(newConfirm(c))
	return nil
}

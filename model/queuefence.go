package model

import (
	"context"
	"errors"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// fencer is a queue that takes a person's word for a lost host.
type fencer interface {
	// Fenced says that a host which does not answer is off: its jobs are queued
	// again at the front. It wraps backend.ErrState while the host answers.
	Fenced(ctx context.Context, host string) error
}

// lostHost is the host of the selected job when nobody knows whether the job
// runs there still.
func (a *App) lostHost() (string, error) {
	if why := a.queueRefuses(); why != "" {
		return "", errors.New(why)
	}
	j := a.job()
	switch {
	case j == nil:
		return "", errors.New("no job is selected")
	case j.State != backend.JobUnknown && j.State != backend.JobFencing:
		return "", errors.New("its host is not lost")
	}
	if _, ok := a.Queue.q.(fencer); !ok {
		return "", errors.New("this queue cannot take a person's word for it")
	}
	return j.RunsOn, nil
}

func (a *App) fenceWhy() string {
	if _, err := a.lostHost(); err != nil {
		return err.Error()
	}
	return ""
}

// fence asks for the host's name: if it is not off after all, VMs run twice
// and write to the same disks.
func (a *App) fence() tea.Cmd {
	host, err := a.lostHost()
	if err != nil {
		return a.Warn(err.Error())
	}
	a.Push(newConfirm(Confirm{Title: "Is " + host + " off?", Yes: "It is off", Type: host, Danger: true,
		Body: []string{"Its jobs are started again on other hosts. Should it still run, their VMs would run twice and destroy each other's disks: make sure that it has no power."},
		OnYes: func(a *App, _ *Confirm) tea.Cmd {
			q, ok := a.Queue.q.(fencer)
			if !ok {
				return nil
			}
			return a.request(&queueRequest{done: host + ": its jobs come back to the front of the queue", steps: []queueStep{{
				audit: []auditLine{{key: backend.Key{Host: host}, verb: "queue fenced"}},
				do:    func(ctx context.Context, _ backend.Queue) error { return q.Fenced(ctx, host) }}}})
		}}))
	return nil
}

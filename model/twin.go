package model

import (
	"errors"
	"iter"

	"berth/backend"
)

// ErrTwin is a start of a VM that runs on another host already: both would
// write to its disks, or pretend to be the same machine. It happens most easily
// to a VM of the queue, which may run away from the host that defines it.
var ErrTwin = errors.New("started twice, its disks and addresses would clash")

// CheckTwin says why a verb may not be carried out on a VM that runs on another
// host already, or nil; rows are where to look for it. A row of a host that does
// not answer counts for nothing: the VM may be started to replace that one.
func CheckTwin(v backend.Verb, vm *backend.VM, rows iter.Seq[*Row]) error {
	switch v {
	case backend.VerbStart, backend.VerbStartPaused, backend.VerbStartFresh, backend.VerbRestore:
	default:
		return nil
	}
	for r := range rows {
		if r.UUID == vm.UUID && r.Host != vm.Host && r.State.Active() && !r.HostDown {
			return twinError{vm.Name, r.Host, r.State}
		}
	}
	return nil
}

// rowsOf are a VM's rows on all hosts.
func (f *Fleet) rowsOf(id backend.UUID) iter.Seq[*Row] {
	return func(yield func(*Row) bool) {
		for _, s := range f.hosts {
			if r := f.rows[backend.Key{Host: s.Host.Name(), UUID: id}]; r != nil && !yield(r) {
				return
			}
		}
	}
}

type twinError struct {
	name, host string
	state      backend.State
}

func (e twinError) Error() string {
	return e.name + " is " + e.state.String() + " on " + e.host + ": " + ErrTwin.Error()
}

func (twinError) Unwrap() error { return ErrTwin }

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"berth/backend"
	"berth/model"
)

// inventory is what all hosts told, to find VMs in.
type inventory struct {
	rows  []*model.Row
	hosts map[string]backend.Host
	down  []gathered // hosts that did not answer
}

func takeInventory(ctx context.Context, f *fleet, d depth) *inventory {
	inv := &inventory{hosts: map[string]backend.Host{}}
	for _, h := range f.hosts {
		inv.hosts[h.Name()] = h
	}
	for _, g := range gather(ctx, f.hosts, d) {
		if g.err != nil {
			inv.down = append(inv.down, g)
			continue
		}
		inv.rows = append(inv.rows, g.rows...)
	}
	model.SortRows(inv.rows, "name", false)
	return inv
}

// find resolves a NAME argument: a VM's name, its UUID, or either with a host
// before it, as in hv1/web1. Errors wrap backend.ErrNoDomain or
// backend.ErrAmbiguous.
func (inv *inventory) find(arg string) (*model.Row, error) {
	host, name, qualified := strings.Cut(arg, "/")
	if !qualified {
		name, host = arg, ""
	} else if err := inv.checkHost(host); err != nil {
		return nil, fmt.Errorf("%s: %w", arg, err)
	}
	found := inv.matching(func(r *model.Row) bool { return r.Name == name && (host == "" || r.Host == host) })
	if uuid, err := backend.ParseUUID(name); err == nil && len(found) == 0 {
		found = inv.matching(func(r *model.Row) bool { return r.UUID == uuid && (host == "" || r.Host == host) })
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, inv.notFound(arg)
	}
	var names []string
	for _, r := range found {
		names = append(names, r.Host+"/"+r.Name)
	}
	return nil, fmt.Errorf("%s: %w: say which of %s", arg, backend.ErrAmbiguous, strings.Join(names, ", "))
}

func (inv *inventory) matching(want func(*model.Row) bool) []*model.Row {
	var out []*model.Row
	for _, r := range inv.rows {
		if want(r) {
			out = append(out, r)
		}
	}
	return out
}

func (inv *inventory) checkHost(host string) error {
	if inv.hosts[host] == nil {
		var names []string
		for name := range inv.hosts {
			names = append(names, name)
		}
		slices.Sort(names)
		return fmt.Errorf("there is no host %q (hosts: %s)", host, strings.Join(names, " "))
	}
	for _, g := range inv.down {
		if g.host.Name() == host {
			return fmt.Errorf("%w: %s did not answer", backend.ErrUnreachable, host)
		}
	}
	return nil
}

// notFound says so, and whether a host that did not answer may have it.
func (inv *inventory) notFound(arg string) error {
	if len(inv.down) > 0 {
		return fmt.Errorf("%s: %w on the hosts that answered", arg, backend.ErrNoDomain)
	}
	return fmt.Errorf("%s: %w; berth vm list shows what there is", arg, backend.ErrNoDomain)
}

// label is how messages name a VM: with its host when there are several.
func (inv *inventory) label(r *model.Row) string {
	if len(inv.hosts) > 1 {
		return backend.Clean(r.Host + "/" + r.Name)
	}
	return backend.Clean(r.Name)
}

// reportDown complains about each host that did not answer.
func (a *app) reportDown(inv *inventory) {
	for _, g := range inv.down {
		a.complain(hostError(g))
	}
}

// silent reports whether no host answered at all.
func (inv *inventory) silent() bool { return len(inv.down) == len(inv.hosts) }

// errNothingMatches is a filter that chose no VM for a verb.
var errNothingMatches = errors.New("no VM matches the filter; nothing was done")

// findEach resolves arguments, each once and in their order.
func findEach[ID comparable](args []string, find func(arg string) (ID, error)) ([]ID, error) {
	var ids []ID
	var errs []error
	for _, arg := range args {
		id, err := find(arg)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, errors.Join(errs...)
}

package store

import (
	"slices"
	"time"

	"berth/backend"
)

// hostColumns are the table host, its key first, but for seen_at.
var hostColumns = slices.Concat(
	[]column[backend.QueueHost]{
		text("name", func(h *backend.QueueHost) *string { return &h.Name }),
		text("uri", func(h *backend.QueueHost) *string { return &h.URI }),
	},
	amount("total_", func(h *backend.QueueHost) *backend.Resources { return &h.Total }),
	amount("capacity_", func(h *backend.QueueHost) *backend.Resources { return &h.Capacity }),
	amount("outside_", func(h *backend.QueueHost) *backend.Resources { return &h.Outside }),
	amount("used_", func(h *backend.QueueHost) *backend.Resources { return &h.Used }),
	amount("reserved_", func(h *backend.QueueHost) *backend.Resources { return &h.Reserved }),
	[]column[backend.QueueHost]{
		flag("drained", func(h *backend.QueueHost) *bool { return &h.Drained }),
		flag("down", func(h *backend.QueueHost) *bool { return &h.Down }),
		moment("since", func(h *backend.QueueHost) *time.Time { return &h.Since }),
		text("trouble", func(h *backend.QueueHost) *string { return &h.Trouble }),
	},
)

var (
	seenAt      = moment("seen_at", func(h *backend.QueueHost) *time.Time { return &h.SeenAt })
	readHost    = append(slices.Clone(hostColumns), seenAt)
	selectHosts = "SELECT " + names(readHost, "") + " FROM host ORDER BY name"
	putHost     = upsertInto("host", "name", hostColumns)
)

// Hosts returns what the engine last knew of the hosts, by name.
func (t *Tx) Hosts() ([]backend.QueueHost, error) {
	return rows(t, "host", readHost, selectHosts)
}

// PutHost writes a host, new or not. When nothing but SeenAt differs from
// what is known, that is noted without raising the revision.
func (t *Tx) PutHost(h backend.QueueHost) error {
	vals, err := values(hostColumns, &h)
	if err != nil {
		return err
	}
	if _, err := t.change(putHost, vals...); err != nil {
		return err
	}
	_, err = t.exec("UPDATE host SET seen_at = ?1 WHERE name = ?2 AND seen_at IS NOT ?1", instant(h.SeenAt), h.Name)
	return err
}

// DeleteHost forgets a host; one that is not known is no error.
func (t *Tx) DeleteHost(name string) error {
	_, err := t.change("DELETE FROM host WHERE name = ?", name)
	return err
}

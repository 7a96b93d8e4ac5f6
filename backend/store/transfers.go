package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"berth/backend"
)

// transferColumns are the table transfer but for its id and the engine's note.
// What is searched for has a column besides its place in the spec.
var transferColumns = []column[backend.Transfer]{
	text("kind", func(x *backend.Transfer) *backend.TransferKind { return &x.Spec.Kind }),
	text("host", func(x *backend.Transfer) *string { return &x.Spec.VM.Host }),
	uuid("vm", func(x *backend.Transfer) *backend.UUID { return &x.Spec.VM.UUID }),
	text("name", func(x *backend.Transfer) *string { return &x.Spec.Name }),
	text("url", func(x *backend.Transfer) *string { return &x.Spec.Repo.URL }),
	integer("schedule", func(x *backend.Transfer) *int64 { return &x.Spec.Schedule }),
	object("spec", func(x *backend.Transfer) *backend.TransferSpec { return &x.Spec }, nil),
	text("owner", func(x *backend.Transfer) *string { return &x.Owner }),
	text("state", func(x *backend.Transfer) *backend.TransferState { return &x.State }),
	moment("since", func(x *backend.Transfer) *time.Time { return &x.Since }),
	moment("ordered", func(x *backend.Transfer) *time.Time { return &x.Ordered }),
	moment("started", func(x *backend.Transfer) *time.Time { return &x.Started }),
	moment("ended", func(x *backend.Transfer) *time.Time { return &x.Ended }),
	integer("attempts", func(x *backend.Transfer) *int { return &x.Attempts }),
	moment("next_try", func(x *backend.Transfer) *time.Time { return &x.NextTry }),
	text("words", func(x *backend.Transfer) *string { return &x.Words }),
	text("point", func(x *backend.Transfer) *string { return &x.Point }),
	flag("pause", func(x *backend.Transfer) *bool { return &x.Pause }),
	flag("cancel", func(x *backend.Transfer) *bool { return &x.Cancel }),
}

var (
	transferID   = integer("id", func(x *backend.Transfer) *backend.TransferID { return &x.ID })
	progressBody = object("body", func(x *backend.Transfer) *backend.Progress { return &x.Progress },
		func(p *backend.Progress) {
			if !p.At.IsZero() {
				p.At = p.At.Local() // as every other time
			}
		})
	readTransfer   = append(append([]column[backend.Transfer]{transferID}, transferColumns...), progressBody)
	selectTransfer = "SELECT transfer.id, " + names(transferColumns, "transfer.") + ", progress.body" +
		" FROM transfer LEFT JOIN progress ON progress.transfer = transfer.id"
	insertTransfer = insertInto("transfer", transferColumns)
	updateTransfer = updateOf("transfer", transferColumns)
)

// TransferFilter selects transfers. Its parts are joined by and, but for Active
// and EndedSince, as in Filter. The zero TransferFilter selects every one.
type TransferFilter struct {
	Active     bool      // not ended
	EndedSince time.Time // ended then or later
	Schedule   int64     // ordered by that schedule
	IDs        []backend.TransferID
}

// Transfers returns what f selects, by number.
func (t *Tx) Transfers(f TransferFilter) ([]backend.Transfer, error) {
	var w terms
	w.over(f.Active, f.EndedSince)
	if f.Schedule != 0 {
		w.add("schedule = ?", f.Schedule)
	}
	addIn(&w, "transfer.id", f.IDs)
	return rows(t, "transfer", readTransfer, selectTransfer+w.where()+" ORDER BY transfer.id", w.args...)
}

// Transfer returns one. It wraps backend.ErrNoTransfer.
func (t *Tx) Transfer(id backend.TransferID) (backend.Transfer, error) {
	list, err := t.Transfers(TransferFilter{IDs: []backend.TransferID{id}})
	if err != nil {
		return backend.Transfer{}, err
	}
	if len(list) == 0 {
		return backend.Transfer{}, noTransfer("look up", id)
	}
	return list[0], nil
}

func noTransfer(op string, id backend.TransferID) error {
	return &backend.OpError{Op: op, Target: fmt.Sprintf("transfer %d", id), Err: backend.ErrNoTransfer, Hint: "see berth backup jobs"}
}

// AddTransfer adds a transfer and returns its number; x.ID is not looked at. It
// wraps backend.ErrBusy when the same VM is being backed up to the same
// repository already.
func (t *Tx) AddTransfer(x backend.Transfer) (backend.TransferID, error) {
	vals, err := values(transferColumns, &x)
	if err != nil {
		return 0, err
	}
	r, err := t.execResult(insertTransfer, vals...)
	if err != nil {
		return 0, t.orBacked(&x, err)
	}
	t.dirty |= partTransfers
	id, err := r.LastInsertId()
	if err != nil {
		return 0, err
	}
	return backend.TransferID(id), t.PutProgress(map[backend.TransferID]backend.Progress{backend.TransferID(id): x.Progress})
}

// PutTransfer writes all of a transfer that is there, but for its Progress. It
// wraps backend.ErrNoTransfer, and backend.ErrBusy as AddTransfer does.
func (t *Tx) PutTransfer(x backend.Transfer) error {
	vals, err := values(transferColumns, &x)
	if err != nil {
		return err
	}
	n, err := t.changeIn(partTransfers, updateTransfer, append(vals, int64(x.ID))...)
	if err != nil {
		return t.orBacked(&x, err)
	}
	if n == 0 {
		return noTransfer("change", x.ID)
	}
	return nil
}

// orBacked says which transfer is in the way when err comes from there being
// one.
func (t *Tx) orBacked(x *backend.Transfer, err error) error {
	if !taken(err) {
		return err
	}
	var other int64
	find := t.row("SELECT id FROM transfer WHERE host = ? AND vm = ? AND url = ? AND over = 0 AND kind = 'backup' AND id <> ?",
		x.Spec.VM.Host, x.Spec.VM.UUID.String(), x.Spec.Repo.URL, int64(x.ID))
	if e := find.Scan(&other); e != nil && !errors.Is(e, sql.ErrNoRows) {
		return errors.Join(err, e)
	}
	return &backend.OpError{
		Op: "back up", Target: x.Spec.Name, Err: fmt.Errorf("%w: transfer %d does so already", backend.ErrBusy, other),
		Hint: "wait for it, or cancel it",
	}
}

// PutProgress notes how far transfers are; those that are not there are left
// out. It raises the transfers' revision alone: write all of them at once, and
// not more often than people read.
func (t *Tx) PutProgress(all map[backend.TransferID]backend.Progress) error {
	for _, id := range slices.Sorted(maps.Keys(all)) {
		b, err := json.Marshal(all[id])
		if err != nil {
			return err
		}
		_, err = t.changeIn(partTransfers, "INSERT INTO progress SELECT id, ?1 FROM transfer WHERE id = ?2"+
			" ON CONFLICT (transfer) DO UPDATE SET body = excluded.body WHERE body <> excluded.body", string(b), int64(id))
		if err != nil {
			return err
		}
	}
	return nil
}

// TransferNote is what the engine keeps of a transfer for itself; "" at first.
func (t *Tx) TransferNote(id backend.TransferID) (note string, err error) {
	err = t.row("SELECT note FROM transfer WHERE id = ?", int64(id)).Scan(&note)
	if errors.Is(err, sql.ErrNoRows) {
		return "", noTransfer("look up", id)
	}
	return note, err
}

// SetTransferNote keeps it. No revision rises. It wraps backend.ErrNoTransfer.
func (t *Tx) SetTransferNote(id backend.TransferID, note string) error {
	n, err := t.exec("UPDATE transfer SET note = ? WHERE id = ?", note, int64(id))
	if err == nil && n == 0 {
		return noTransfer("change", id)
	}
	return err
}

// PruneTransfers drops those that ended before that time.
func (t *Tx) PruneTransfers(before time.Time) error {
	_, err := t.changeIn(partTransfers, "DELETE FROM transfer WHERE over = 1 AND ended < ?", instant(before))
	return err
}

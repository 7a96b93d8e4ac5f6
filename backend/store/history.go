package store

import (
	"fmt"
	"time"

	"berth/backend"
)

// History is how long the last runs of a VM and of its owner's VMs took,
// latest first.
type History struct {
	VM    []time.Duration
	Owner []time.Duration
}

// historyLength is how many runs count: "the mean of the last two runs", as
// Tsafrir, Etsion and Feitelson found best (Backfilling Using
// System-Generated Predictions, 2007).
const historyLength = 2

// History returns the last two runs of a VM and of an owner that came to their
// end: the guest shut off, or the limit did it.
func (t *Tx) History(owner string, vm backend.UUID) (h History, err error) {
	if h.VM, err = t.runs("vm", vm.String()); err != nil {
		return h, err
	}
	h.Owner, err = t.runs("owner", owner)
	return h, err
}

func (t *Tx) runs(column, value string) (runs []time.Duration, err error) {
	query := fmt.Sprintf("SELECT ran + ended - last_start FROM job WHERE %s = ? AND state IN ('done', 'timeout')"+
		" AND last_start IS NOT NULL AND ended >= last_start ORDER BY ended DESC, id DESC LIMIT %d", column, historyLength)
	err = t.each(query, []any{value}, func(vals []any) error {
		return as(vals[0], "ran", func(n int64) { runs = append(runs, time.Duration(n)) })
	})
	return runs, err
}

// Prune drops jobs that ended before that time, and events that are older.
// Jobs on which one depends that has not ended stay.
func (t *Tx) Prune(before time.Time) error {
	_, err := t.change("DELETE FROM job WHERE over = 1 AND ended < ? AND id NOT IN"+
		" (SELECT dependency.value FROM job AS waiting, json_each(waiting.follows) AS dependency WHERE waiting.over = 0 AND waiting.follows <> '')",
		instant(before))
	if err != nil {
		return err
	}
	// An earlier berth kept empty settings of jobs that had ended.
	if _, err := t.change("DELETE FROM setting WHERE value = ''"); err != nil {
		return err
	}
	_, err = t.change("DELETE FROM event WHERE at < ?", instant(before))
	return err
}

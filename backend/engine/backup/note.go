package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"berth/backend"
	"berth/backend/store"
)

// note is what must be known of a transfer by whoever goes on with it.
type note struct {
	// Of a backup: what was asked of the host, and when.
	Asked      time.Time `json:"asked,omitzero"` // zero: nothing was
	Checkpoint string    `json:"checkpoint,omitempty"`
	Drop       []string  `json:"drop,omitempty"`
	Base       string    `json:"base,omitempty"` // ID of the point to go on from
	Why        string    `json:"why,omitempty"`  // why there is none
	Token      string    `json:"token,omitempty"`
	At         time.Time `json:"at,omitzero"` // of the session's point
	// XML and Stored are the definitions of that moment: who takes the session up
	// later would read others.
	XML      string `json:"xml,omitempty"`
	Stored   string `json:"stored,omitempty"`
	Manifest string `json:"manifest,omitempty"`
	// Abort: the session is of no use, and is to be ended.
	Abort bool `json:"abort,omitempty"`

	Journal string `json:"journal,omitempty"` // the repository's, for what was stored already

	// Of a restore: what was done to the host, for undoing it.
	Undo []undo `json:"undo,omitempty"`

	VMs []backend.UUID `json:"vms,omitempty"` // of a TransferForget for several

	Made []string `json:"made,omitempty"` // of a copy: the targets that are there

	// What it will end as once the host is clean.
	End   backend.TransferState `json:"end,omitempty"`
	Words string                `json:"words,omitempty"`
	Tries int                   `json:"tries,omitempty"` // to clean up
}

// began reports whether the host may have something of this backup's.
func (n *note) began() bool { return !n.Asked.IsZero() }

// forget drops what belongs to an attempt that is over.
func (n *note) forget() {
	*n = note{Journal: n.Journal, VMs: n.VMs, End: n.End, Words: n.Words, Tries: n.Tries}
}

func parseNote(text string) (n note, err error) {
	if text == "" {
		return n, nil
	}
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return n, fmt.Errorf("%w: a transfer's note: %w", store.ErrCorrupt, err)
	}
	return n, nil
}

func putNote(tx *store.Tx, id backend.TransferID, n note) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return tx.SetTransferNote(id, string(b))
}

// errDies is wrapped by what Options.Fault returns: everything stays as it is.
var errDies = errors.New("the engine dies here")

// at is where tests make the engine die.
func (k *task) at(step string) error {
	if k.o.Fault == nil {
		return nil
	}
	if err := k.o.Fault(step); err != nil {
		return fmt.Errorf("%w: at %s: %w", errDies, step, err)
	}
	return nil
}

// save makes the note last. step names it for tests. What is told of the host
// must last even though the transfer is being cancelled.
func (k *task) save(ctx context.Context, step string) error {
	if err := k.at(step + "/before"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveDeadline)
	defer cancel()
	err := k.update(ctx, func(tx *store.Tx) error { return putNote(tx, k.x.ID, k.n) })
	if err != nil {
		return err
	}
	return k.at(step + "/done")
}

// saveDeadline is how long the store may keep a transfer waiting: others write
// for five seconds at most.
const saveDeadline = 15 * time.Second

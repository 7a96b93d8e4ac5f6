package store

import (
	"time"

	"berth/backend"
)

// Lease is the right to be the engine. The store does not decide who may have
// it (a lock on a file does, which the kernel drops with its holder); it sees
// to it that whoever had it before can write no more.
type Lease struct {
	Epoch   int64 // rises with every holder
	Held    bool  // not given back
	PID     int
	Host    string // the machine the holder runs on
	Since   time.Time
	Beat    time.Time // of the holder's last sign of life
	Trouble string    // what it cannot do now
}

var leaseColumns = []column[Lease]{
	integer("epoch", func(l *Lease) *int64 { return &l.Epoch }),
	flag("held", func(l *Lease) *bool { return &l.Held }),
	integer("pid", func(l *Lease) *int { return &l.PID }),
	text("host", func(l *Lease) *string { return &l.Host }),
	moment("since", func(l *Lease) *time.Time { return &l.Since }),
	moment("beat", func(l *Lease) *time.Time { return &l.Beat }),
	text("trouble", func(l *Lease) *string { return &l.Trouble }),
}

// Lease returns who is the engine, or was last.
func (t *Tx) Lease() (l Lease, err error) {
	err = t.each("SELECT "+names(leaseColumns, "")+" FROM lease", nil, func(vals []any) error {
		return load(leaseColumns, vals, &l)
	})
	return l, err
}

// TakeLease makes holder the engine, whoever was it before, and returns the
// epoch that every later write has to show to CheckLease. The holder's Epoch
// and Held are not looked at.
func (t *Tx) TakeLease(holder Lease) (epoch int64, err error) {
	old, err := t.Lease()
	if err != nil {
		return 0, err
	}
	holder.Epoch, holder.Held = old.Epoch+1, true
	vals, err := values(leaseColumns, &holder)
	if err != nil {
		return 0, err
	}
	_, err = t.change("UPDATE lease SET ("+names(leaseColumns, "")+") = ("+marks(len(leaseColumns))+")", vals...)
	return holder.Epoch, err
}

// CheckLease returns ErrLeaseLost unless epoch is the newest and its lease was
// not given back. In the Update that writes, nobody can take it in between.
func (t *Tx) CheckLease(epoch int64) error {
	l, err := t.Lease()
	if err != nil {
		return err
	}
	if l.Epoch != epoch || !l.Held {
		return &backend.OpError{Op: "go on as the engine", Err: ErrLeaseLost, Hint: "stop this engine; berth queue list shows which one runs"}
	}
	return nil
}

// Beat is a sign of life. It raises the revision only when trouble is another
// than before. It wraps ErrLeaseLost.
func (t *Tx) Beat(epoch int64, at time.Time, trouble string) error {
	if err := t.CheckLease(epoch); err != nil {
		return err
	}
	if _, err := t.change("UPDATE lease SET trouble = ?1 WHERE trouble <> ?1", trouble); err != nil {
		return err
	}
	_, err := t.exec("UPDATE lease SET beat = ?", instant(at))
	return err
}

// DropLease gives the lease back. It wraps ErrLeaseLost.
func (t *Tx) DropLease(epoch int64) error {
	if err := t.CheckLease(epoch); err != nil {
		return err
	}
	_, err := t.change("UPDATE lease SET held = 0, trouble = ''")
	return err
}

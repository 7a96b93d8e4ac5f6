package model

import (
	"slices"
	"time"

	"github.com/robfig/cron/v3"

	"berth/backend"
)

// Freshness is how well a VM is backed up.
type Freshness uint8

// The kinds of freshness, the best first.
const (
	FreshUnused  Freshness = iota // nobody makes backups here
	FreshOK                       // there is a good and recent point
	FreshOld                      // the last good point is too old
	FreshDamaged                  // there are points, and none is good
	FreshNone                     // there is no point
)

var freshWords = [...]string{"", "fresh", "OLD", "DAMAGED", "NONE"}

// String is the word that screens show.
func (f Freshness) String() string { return freshWords[f] }

// Bad reports whether a VM stands out.
func (f Freshness) Bad() bool { return f > FreshOK }

// VMBackup is what there is to restore a VM from.
type VMBackup struct {
	UUID backend.UUID
	Name string
	Host string
	Row  *Row // nil: no connected host has the VM

	Points   []*backend.Point // the latest first
	Good     *backend.Point   // the latest that is not damaged
	Verified *backend.Point   // the latest that was read back and found right
	Damaged  int              // how many points are
	Fresh    Freshness
	Limit    time.Duration // after which Good is too old
	Schedule string        // the name of the schedule that has it next; empty: none
	Next     time.Time     // when
	Stored   int64         // bytes that its points took
}

// Age is how old the last good point is; false when there is none.
func (v *VMBackup) Age(now time.Time) (time.Duration, bool) {
	if v.Good == nil {
		return 0, false
	}
	return max(0, now.Sub(v.Good.At)), true
}

// VerifiedAge is how old the last point is that was verified; false when none was.
func (v *VMBackup) VerifiedAge(now time.Time) (time.Duration, bool) {
	if v.Verified == nil {
		return 0, false
	}
	return max(0, now.Sub(v.Verified.At)), true
}

// judge works out how fresh a VM's backups are as of now.
func (v *VMBackup) judge(used bool, now time.Time) {
	age, good := v.Age(now)
	switch {
	case !used, len(v.Points) == 0 && v.diskless():
		v.Fresh = FreshUnused
	case len(v.Points) == 0:
		v.Fresh = FreshNone
	case !good:
		v.Fresh = FreshDamaged
	case age > v.Limit:
		v.Fresh = FreshOld
	default:
		v.Fresh = FreshOK
	}
	if v.Row == nil && v.Fresh == FreshOld {
		v.Fresh = FreshOK // a VM that is gone needs no new ones
	}
}

// diskless reports whether the VM has nothing that could be backed up.
func (v *VMBackup) diskless() bool {
	return v.Row != nil && !v.Row.FactsAt.IsZero() && v.Row.Disks == 0
}

// take adds a point; they come the latest first.
func (v *VMBackup) take(p *backend.Point) {
	v.Points = append(v.Points, p)
	v.Stored += p.Stored
	switch {
	case p.Damaged != "":
		v.Damaged++
		return
	case v.Good == nil:
		v.Good = p
	}
	if v.Verified == nil && !p.Verified.IsZero() {
		v.Verified = p
	}
}

// byVM gathers what there is to restore every VM from: those that the hosts
// have, and those of which only points are left.
func (s *Backups) byVM() map[backend.UUID]*VMBackup {
	out := make(map[backend.UUID]*VMBackup, len(s.fleet.rows))
	for _, r := range s.fleet.rows {
		if v := out[r.UUID]; v == nil || v.Row.Host > r.Host {
			out[r.UUID] = &VMBackup{UUID: r.UUID, Name: r.Name, Host: r.Host, Row: r, Limit: s.fresh}
		}
	}
	points := make([]*backend.Point, len(s.State.Points))
	for i := range s.State.Points {
		points[i] = &s.State.Points[i]
	}
	if !slices.IsSortedFunc(points, laterPoint) {
		slices.SortStableFunc(points, laterPoint)
	}
	for _, p := range points {
		v := out[p.VM]
		if v == nil {
			v = &VMBackup{UUID: p.VM, Name: p.Name, Host: p.Host, Limit: s.fresh}
			out[p.VM] = v
		}
		v.take(p)
	}
	for i := range s.State.Schedules {
		s.plan(&s.State.Schedules[i], out)
	}
	now, used := s.clock.Now(), s.InUse()
	for _, v := range out {
		v.judge(used, now)
	}
	return out
}

func laterPoint(a, b *backend.Point) int { return b.At.Compare(a.At) }

// plan notes on the VMs of a schedule when it has them next, and how old their
// points may grow.
func (s *Backups) plan(c *backend.Schedule, vms map[backend.UUID]*VMBackup) {
	if c.Disabled {
		return
	}
	limit := c.Fresh
	if limit <= 0 {
		limit = twoIntervals(c, s.clock.Now())
	}
	for _, v := range vms {
		if v.Row == nil || !covers(c, v.Row) {
			continue
		}
		if limit > 0 && (v.Schedule == "" || limit < v.Limit) {
			v.Limit = limit
		}
		if v.Schedule == "" || (!c.Next.IsZero() && c.Next.Before(v.Next)) {
			v.Schedule, v.Next = c.Name, c.Next
		}
	}
}

// twoIntervals is twice the time between two runs of a schedule, or where that
// differs, as over a weekend, the longest and the shortest together; 0 when it
// cannot be told.
func twoIntervals(c *backend.Schedule, now time.Time) time.Duration {
	plan, err := cron.ParseStandard(c.Cron)
	if err != nil {
		return 0
	}
	var most, least time.Duration
	at := plan.Next(now)
	for range 8 {
		next := plan.Next(at)
		if at.IsZero() || next.IsZero() {
			break
		}
		gap := next.Sub(at)
		most = max(most, gap)
		if least == 0 || gap < least {
			least = gap
		}
		at = next
	}
	return most + least
}

// covers reports whether a schedule backs a VM up.
func covers(c *backend.Schedule, r *Row) bool {
	if c.All || c.Tag != "" {
		if len(c.Hosts) > 0 && !slices.Contains(c.Hosts, r.Host) {
			return false
		}
		return c.All || slices.Contains(r.Tags, c.Tag)
	}
	return slices.ContainsFunc(c.VMs, func(k backend.Key) bool { return k.UUID == r.UUID })
}

// RowBackup is what a VM's row says of its backups.
type RowBackup struct {
	Fresh    Freshness
	Good     time.Time // the moment that the last good point is of; zero: there is none
	Verified time.Time // the same of the last verified one
	Next     time.Time
	Schedule string
	Active   string // "backup 42%" while one is under way
}

// Text is the cell of the list of VMs: "5h", "! 3d4h", "! none".
func (b *RowBackup) Text(now time.Time) string {
	text := ""
	switch {
	case b.Active != "":
		return b.Active
	case b.Fresh == FreshUnused:
		return ""
	case b.Fresh == FreshNone:
		text = "none"
	case b.Good.IsZero():
		text = "damaged"
	default:
		text = Duration(max(0, now.Sub(b.Good)))
	}
	if b.Fresh.Bad() {
		return "! " + text
	}
	return text
}

// noteBackups writes on every VM's row what is known of its backups; it
// reports whether anything changed.
func (a *App) noteBackups() (changed bool) {
	s := a.Backups
	if !s.HasData {
		return false
	}
	if s.InUse() {
		a.VMs.need("backup")
	}
	s.NotFresh = 0
	vms := s.Catalogue.vms
	for _, r := range a.Fleet.rows {
		var n RowBackup
		if v := vms[r.UUID]; v != nil {
			n = RowBackup{Fresh: v.Fresh, Next: v.Next, Schedule: v.Schedule}
			if v.Good != nil {
				n.Good = v.Good.At
			}
			if v.Verified != nil {
				n.Verified = v.Verified.At
			}
		}
		if n.Fresh.Bad() {
			s.NotFresh++
		}
		if t := s.Active(r.UUID); t != nil && t.Spec.Kind == backend.TransferBackup {
			n.Active = activeText(t)
		}
		if n != r.Backup {
			r.Backup, changed = n, true
		}
	}
	return changed
}

// rejudgeEvery is how long it is believed how fresh backups are, for they age
// while nothing changes.
const rejudgeEvery = 15 * time.Second

// ageBackups works out anew how fresh backups are when VMs have come or gone,
// or time has.
func (a *App) ageBackups() {
	s, now := a.Backups, a.clock.Now()
	if !s.HasData || (s.known == len(a.Fleet.rows) && now.Sub(s.judged) < rejudgeEvery) {
		return
	}
	s.rebuildCatalogue()
	s.rebuildPoints()
	a.noteBackups()
}

// activeText is how far a backup is, in a narrow column.
func activeText(t *backend.Transfer) string {
	switch f := Fraction(t.Progress.Done, t.Progress.Total); {
	case t.State == backend.TransferPaused:
		return "paused"
	case t.State != backend.TransferRunning:
		return "waits"
	case f < 0:
		return "running"
	default:
		return Percent(100*f) + "%"
	}
}

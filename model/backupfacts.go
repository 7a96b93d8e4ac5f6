package model

import (
	"fmt"
	"strings"
	"time"

	"berth/backend"
	"berth/model/config"
)

// What is known of a transfer, a point, a schedule, line by line, for pages
// that show one of them whole. The lines are cleaned.

func factLine(name, value string) string {
	return fmt.Sprintf("%-11s %s", name, backend.Clean(value))
}

// stamp is a moment in full, in now's time zone; empty for the zero time.
func stamp(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(now.Location()).Format("2006-01-02 15:04:05")
}

// facts gathers lines; those without a value are left out.
type facts struct{ lines []string }

func (f *facts) add(name, value string) {
	if value != "" {
		f.lines = append(f.lines, factLine(name, value))
	}
}

// transferNotice is all that is known of a line of the transfers.
func (a *App) transferNotice(r *TransferRow) *Notice {
	return &Notice{Title: r.Kind() + " of " + r.Name(), Text: strings.Join(a.TransferFacts(r), "\n")}
}

// TransferFacts is what is known of a line of the transfers.
func (a *App) TransferFacts(r *TransferRow) []string {
	if r.Job != nil {
		return jobFacts(r.Job, a.clock.Now())
	}
	t, now := r.Transfer, a.clock.Now()
	p := &t.Progress
	var f facts
	f.add("transfer", fmt.Sprintf("%d, %s, ordered %s by %s", t.ID, t.State, stamp(t.Ordered, now), t.Owner))
	f.add("why", t.Words)
	f.add("next step", a.NextStep(t))
	if p.Total > 0 || p.Done > 0 {
		f.add("done", fmt.Sprintf("%s of %s, %s now, %s mean", Bytes(float64(p.Done)), Bytes(float64(p.Total)), perSecondText(p.Rate), perSecondText(p.Mean)))
	}
	if p.New > 0 {
		f.add("new", fmt.Sprintf("%s, stored in %s%s", Bytes(float64(p.New)), Bytes(float64(p.Out)), ratioText(p.New, p.Out)))
	}
	for _, d := range p.Disks {
		f.add(d.Disk, fmt.Sprintf("%s of %s", Bytes(float64(d.Done)), Bytes(float64(d.Total))))
	}
	f.add("full", p.Why)
	if p.Waits != "" {
		f.add("waits for", p.Waits)
	}
	f.add("repository", t.Spec.Repo.URL)
	f.add("point", t.Point+t.Spec.Restore.Point)
	f.add("new VM", t.Spec.Restore.NewName)
	f.add("pool", t.Spec.Restore.Pool)
	f.add("image", t.Spec.Image.Source)
	f.add("to", strings.Join(t.Spec.Image.Targets, " "))
	f.add("keep", config.RetentionText(t.Spec.Keep))
	f.add("tags", strings.Join(t.Spec.Backup.Tags, " "))
	if t.Spec.Limit > 0 {
		f.add("limit", perSecondText(t.Spec.Limit))
	}
	f.add("started", stamp(t.Started, now))
	f.add("ended", stamp(t.Ended, now))
	if t.Attempts > 1 {
		f.add("attempts", fmt.Sprint(t.Attempts))
	}
	return f.lines
}

func jobFacts(j *backend.DomainJob, now time.Time) []string {
	var f facts
	f.add("job", j.Kind+" of "+j.Name+onDisk(j.Disk)+" on "+j.Host)
	who := "not berth's: virsh, virtnbdbackup or another tool started it"
	if j.Mine {
		who = "berth's, of an engine that this session does not see"
	}
	f.add("whose", who)
	if j.Total > 0 {
		f.add("done", fmt.Sprintf("%s of %s", Bytes(float64(j.Done)), Bytes(float64(j.Total))))
	} else {
		f.add("done", "libvirt does not tell how far it is")
	}
	if j.Rate > 0 {
		f.add("rate", perSecondText(int64(min(j.Rate, 1<<62))))
	}
	if j.Ready {
		f.add("state", "the copy is complete and waits to be ended")
	}
	f.add("since", stamp(j.Since, now))
	return f.lines
}

// perSecondText is a rate in bytes a second, or Unknown.
func perSecondText(n int64) string {
	if n <= 0 {
		return Unknown
	}
	return Bytes(float64(n)) + "/s"
}

func ratioText(fresh, stored int64) string {
	if r := Ratio(fresh, stored); r > 0 {
		return fmt.Sprintf(" (%.1f to 1)", r)
	}
	return ""
}

// PointFacts is what is known of a point.
func PointFacts(p *backend.Point, now time.Time) []string {
	var f facts
	if p.Damaged != "" {
		f.add("DAMAGED", p.Damaged)
	}
	kind := "incremental"
	if p.Full {
		kind = "full"
		if p.Why != "" {
			kind += ": " + p.Why
		}
	}
	f.add("kind", kind)
	how := "while it was off"
	if p.Running {
		how = "while it ran, file systems not frozen"
		if p.Quiesced {
			how = "while it ran, file systems frozen for the instant"
		}
	}
	f.add("taken", fmt.Sprintf("%s, %s, took %s", stamp(p.At, now), how, Duration(p.Took)))
	verified := "never"
	if !p.Verified.IsZero() {
		verified = stamp(p.Verified, now) + ", " + Duration(max(0, now.Sub(p.Verified))) + " ago"
	}
	f.add("verified", verified)
	f.add("size", fmt.Sprintf("%s, %s of it data", Bytes(float64(p.Size)), Bytes(float64(p.Data))))
	f.add("read", Bytes(float64(p.Read)))
	f.add("new", fmt.Sprintf("%s, stored in %s%s", Bytes(float64(p.New)), Bytes(float64(p.Stored)), ratioText(p.New, p.Stored)))
	f.add("tags", strings.Join(p.Tags, " "))
	for _, d := range p.Disks {
		text := fmt.Sprintf("%s %s, %s of data, %s read, %s", Bytes(float64(d.Size)), d.Format, Bytes(float64(d.Data)), Bytes(float64(d.Read)), map[bool]string{true: "full", false: "incremental"}[d.Full])
		if d.Why != "" && d.Why != p.Why {
			text += ": " + d.Why
		}
		f.add(d.Target, text+"  "+d.Path)
	}
	f.add("host", p.Host)
	f.add("owner", p.Owner)
	f.add("repository", p.Repo)
	f.add("ID", p.ID)
	return f.lines
}

// ScheduleFacts is what is known of a schedule.
func ScheduleFacts(c *backend.Schedule, now time.Time) []string {
	var f facts
	state := "runs next " + stamp(c.Next, now)
	switch {
	case c.Disabled:
		state = "disabled: it does not run by itself"
	case c.Next.IsZero():
		state = "does not run again"
	}
	f.add("state", state)
	f.add("when", c.Cron)
	f.add("VMs", WhichVMs(c))
	last := "never"
	if !c.Last.IsZero() {
		last = stamp(c.Last, now) + ", "
		if c.LastBad == "" {
			last += "all went well"
		} else {
			last += "not all went well"
		}
	}
	f.add("last run", last)
	f.add("trouble", c.LastBad)
	if c.Missed > 0 {
		f.add("missed", count(c.Missed, "run")+", caught up by the last")
	}
	f.add("repository", c.Repo.URL)
	f.add("secret", c.Repo.PassphraseFile+c.Repo.IdentityFile)
	keep := config.RetentionText(c.Keep)
	if keep == "" {
		keep = "everything"
	}
	f.add("keep", keep)
	if c.Verify > 0 {
		f.add("verify", fmt.Sprintf("%g%% after each run", c.Verify))
	}
	if c.Limit > 0 {
		f.add("limit", perSecondText(c.Limit))
	}
	if c.Fresh > 0 {
		f.add("fresh", Duration(c.Fresh))
	}
	f.add("tags", strings.Join(c.Backup.Tags, " "))
	f.add("command", c.Command)
	f.add("owner", c.Owner)
	return f.lines
}

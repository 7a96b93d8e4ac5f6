package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/image/repo"
	"berth/model/config"
)

const pointHelp = `POINT is a point's ID or the beginning of it, or VM@TIME for the last one of a VM
until then: web1@2026-01-31, web1@'2026-01-31 22:00', web1@yesterday, web1@-3d.
web1 and web1@latest are its latest. VM is a name, as web1 or hv1/web1, or a UUID.`

// points are those of the repository, newest first, with what is known of them
// from verifying. Those that cannot be read are complained about.
func (a *app) points(ctx context.Context, r *openRepo) ([]backend.Point, error) {
	ms, err := a.manifests(ctx, r)
	if err != nil {
		return nil, err
	}
	marks, err := r.Marks(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]backend.Point, len(ms))
	for i := range ms {
		out[i] = pointOf(&ms[i], r.url, marks[ms[i].ID])
	}
	return out, nil
}

// manifests are the repository's points. What cannot be read holds back no
// other.
func (a *app) manifests(ctx context.Context, r *openRepo) ([]repo.Manifest, error) {
	ms, err := r.Points(ctx)
	if err != nil && (len(ms) == 0 || ctx.Err() != nil) {
		return nil, err
	}
	if err != nil {
		a.complain(err)
	}
	return ms, nil
}

// pointOf is a manifest in the catalogue's words.
func pointOf(m *repo.Manifest, url string, mark repo.Mark) backend.Point {
	p := backend.Point{
		Repo: url, ID: m.ID, VM: m.VM, Name: m.Name, Host: m.Host, Owner: m.Owner, At: m.At, Took: m.Finished.Sub(m.At),
		Full: m.Full, Why: m.Why, Quiesced: m.Quiesced, Running: m.Running, Tags: m.Tags,
		Read: m.Read, New: m.New, Stored: m.Stored, Verified: mark.Verified, Damaged: mark.Damaged,
	}
	for _, d := range m.Disks {
		p.Size += d.Size
		p.Data += d.Data
		p.Disks = append(p.Disks, backend.PointDisk{Target: d.Target, Path: d.Path, Format: d.Format, Size: d.Size, Data: d.Data, Read: d.Read, Full: d.Full, Why: d.Why})
	}
	return p
}

// findPoints finds the points that arguments name, without doubles and in
// their order.
func findPoints(points []backend.Point, args []string, now time.Time) ([]*backend.Point, error) {
	var out []*backend.Point
	var errs []error
	for _, arg := range args {
		p, err := findPoint(points, arg, now)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, errors.Join(errs...)
}

// errNoPoint is a point that is not there.
var errNoPoint = errors.New("no such point")

// findPoint resolves a POINT argument among points, newest first.
func findPoint(points []backend.Point, arg string, now time.Time) (*backend.Point, error) {
	vm, when, timed := cutTime(arg)
	of, err := pointsOf(points, vm)
	if err != nil {
		return nil, err
	}
	if len(of) == 0 {
		if timed {
			return nil, fmt.Errorf("%s: %w: the repository has none of %s; berth backup list shows what there is", backend.Clean(arg), errNoPoint, backend.Clean(vm))
		}
		return pointByID(points, arg)
	}
	if !timed || when == "latest" || when == "" {
		return of[0], nil
	}
	if p, err := pointByID(points, when); err == nil && slices.Contains(of, p) {
		return p, nil
	}
	until, err := parsePast(when, now)
	if err != nil {
		return nil, &usageError{err: fmt.Errorf("%s: %w", backend.Clean(arg), err)}
	}
	for _, p := range of {
		if !p.At.After(until) {
			return p, nil
		}
	}
	first := of[len(of)-1]
	return nil, fmt.Errorf("%s: %w: its first is of %s", backend.Clean(arg), errNoPoint, first.At.Local().Format(time.DateTime))
}

// cutTime cuts VM@TIME at the last @, which names of VMs may hold too.
func cutTime(arg string) (vm, when string, timed bool) {
	i := strings.LastIndexByte(arg, '@')
	if i < 0 {
		return arg, "", false
	}
	return arg[:i], arg[i+1:], true
}

// pointsOf are the points of one VM, newest first: of a name, a UUID, or either
// after its host. A name that several VMs have is refused.
func pointsOf(points []backend.Point, vm string) ([]*backend.Point, error) {
	host, name, qualified := strings.Cut(vm, "/")
	if !qualified {
		host, name = "", vm
	}
	uuid, notUUID := backend.ParseUUID(name)
	var out []*backend.Point
	vms := map[backend.UUID]string{}
	for i := range points {
		p := &points[i]
		if host != "" && p.Host != host || p.Name != name && (notUUID != nil || p.VM != uuid) {
			continue
		}
		out = append(out, p)
		vms[p.VM] = fmt.Sprintf("%s (%s/%s)", p.VM, backend.Clean(p.Host), backend.Clean(p.Name))
	}
	if len(vms) > 1 {
		return nil, fmt.Errorf("%s: %w: say which of the VMs %s", backend.Clean(vm), backend.ErrAmbiguous, strings.Join(slices.Sorted(maps.Values(vms)), ", "))
	}
	return out, nil
}

// minPrefix is how much of an ID has to be given.
const minPrefix = 4

func pointByID(points []backend.Point, prefix string) (*backend.Point, error) {
	var found []*backend.Point
	for i := range points {
		if len(prefix) >= minPrefix && strings.HasPrefix(points[i].ID, strings.ToLower(prefix)) {
			found = append(found, &points[i])
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("%s: %w, and no VM of that name has one; berth backup list shows what there is", backend.Clean(prefix), errNoPoint)
	}
	return nil, fmt.Errorf("%s: %w: %d points begin so; give more of the ID", backend.Clean(prefix), backend.ErrAmbiguous, len(found))
}

const pastForms = "write latest, -2h, yesterday, 2026-01-31, 2026-01-31 22:00, 22:00 or RFC 3339"

// parsePast reads a time gone by, in now's time zone. A day means its end.
func parsePast(s string, now time.Time) (time.Time, error) {
	text := strings.ToLower(strings.Join(strings.Fields(s), " "))
	if span, ok := strings.CutPrefix(text, "-"); ok {
		d, err := config.ParseDuration(span)
		return now.Add(-d), err
	}
	endOf := func(days int) time.Time {
		return time.Date(now.Year(), now.Month(), now.Day()+1+days, 0, 0, 0, -1, now.Location())
	}
	switch text {
	case "now", "today":
		return endOf(0), nil
	case "yesterday":
		return endOf(-1), nil
	}
	if at, err := time.ParseInLocation(time.DateOnly, text, now.Location()); err == nil {
		return at.AddDate(0, 0, 1).Add(-1), nil
	}
	if at, err := time.Parse(time.RFC3339, strings.ToUpper(text)); err == nil {
		return at.Add(time.Second - 1), nil // lists show no fractions
	}
	for _, form := range dayForms {
		at, err := time.ParseInLocation(form, strings.ToUpper(text), now.Location())
		if err == nil && strings.Contains(form, ":05") {
			return at.Add(time.Second - 1), nil
		}
		if err == nil {
			return at.Add(time.Minute - 1), nil
		}
	}
	if hm, err := time.Parse("15:04", text); err == nil {
		at := time.Date(now.Year(), now.Month(), now.Day(), hm.Hour(), hm.Minute(), 59, 0, now.Location())
		if hm := at.Truncate(time.Minute); hm.After(now) {
			at = at.AddDate(0, 0, -1)
		}
		return at, nil
	}
	return time.Time{}, fmt.Errorf("%q is not a time; %s", s, pastForms)
}

package model

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// PoolList are the storage pools of all hosts.
type PoolList struct {
	picker[PoolKey]
	filter textFilter[*backend.Pool]
	byKey  map[PoolKey]*backend.Pool
	all    []*backend.Pool
}

var poolKeys = []textKey[*backend.Pool]{
	{"host", "its host", nil, func(p *backend.Pool) []string { return []string{p.Host} }},
	{"is", "active, inactive, trouble", func() []string { return []string{"active", "inactive", "trouble"} }, poolIs},
	{"name", "its name, with * and ? as wildcards", nil, func(p *backend.Pool) []string { return []string{p.Name} }},
	{"type", "dir, logical, netfs and so on", nil, func(p *backend.Pool) []string { return []string{p.Type} }},
}

// PoolFilterKeys returns the keys of the filter on pools, by name.
func PoolFilterKeys() []FilterKey { return keyHelp(poolKeys) }

func poolIs(p *backend.Pool) []string {
	out := []string{"inactive"}
	if p.Active {
		out[0] = "active"
	}
	if p.Trouble != "" {
		out = append(out, "trouble")
	}
	return out
}

func poolTexts(p *backend.Pool) []string { return []string{p.Name, p.Host, p.Type, p.Path} }

// rebuildPools works out which pools are listed.
func (s *Images) rebuildPools() {
	l := &s.Pools
	l.byKey, l.all = map[PoolKey]*backend.Pool{}, nil
	for _, of := range s.byHost {
		for i := range of.pools {
			p := &of.pools[i]
			l.byKey[PoolKey{p.Host, p.Name}] = p
			l.all = append(l.all, p)
		}
	}
	slices.SortFunc(l.all, func(a, b *backend.Pool) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Name, b.Name))
	})
	var lines []pickLine[PoolKey]
	for _, p := range l.all {
		if l.filter.match(p) {
			lines = append(lines, pickLine[PoolKey]{key: PoolKey{p.Host, p.Name}})
		}
	}
	l.show(lines, func(k PoolKey) bool { return l.byKey[k] != nil })
}

// All are the pools, shown or not, by host and name. The slice is the list's
// own.
func (l *PoolList) All() []*backend.Pool { return l.all }

// Pool returns the pool on a line, or nil.
func (l *PoolList) Pool(line int) *backend.Pool {
	if line < 0 || line >= len(l.lines) {
		return nil
	}
	return l.byKey[l.lines[line].key]
}

// Selected is the selected pool, or nil.
func (l *PoolList) Selected() *backend.Pool {
	if k, ok := l.selected(); ok {
		return l.byKey[k]
	}
	return nil
}

// Marked reports whether a pool is marked.
func (l *PoolList) Marked(k PoolKey) bool { return l.marked(k) }

// PoolFacts is what is known of a pool, line by line.
func PoolFacts(p *backend.Pool) []string {
	var f facts
	f.add("trouble", p.Trouble)
	f.add("host", p.Host)
	f.add("type", p.Type)
	f.add("path", p.Path)
	f.add("state", poolIs(p)[0])
	f.add("autostart", yesNo(p.Autostart))
	if p.Active {
		f.add("capacity", fmt.Sprintf("%s, %s taken, %s free", Bytes(float64(p.Capacity)), Bytes(float64(p.Allocation)), Bytes(float64(p.Available))))
		f.add("volumes", fmt.Sprint(p.Volumes))
	}
	f.add("UUID", p.UUID.String())
	return f.lines
}

// hostStores says why a host's storage cannot be changed, or nil.
func (a *App) hostStores(host string) error {
	h := a.Fleet.HostState(host)
	switch {
	case h == nil:
		return fmt.Errorf("%s is not connected", host)
	case a.opt.ReadOnly || h.Host.ReadOnly():
		return errReadOnly
	case h.Err != nil:
		return fmt.Errorf("%s does not answer", host)
	}
	if _, ok := h.Host.(backend.Storage); !ok {
		return fmt.Errorf("%s: its storage cannot be managed from here", host)
	}
	return nil
}

// poolVerb is something that can be done to a pool.
type poolVerb struct {
	verb               backend.PoolVerb
	label, doing, done string
	warn               string
	typed              bool // the pool's name is to be typed
	back               *poolVerb
	can                func(*backend.Pool) error
}

var (
	errPoolRuns = errors.New("it runs")
	errPoolOff  = errors.New("it does not run")
)

func poolRuns(p *backend.Pool) error {
	if !p.Active {
		return errPoolOff
	}
	return nil
}

func poolOff(p *backend.Pool) error {
	if p.Active {
		return errPoolRuns
	}
	return nil
}

var (
	poolStart   = poolVerb{verb: backend.PoolStart, label: "Start pool", doing: "starting", done: "started", can: poolOff}
	poolStop    = poolVerb{verb: backend.PoolDestroy, label: "Stop pool", doing: "stopping", done: "stopped", can: poolRuns, warn: "Nothing is deleted. VMs that run keep their images open; none can be started from this pool until it runs again."}
	poolRefresh = poolVerb{verb: backend.PoolRefresh, label: "Refresh pool", doing: "refreshing", done: "refreshed", can: poolRuns}
	poolForget  = poolVerb{verb: backend.PoolUndefine, label: "Forget pool", doing: "forgetting", done: "forgotten", can: poolOff, typed: true, warn: "The host forgets the pool. Its images stay where they are."}
	poolAutoOn  = poolVerb{verb: backend.PoolAutostartOn, label: "Autostart", doing: "setting autostart", done: "starts with its host", can: func(*backend.Pool) error { return nil }}
	poolAutoOff = poolVerb{verb: backend.PoolAutostartOff, label: "No autostart", doing: "setting autostart", done: "no longer starts with its host", can: func(*backend.Pool) error { return nil }}
)

func init() { // each takes the other back
	poolAutoOn.back, poolAutoOff.back = &poolAutoOff, &poolAutoOn
	poolStart.back, poolStop.back = &poolStop, &poolStart
}

// poolTargets are the pools that an action is meant for.
func (a *App) poolTargets() []*backend.Pool {
	l := &a.Images.Pools
	var out []*backend.Pool
	for _, k := range l.targets() {
		if p := l.byKey[k]; p != nil {
			out = append(out, p)
		}
	}
	return out
}

func (a *App) poolCan(v *poolVerb, p *backend.Pool) error {
	if err := a.hostStores(p.Host); err != nil {
		return err
	}
	if doing := a.Images.poolBusy[PoolKey{p.Host, p.Name}]; doing != "" {
		return fmt.Errorf("%s already", doing)
	}
	return v.can(p)
}

func (a *App) poolWhy(v *poolVerb) string {
	return noneCan(a.poolTargets(), "no pool is selected", "marked pools", func(p *backend.Pool) error { return a.poolCan(v, p) })
}

// poolDo does a verb to the targets, after a question where it takes something
// away or is meant for several.
func (a *App) poolDo(v *poolVerb) tea.Cmd {
	if a.Images.Pools.slid() {
		a.Images.Pools.Move(0)
		return a.Warn("the selected pool is gone; the same key again acts on the one that is selected now")
	}
	can, left := ableOf(a.poolTargets(), func(p *backend.Pool) string { return p.Name }, func(p *backend.Pool) error { return a.poolCan(v, p) })
	var names []string
	var keys []PoolKey
	for _, p := range can {
		keys, names = append(keys, PoolKey{p.Host, p.Name}), append(names, p.Name+" on "+p.Host)
	}
	names = append(names, left...)
	if len(keys) == 0 {
		return a.Warn(v.label + ": nothing is left that it could be done to")
	}
	if v.warn == "" && len(keys) == 1 {
		return a.poolNow(v, keys)
	}
	c := Confirm{Title: v.label + ": " + backend.Clean(keys[0].Name) + "?", Yes: strings.TrimSuffix(v.label, " pool"), Names: names}
	if len(keys) > 1 {
		c.Title = fmt.Sprintf("%s: %d pools?", v.label, len(keys))
	}
	if v.warn != "" {
		c.Body = []string{v.warn}
	}
	if v.typed {
		c.Danger, c.Type = true, keys[0].Name
		if len(keys) > 1 {
			c.Type = fmt.Sprintf("%d pools", len(keys))
		}
	}
	c.OnYes = func(a *App, _ *Confirm) tea.Cmd { return a.poolNow(v, keys) }
	a.Push(newConfirm(c))
	return nil
}

func (a *App) poolNow(v *poolVerb, keys []PoolKey) tea.Cmd {
	var cmds []tea.Cmd
	for _, k := range keys {
		if p := a.Images.Pools.byKey[k]; p != nil && a.poolCan(v, p) == nil {
			cmds = append(cmds, a.askStorage(poolRequest(v, k)))
		}
	}
	if len(keys) > 1 {
		a.Images.Pools.ClearMarks()
	}
	return tea.Batch(cmds...)
}

func poolRequest(v *poolVerb, k PoolKey) *storageRequest {
	r := &storageRequest{host: k.Host, pool: k, doing: v.doing, done: "pool " + backend.Clean(k.Name) + " on " + backend.Clean(k.Host) + ": " + v.done,
		audit: auditLine{key: backend.Key{Host: k.Host}, verb: "pool " + string(v.verb), detail: k.Name},
		do:    func(ctx context.Context, s backend.Storage) error { return s.PoolDo(ctx, k.Name, v.verb) }}
	if v.back != nil {
		back := *v.back
		back.back = nil
		r.back = poolRequest(&back, k)
	}
	return r
}

// toggleAutostart has pools start with their host, or no longer where all do.
func (a *App) toggleAutostart() tea.Cmd {
	if slices.ContainsFunc(a.poolTargets(), func(p *backend.Pool) bool { return !p.Autostart }) {
		return a.poolDo(&poolAutoOn)
	}
	return a.poolDo(&poolAutoOff)
}

// storageHosts are the hosts whose storage can be changed.
func (a *App) storageHosts() []string {
	var out []string
	for _, h := range a.Fleet.hosts {
		if a.hostStores(h.Host.Name()) == nil {
			out = append(out, h.Host.Name())
		}
	}
	return out
}

func (a *App) newStorageWhy() string {
	if a.ReadOnly() {
		return errReadOnly.Error()
	}
	if len(a.storageHosts()) == 0 {
		return "no connected host lets its storage be managed"
	}
	return ""
}

// newPool opens the form of a pool that is not there yet.
func (a *App) newPool() tea.Cmd {
	hosts := a.storageHosts()
	at := hosts[0]
	if p := a.Images.Pools.Selected(); p != nil && slices.Contains(hosts, p.Host) {
		at = p.Host
	}
	f := &Form{Title: "New pool", Yes: "Make it", Intro: []string{"A pool of type dir: a folder whose files are volumes. The folder is made where it is missing."}, Fields: []Field{
		choiceField("host", "host", hosts, at, "where it is made"),
		textField("name", "name", "", "images", "what it is called", checkVolumeName),
		textField("path", "path", "", "/var/lib/libvirt/images", "the folder, from / on", checkAbsolute),
		switchField("autostart", "autostart", true, "starts with its host"),
	}}
	f.Filled = func(f *Form) error {
		host, name := f.Field("host").Chosen(), f.Field("name").Text()
		if a.Images.Pools.byKey[PoolKey{host, name}] != nil {
			return fmt.Errorf("%s has a pool of that name", host)
		}
		return errors.Join(checkVolumeName(name), checkAbsolute(f.Field("path").Text()))
	}
	f.OnYes = func(a *App, f *Form) tea.Cmd {
		host := f.Field("host").Chosen()
		spec := backend.PoolSpec{Name: f.Field("name").Text(), Path: f.Field("path").Text(), Autostart: f.Field("autostart").On}
		return a.askStorage(&storageRequest{host: host, done: "pool " + backend.Clean(spec.Name) + " on " + host + ": made",
			audit: auditLine{key: backend.Key{Host: host}, verb: "pool define", detail: spec.Name + " " + spec.Path},
			do:    func(ctx context.Context, s backend.Storage) error { return s.DefinePool(ctx, spec) }})
	}
	a.Push(f)
	return nil
}

// checkVolumeName says what is wrong with the name of a pool or a volume.
func checkVolumeName(s string) error {
	switch {
	case s == "":
		return errors.New("a name is missing")
	case strings.ContainsAny(s, "/\x00") || s == "." || s == ".." || backend.Clean(s) != s:
		return errors.New("a name holds no / and no control character")
	}
	return nil
}

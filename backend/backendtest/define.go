package backendtest

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"berth/backend"
)

// undefineRefusesToLoseSavedState unless told to.
func undefineRefusesToLoseSavedState(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	b.needs(backend.VerbSave, backend.VerbUndefine)
	id := b.running()
	b.do(backend.VerbSave, id)
	v := b.await(id, "to be saved", saved)
	if err := b.try(backend.VerbUndefine, id); !f.refused(err) {
		t.Errorf("undefine of a saved domain: %v, want ErrState", err)
	}
	b.same(v, "a refused undefine")
	err := b.h.Do(b.ctx, backend.Action{Verb: backend.VerbUndefine, UUID: id, Delete: backend.UndefineOptions{ManagedSave: true}})
	if err != nil {
		t.Fatalf("undefine with its saved state: %v", err)
	}
	b.awaitGone(id)
}

// renameKeepsTheDomain under its UUID.
func renameKeepsTheDomain(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	b.needs(backend.VerbRename)
	id := b.domain()
	name := freshName()
	if err := b.h.Do(b.ctx, backend.Action{Verb: backend.VerbRename, UUID: id, New: name}); err != nil {
		t.Fatalf("rename: %v", err)
	}
	b.await(id, "to have its new name", func(v *backend.VM) bool { return v.Name == name })
	if xml := b.xml(id, true); !strings.Contains(xml, "<name>"+name+"</name>") {
		t.Errorf("the stored XML does not have the new name:\n%s", xml)
	}
}

func renameRefusesTakenNames(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	b.needs(backend.VerbRename)
	one, two := b.domain(), b.domain()
	v := b.await(one, "to be listed", func(v *backend.VM) bool { return !v.FactsAt.IsZero() })
	other := b.await(two, "to be listed", func(*backend.VM) bool { return true })
	for _, name := range []string{"", "a/b", other.Name} {
		err := b.h.Do(b.ctx, backend.Action{Verb: backend.VerbRename, UUID: one, New: name})
		if !errors.Is(err, backend.ErrInvalid) && !f.refused(err) {
			t.Errorf("rename to %q: %v, want ErrInvalid or ErrState", name, err)
		}
		b.same(v, "a refused rename")
	}
}

func (b *bench) xml(id backend.UUID, stored bool) string {
	b.Helper()
	x, err := b.h.XML(b.ctx, id, stored)
	if err != nil {
		b.Fatalf("XML (stored: %v): %v", stored, err)
	}
	return x
}

// defineAddsAndUpdates what polls show.
func defineAddsAndUpdates(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	name := freshName()
	id := b.define(f.XML(name, "first title", "first description"))
	v := b.await(id, "to be listed with its facts", func(v *backend.VM) bool { return !v.FactsAt.IsZero() })
	if v.Name != name || v.State != backend.Shutoff || !v.Persistent || v.Title != "first title" || v.Description != "first description" {
		t.Errorf("defined as %q: %s, persistent %v, title %q, description %q", v.Name, v.State, v.Persistent, v.Title, v.Description)
	}
	changed := strings.Replace(b.xml(id, true), "first title", "second title", 1)
	again, err := b.definer().Define(b.ctx, changed)
	if err != nil || again != id {
		t.Fatalf("defining it again: %s, %v; want %s", again, err, id)
	}
	b.await(id, "to have its new title", func(v *backend.VM) bool { return v.Title == "second title" })
}

var (
	nameElement   = regexp.MustCompile(`<name>[^<]*</name>`)
	memoryElement = regexp.MustCompile(`<memory[^>]*>[^<]*</memory>`)
	typeAttribute = regexp.MustCompile(`(<domain[^>]*)type=['"][^'"]*['"]`)
)

// defineRefusesBadXML and loses nothing.
func defineRefusesBadXML(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	id := b.domain()
	v := b.await(id, "to be listed", func(v *backend.VM) bool { return !v.FactsAt.IsZero() })
	before := b.xml(id, true)
	count := len(b.poll().VMs)
	fresh := nameElement.ReplaceAllString(f.XML(v.Name, "", ""), "<name>"+freshName()+"</name>")
	for what, bad := range map[string]string{
		"nothing":             "",
		"no XML":              "no XML",
		"an open element":     "<domain type='qemu'><name>x</name>",
		"another document":    "<network><name>x</name></network>",
		"a missing name":      nameElement.ReplaceAllString(fresh, ""),
		"an empty name":       nameElement.ReplaceAllString(fresh, "<name></name>"),
		"a missing memory":    memoryElement.ReplaceAllString(fresh, ""),
		"an unknown type":     typeAttribute.ReplaceAllString(fresh, "${1}type='nosuch'"),
		"a bad edit":          strings.Replace(before, "</domain>", "", 1),
		"a taken name":        f.XML(v.Name, "", "") + "<!-- -->",
		"a type it never was": typeAttribute.ReplaceAllString(before, "${1}type='nosuch'"),
	} {
		if what == "a taken name" {
			bad = withUUID(bad, "0f0e0d0c-0b0a-4908-8706-050403020100")
		}
		got, err := b.definer().Define(b.ctx, bad)
		if err == nil || !errors.Is(err, backend.ErrInvalid) && what != "a taken name" { // of which libvirt says only that it failed
			t.Errorf("Define of %s: %s, %v, want ErrInvalid", what, got, err)
		}
	}
	if after := b.xml(id, true); after != before {
		t.Errorf("the stored XML changed:\n%s\nwas\n%s", after, before)
	}
	b.same(v, "bad definitions")
	if n := len(b.poll().VMs); n != count {
		t.Errorf("%d domains, were %d", n, count)
	}
}

func withUUID(xml, id string) string {
	return nameElement.ReplaceAllString(xml, "$0<uuid>"+id+"</uuid>")
}

// defineWhileRunningDiffers: the live definition stays, the stored one is new.
func defineWhileRunningDiffers(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	id := b.define(f.XML(freshName(), "title of the first start", ""))
	b.do(backend.VerbStart, id)
	b.await(id, "to run", isRunning)
	changed := strings.Replace(b.xml(id, true), "title of the first start", "title of the next start", 1)
	if _, err := b.definer().Define(b.ctx, changed); err != nil {
		t.Fatalf("Define while it runs: %v", err)
	}
	if live := b.xml(id, false); !strings.Contains(live, "title of the first start") {
		t.Errorf("the live XML changed:\n%s", live)
	}
	if stored := b.xml(id, true); !strings.Contains(stored, "title of the next start") {
		t.Errorf("the stored XML did not change:\n%s", stored)
	}
	err := b.settle(func() bool {
		d, err := b.h.Detail(b.ctx, id)
		if err != nil {
			t.Fatalf("Detail: %v", err)
		}
		return d.Differs
	})
	if err != nil {
		t.Errorf("Detail.Differs stayed false: %v", err)
	}
	b.same(b.look(id), "a define")
}

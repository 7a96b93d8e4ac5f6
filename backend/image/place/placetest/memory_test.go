package placetest

import (
	"errors"
	"slices"
	"testing"

	"berth/backend"
	"berth/backend/image/place"
)

func TestMemoryConforms(t *testing.T) {
	Conform(t, func(*testing.T) place.Place { return NewMemory() })
}

func TestFaultlessConforms(t *testing.T) {
	Conform(t, func(*testing.T) place.Place { return NewFaulty(NewMemory(), nil) })
}

func TestMemoryIsFull(t *testing.T) {
	m := NewMemory()
	m.SetRoom(10)
	ok(t, place.Write(t.Context(), m, "a", make([]byte, 6)))
	wants(t, place.Write(t.Context(), m, "b", make([]byte, 6)), backend.ErrNoRoom)
	if room := must(m.Room(t.Context()))(t); room != 4 {
		t.Errorf("room %d", room)
	}
	ok(t, m.Remove(t.Context(), "a"))
	ok(t, place.Write(t.Context(), m, "b", make([]byte, 10)))
}

func TestFaults(t *testing.T) {
	odd := errors.New("odd")
	m := NewMemory()
	f := NewFaulty(m, func(s Step) Fault {
		switch {
		case s.Op == "write" && s.Name == "torn":
			return Fault{Torn: true, Err: odd}
		case s.Op == "commit" && s.Name == "unheard":
			return Fault{After: true, Err: odd}
		case s.Op == "commit" && s.Name == "last":
			return Fault{Crash: true}
		}
		return Fault{}
	})
	wants(t, place.Write(t.Context(), f, "torn", []byte("12345678")), odd)
	wants(t, place.Write(t.Context(), f, "unheard", []byte("12345678")), odd)
	wants(t, place.Write(t.Context(), f, "last", []byte("12345678")), ErrCrashed)
	_, err := f.List(t.Context(), ".")
	wants(t, err, ErrCrashed)
	if got := m.Files(); !slices.Equal(got, []string{"unheard"}) || !f.Crashed() {
		t.Errorf("files %q", got)
	}
	left := must(m.Clone().Drafts(t.Context()))(t)
	if len(left) != 1 || left[0].Size != 8 {
		t.Errorf("left by the crash: %+v", left)
	}
}

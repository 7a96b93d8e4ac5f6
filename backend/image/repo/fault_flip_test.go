package repo

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"berth/backend/image/place/placetest"
)

// Every bit flip in any file is found and named; what it does not touch
// restores, what it touches fails, and nothing is ever restored wrongly.
func TestBitFlips(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		name := map[bool]string{false: "plain", true: "encrypted"}[encrypted]
		t.Run(name, func(t *testing.T) {
			s := newScene(t, encrypted)
			s.whole(t, s.mem.Clone(), s.points)
			r := s.open(t, s.mem)
			if _, err := r.Verify(t.Context(), VerifyOptions{}); err != nil { // so that there are marks
				t.Fatal(err)
			}
			closed(t, r)
			rng := seeded(t)
			for range many(500, 50) {
				flipOnce(t, s, rng)
			}
		})
	}
}

// flipOnce flips one bit; each file has its turn, large ones more often.
func flipOnce(t *testing.T, s *scene, rng *rand.Rand) {
	t.Helper()
	m := s.mem.Clone()
	files := m.Files()
	name := files[rng.IntN(len(files))]
	if rng.IntN(2) == 0 {
		name = byWeight(m, files, rng)
	}
	bit := rng.Int64N(int64(len(m.Content(name))) * 8)
	m.Flip(name, bit)
	r, err := Open(t.Context(), m, s.secret, Options{})
	if err != nil {
		if !strings.Contains(err.Error(), name) && !strings.HasPrefix(name, keysDir) && name != configName {
			t.Fatalf("%s bit %d: %v", name, bit, err)
		}
		return
	}
	defer closed(t, r)
	rep, err := r.Verify(t.Context(), VerifyOptions{})
	if err != nil {
		t.Fatalf("%s bit %d: %v", name, bit, err)
	}
	named, rebuild := false, false
	touched := map[string]bool{}
	for _, d := range rep.Damages {
		named = named || d.File == name
		rebuild = rebuild || d.Rebuild
		for _, touch := range d.Touches {
			touched[touch.Point+" "+touch.Disk+touch.File] = true
		}
	}
	if !named {
		t.Fatalf("%s bit %d was not found: %v", name, bit, rep.Damages)
	}
	if rebuild {
		rep, err := r.Check(t.Context(), CheckOptions{Rebuild: true})
		if err != nil || !rep.OK() {
			t.Fatalf("%s bit %d: rebuilding: %v, %v", name, bit, err, rep.Damages)
		}
	}
	for i := range s.points {
		p := &s.points[i]
		for target := range p.disks {
			err := p.restore(t.Context(), r, target)
			bad := touched[p.m.ID+" "+target] || touched[p.m.ID+" "]
			if errors.Is(err, errWrong) || bad != (err != nil) {
				t.Fatalf("%s bit %d: said to be touched: %v; restoring %s of point %d: %v", name, bit, bad, target, i, err)
			}
		}
		_, err := r.ReadFile(t.Context(), &p.m, p.m.Files[0])
		if bad := touched[p.m.ID+" xml "]; bad != (err != nil) {
			t.Fatalf("%s bit %d: said to be touched: %v; reading the file of point %d: %v", name, bit, bad, i, err)
		}
	}
}

func byWeight(m *placetest.Memory, files []string, rng *rand.Rand) string {
	total := int64(0)
	for _, f := range files {
		total += int64(len(m.Content(f)))
	}
	at := rng.Int64N(total)
	for _, f := range files {
		if at -= int64(len(m.Content(f))); at < 0 {
			return f
		}
	}
	return files[0]
}

package libvirt

import (
	"context"
	"encoding/xml"
	"errors"
	"testing"
)

func TestPoolsOfOneFileSystemCountOnce(t *testing.T) {
	const file, volume = true, false
	for _, c := range []struct {
		name           string
		pools          []pool
		capacity, free uint64
	}{
		{"none", nil, 0, 0},
		{"two directories, one read long ago", []pool{{100, 40, file}, {100, 60, file}}, 100, 40},
		{"two file systems", []pool{{100, 40, file}, {200, 60, file}}, 300, 100},
		{"two volume groups of one size", []pool{{100, 40, volume}, {100, 60, volume}}, 200, 100},
		{"a file system and a volume group of one size", []pool{{100, 40, file}, {100, 60, volume}}, 200, 100},
	} {
		if capacity, free := sumPools(c.pools); capacity != c.capacity || free != c.free {
			t.Errorf("%s: %d of %d free, want %d of %d", c.name, free, capacity, c.free, c.capacity)
		}
	}
}

// sightOf counts how often it is looked at.
type sightOf struct {
	id    string
	err   error
	looks int
}

func (s *sightOf) Boot(ctx context.Context) (string, error) {
	s.looks++
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return s.id, s.err
}

func (s *sightOf) Exists(context.Context, string) (bool, error) { return false, nil }

// The boot is read once a connection, and what cannot be told is not asked
// again, but a caller's haste is no answer.
func TestBootIsReadOnceAConnection(t *testing.T) {
	hasty, cancel := context.WithCancel(t.Context())
	cancel()
	s := &sightOf{id: "first"}
	var b bootID
	if got := b.of(hasty, s); got != "" {
		t.Errorf("a call that had ended says %q", got)
	}
	for range 3 {
		if got := b.of(t.Context(), s); got != "first" {
			t.Errorf("the boot is %q", got)
		}
	}
	if s.looks != 2 {
		t.Errorf("it was looked at %d times", s.looks)
	}
	blind := &sightOf{id: "not to be used", err: errors.New("no shell")}
	var other bootID
	for range 2 {
		if got := other.of(t.Context(), blind); got != "" {
			t.Errorf("a boot that nobody told: %q", got)
		}
	}
	if blind.looks != 1 {
		t.Errorf("a host that does not tell was asked %d times", blind.looks)
	}
}

func TestCapabilitiesTellTypesAndArchitectures(t *testing.T) {
	const text = `<capabilities><guest><arch name='i686'><domain type='qemu'/></arch></guest>
<guest><arch name='x86_64'><domain type='qemu'/><domain type='kvm'/></arch></guest></capabilities>`
	var c capabilitiesXML
	if err := xml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	for _, d := range []struct {
		kind, arch string
		want       bool
	}{{"kvm", "x86_64", true}, {"kvm", "", true}, {"qemu", "i686", true}, {"kvm", "i686", false}, {"xen", "x86_64", false}, {"", "", false}} {
		if got := c.offers(d.kind, d.arch); got != d.want {
			t.Errorf("%s for %s: %v", d.kind, d.arch, got)
		}
	}
}

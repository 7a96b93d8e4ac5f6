package lab

import (
	"os"
	"strings"
	"testing"
)

// TestLabCgroups: guests have shares once they were asked for, also after a
// power cut, and no group is left behind.
func TestLabCgroups(t *testing.T) {
	Need(t)
	if err := CgroupsMissing(); err != nil {
		t.Skip(err)
	}
	l := Start(t, 1)
	h := l.Host(1)
	l.Define(1, Guest{Name: "sharing"})
	if err := h.Cgroups(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		l.Virsh(1, "start", "sharing")
		l.Virsh(1, "schedinfo", "sharing", "--live", "--set", "cpu_shares=512")
		if got := l.Virsh(1, "schedinfo", "sharing"); !strings.Contains(got, ": 512") {
			t.Errorf("schedinfo: %s", got)
		}
		if err := h.Kill(); err != nil {
			t.Fatal(err)
		}
		for _, c := range controllers {
			if _, err := os.Stat(h.cgroup(c)); err == nil {
				t.Errorf("%s is left", h.cgroup(c))
			}
		}
		if err := h.Boot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

package backup

import (
	"strings"
	"testing"

	"berth/backend"
	"berth/backend/image/repo"
)

// What finally failed does not say that it is tried again, and what to do.
func TestWordsOfWhatIsInUse(t *testing.T) {
	r := newRig(t)
	r.vm("web1", true)
	r.known(func(s *fakeState) { s.Sessions["other"] = &fakeSession{VM: "web1", Running: true} })
	r.start()
	x := r.ends(r.backup("web1"), backend.TransferFailed)
	if !strings.Contains(x.Words, "in use: a backup") || strings.Contains(x.Words, "again") || !strings.Contains(x.Words, "virsh domjobabort "+x.Spec.VM.UUID.String()) {
		t.Errorf("it says %q", x.Words)
	}
}

// One is one.
func TestWordsOfOne(t *testing.T) {
	r := newRig(t)
	r.vm("web1", true)
	r.start()
	r.ends(r.backup("web1"), backend.TransferDone)
	r.ends(r.backup("web1"), backend.TransferDone)
	x := r.ends(r.order(backend.TransferSpec{Kind: backend.TransferForget, Name: "repo", Keep: backend.Retention{Last: 1}}), backend.TransferDone)
	if !strings.HasPrefix(x.Words, "1 point forgotten, 1 kept") {
		t.Errorf("it says %q", x.Words)
	}
	for want, report := range map[string]repo.Report{
		"1 chunk of 1 point read back right":                                   {Points: 1, Chunks: 1, Sample: 100},
		"2 chunks (5 % of them, chosen by chance) of 3 points read back right": {Points: 3, Chunks: 2, Sample: 5},
	} {
		if got := verdict(&report); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

package backup

import (
	"fmt"
	"sync"
	"testing"

	"berth/backend"
)

// crowd counts who is at work at once.
type crowd struct {
	mu        sync.Mutex
	now, most int
	full      chan struct{} // closed when so many are there
	once      sync.Once
	want      int
}

func newCrowd(want int) *crowd { return &crowd{want: want, full: make(chan struct{})} }

func (c *crowd) enter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now++
	if c.most = max(c.most, c.now); c.now == c.want {
		c.once.Do(func() { close(c.full) })
	}
}

func (c *crowd) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now--
}

// As many backups of one host, and into one repository, run at once as was said,
// and no more: those at work wait until so many are there, and then stay long
// enough for another turn.
func TestSoManyAtOnce(t *testing.T) {
	for _, c := range []struct {
		name             string
		perHost, perRepo int
		want             int
	}{
		{"per host", 2, 8, 4}, // two on each of two hosts
		{"per repository", 8, 3, 3},
		{"as it comes", 0, 0, 2}, // one a host
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			there := r.beside()
			r.opt.PerHost, r.opt.PerRepo = c.perHost, c.perRepo
			// No disk is opened before so many transfers are at work.
			together := newCrowd(c.want)
			r.opt.Fault = func(step string) error {
				switch step {
				case "begin/before":
					together.enter()
					<-together.full
				case "commit session/done":
					together.leave()
				}
				return nil
			}
			disks := map[string][]byte{"vda": content(1, 1<<20)}
			var ids []backend.TransferID
			for i := range 5 {
				name := fmt.Sprintf("vm%d", i)
				if err := r.host.add(name, true, disks); err != nil {
					t.Fatal(err)
				}
				if err := there.add("b"+name, true, disks); err != nil {
					t.Fatal(err)
				}
				ids = append(ids, r.backup(name), r.backup("b"+name, func(s *backend.TransferSpec) { s.VM.Host = "hv2" }))
			}
			r.start()
			for _, id := range ids {
				r.ends(id, backend.TransferDone)
			}
			if together.most != c.want {
				t.Errorf("%d at once, want %d", together.most, c.want)
			}
		})
	}
}

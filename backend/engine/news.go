package engine

import "berth/backend"

// news knows which readings of hosts tell of which jobs: those that were begun
// after the engine first saw the job, and after the last thing it did to it
// there. What was read before may be about an earlier life of the same VM.
type news struct {
	turn   int64                              // rises whenever there are new jobs
	joined map[backend.JobID]int64            // the turn in which a job was new
	asked  map[string][]asking                // per host: from which reading on which turns' jobs are covered
	acted  map[backend.JobID]map[string]int64 // the reading that tells of an act
}

// asking says that readings from number seq on tell of the jobs of a turn.
type asking struct{ turn, seq int64 }

func newNews() *news {
	return &news{joined: map[backend.JobID]int64{}, asked: map[string][]asking{}, acted: map[backend.JobID]map[string]int64{}}
}

// join takes in the jobs there are, and has the hosts read if one is new.
func (n *news) join(b *book, agents map[string]*agent) {
	fresh := false
	for i := range b.jobs {
		if _, known := n.joined[b.jobs[i].ID]; !known {
			n.joined[b.jobs[i].ID] = n.turn + 1
			fresh = true
		}
	}
	if fresh {
		n.turn++
	}
	for name, a := range agents {
		list := n.asked[name]
		if last := len(list) - 1; last < 0 || list[last].turn < n.turn {
			ask := asking{n.turn, a.lookOnce()}
			if last >= 0 && list[last].seq == ask.seq { // it was not read in between
				list[last] = ask
			} else {
				list = append(list, ask)
			}
		}
		n.asked[name] = settled(list, a.now().seq)
	}
	for name := range n.asked {
		if agents[name] == nil {
			delete(n.asked, name)
		}
	}
	if len(n.joined) > 2*len(b.jobs)+16 {
		n.forget(b)
	}
}

// settled drops what later entries say as well: the last of those that were
// answered covers all before it.
func settled(list []asking, seq int64) []asking {
	for len(list) > 1 && list[1].seq <= seq {
		list = list[1:]
	}
	return list
}

// forget drops jobs that are over.
func (n *news) forget(b *book) {
	for id := range n.joined {
		if !b.active[id] {
			delete(n.joined, id)
			delete(n.acted, id)
		}
	}
}

// act notes that a reading tells of the job from number seq on.
func (n *news) act(id backend.JobID, host string, seq int64) {
	if n.acted[id] == nil {
		n.acted[id] = map[string]int64{}
	}
	n.acted[id][host] = seq
}

// tells reports whether a reading of a host tells of a job.
func (n *news) tells(id backend.JobID, host string, seq int64) bool {
	if seq == 0 || seq < n.acted[id][host] {
		return false
	}
	joined := n.joined[id]
	for _, a := range n.asked[host] {
		if a.turn >= joined {
			return seq >= a.seq
		}
	}
	return false
}

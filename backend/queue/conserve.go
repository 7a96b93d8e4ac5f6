package queue

// maxKept bounds the reservations of a conservative pass. Those behind find no
// reservation of their own, but start when they delay none of those.
const maxKept = 5000

// survey prepares the profiles of all hosts, which a conservative pass keeps up
// to date instead of making them anew for each job.
func (b *board) survey() {
	for i := range b.hosts {
		h := &b.hosts[i]
		h.prof = h.future(b.now, h.prof)
	}
}

// conserve starts a job now if that delays nobody ahead, else gives it the
// earliest reservation there is. One that was promised before only moves
// forward: it gives up its own room and takes the best there is then.
func (b *board) conserve(wi int32) bool {
	started, barred := b.start(wi)
	if barred && !b.preempt(wi) && b.kept < maxKept {
		b.reserve(wi)
	}
	return started
}

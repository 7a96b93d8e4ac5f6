package queue

import "math"

// What shapes the order Aged. The figures were found on the reference traces,
// see the package's documentation, which says how much that means. The margins
// are thin: 0.80 or 0.90 for the first already misses a target.
const (
	// A job's bulk is estimate^0.85 · expect^0.15 · share^0.5: mostly how long it
	// may run, a little how long it probably will, and how much of a host it takes.
	bulkEstimate = 0.85
	bulkExpect   = 0.15
	bulkShare    = 0.5
	// Aged promises a start to a job that has waited for three times its
	// estimate, or for six hours. A promise binds the queue to one job whatever
	// comes; made at once it costs others more than it gives.
	firmEstimates = 3
	firmAge       = 6 * hour
	// octave is how many points of priority double a job's urgency.
	octave = 12.5
	// nicePoint is how much nice takes off one point of priority, as in Priority.
	nicePoint = 100
	// neutral is the priority that changes nothing; maxPoints bounds what nice can do.
	neutral   = 50
	maxPoints = 100
)

// aged is the score of berth's own order: the response ratio of HRRN over the
// bulk of the job instead of its estimate, times its urgency. It grows with age
// without bound, so that everybody gets their turn.
func (b *board) aged(w *waiting) float64 { return w.urgency * b.bulkRatio(w) }

// bulkRatio is the response ratio of w over its bulk.
func (b *board) bulkRatio(w *waiting) float64 { return (float64(b.age(w)) + w.bulk) / w.bulk }

// matured reports whether w has waited long enough to be promised a start.
func (b *board) matured(w *waiting) bool {
	return b.policy.Order != Aged || b.age(w) >= min(firmAge, firmEstimates*min(w.estimate, firmAge))
}

// weigh works out what of w's score does not change with time.
func (b *board) weigh(w *waiting) {
	if b.policy.Order != Aged {
		return
	}
	estimate := math.Log(float64(max(w.estimate, 1)))
	expect := estimate
	if w.job.Expect > 0 {
		expect = math.Log(float64(w.expect()))
	}
	w.bulk = math.Exp(bulkEstimate*estimate + bulkExpect*expect + bulkShare*math.Log(max(b.share(&w.job.Size), 1e-6)))
	w.urgency = 1
	if points := float64(w.job.Priority) - neutral - float64(w.job.Nice)/nicePoint; points != 0 {
		w.urgency = math.Exp2(max(-maxPoints, min(points, maxPoints)) / octave)
	}
}

package queue

import "math"

// What shapes the order Aged. The figures were found on the reference traces,
// see the package's documentation; the targets hold in a neighbourhood of them.
const (
	// overdue is the age from which a job goes before all younger ones, so that
	// none waits without bound.
	overdue = 44 * hour
	// firmAge is the age from which Aged makes promises. A promise binds the
	// queue to one job whatever comes; made at once it costs more than it gives.
	firmAge = 6 * hour
	// A job weighs estimate^0.8 · expect^0.2 · share^0.7: mostly what it may
	// take, a little what it probably will, and how much of a host it takes.
	bulkEstimate = 0.8
	bulkExpect   = 0.2
	bulkShare    = 0.7
	// octave is how many points of priority double a job's urgency.
	octave = 12.5
	// nicePoint is how much nice takes off one point of priority, as in Priority.
	nicePoint = 100
	// overdueScore lifts overdue jobs above all ratios.
	overdueScore = 1e15
)

// aged is the score of berth's own order: the response ratio of HRRN over the
// bulk of the job instead of its estimate, times its urgency; and by age, times
// urgency, once that makes it overdue.
func (b *board) aged(w *waiting) float64 {
	age := float64(b.age(w)) * w.urgency
	if age >= float64(overdue) {
		return overdueScore + age
	}
	return w.urgency * (float64(b.age(w)) + w.bulk) / w.bulk
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
	w.bulk = math.Exp(bulkEstimate*estimate + bulkExpect*expect +
		bulkShare*math.Log(max(b.share(&w.job.Size), 1e-6)))
	w.urgency = 1
	if points := float64(w.job.Priority) - neutral - float64(w.job.Nice)/nicePoint; points != 0 {
		w.urgency = math.Exp2(max(-maxPoints, min(points, maxPoints)) / octave)
	}
}

// neutral is the priority that changes nothing; maxPoints bounds what nice can do.
const (
	neutral   = 50
	maxPoints = 100
)

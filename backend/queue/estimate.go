package queue

// minute and hour in Time's unit.
const (
	minute Time = 60
	hour        = 60 * minute
)

// ladder is by how much a job that outlives its estimate is extended, step by
// step: Tsafrir, Etsion, Feitelson, "Backfilling using system-generated
// predictions", 2007, section 4.2.
var ladder = [...]Time{
	1 * minute, 5 * minute, 15 * minute, 30 * minute,
	1 * hour, 2 * hour, 5 * hour, 10 * hour, 20 * hour, 50 * hour, 100 * hour,
}

// Estimate is how long a job is believed to run at most: what its owner said;
// else the limit at which it is stopped; else the mean of the last two runs
// (the latest first, of the same owner's or template's jobs), capped by the
// limit. limit and told are 0 when there is none. Without anything to go by it
// is Never.
func Estimate(told, limit Time, last []Time) Time {
	e := told
	if e <= 0 {
		e = limit
	}
	if e <= 0 {
		e = Predict(last)
	}
	if e <= 0 {
		return Never
	}
	if limit > 0 {
		e = min(e, limit)
	}
	return e
}

// Predict is how long a job will probably run: the mean of the last two runs
// of its kind; 0 when there is none.
func Predict(last []Time) Time {
	switch len(last) {
	case 0:
		return 0
	case 1:
		return max(last[0], 1)
	}
	return max((last[0]+last[1])/2, 1)
}

// Extend is what to believe of the end of a job that should have ended at end:
// end itself while that lies ahead, else the first rung of Tsafrir's ladder
// after now. steps is how many rungs that took.
func Extend(end, now Time) (believed Time, steps int) {
	for end <= now {
		end += ladder[min(steps, len(ladder)-1)]
		steps++
	}
	return end, steps
}

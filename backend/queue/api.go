package queue

// Schedule is one full pass over the queue: what starts now, what is put aside,
// for whom room is kept, and of every waiting job why it waits.
func Schedule(in Input) Plan { return Plan{Jobs: make([]Verdict, len(in.Jobs))} }

// Forecast is when and where a job is expected to start; At is Never when that
// cannot be told.
type Forecast struct {
	At   Time
	Host int // -1: not known
}

// Project plays the policy forward over the believed ends of what runs and the
// estimates of what waits, and says when each of in.Jobs would start. Unlike a
// promise it changes when new jobs come. It plays on until the first limit jobs
// of the queue's order have started (0: all); of the others it knows nothing.
func Project(in Input, limit int) []Forecast { return make([]Forecast, len(in.Jobs)) }

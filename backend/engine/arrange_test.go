package engine

import (
	"fmt"
	"testing"
	"time"

	"berth/backend"
)

func TestWaitingJobsStandInTheOrderOfTheirStarts(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	jobs := []backend.Job{
		{ID: 1, State: backend.JobDone, Ended: now.Add(-time.Hour)},
		{ID: 2, State: backend.JobHeld, Position: 5},
		{ID: 3, State: backend.JobReserved, Position: 1, ETA: now.Add(time.Hour)},
		{ID: 4, State: backend.JobQueued, Position: 3, ETA: now.Add(time.Minute)}, // overtakes
		{ID: 5, State: backend.JobQueued, Position: 2, ETA: now.Add(time.Hour)},
		{ID: 6, State: backend.JobRunning},
		{ID: 7, State: backend.JobQueued, Position: 4},
		{ID: 8, State: backend.JobQueued}, // submitted a moment ago
		{ID: 9, State: backend.JobDone, Ended: now},
	}
	arrange(jobs)
	var got []backend.JobID
	for _, j := range jobs {
		got = append(got, j.ID)
	}
	if want := "[6 4 3 5 7 2 8 9 1]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

package queue

import (
	"fmt"
	"slices"
	"strings"

	"berth/backend"
)

// Order says which waiting job comes first. Ties go to the earlier submit
// time, then to the lower ID.
type Order string

// The orders.
const (
	FCFS     Order = "fcfs"     // by submit time
	SJF      Order = "sjf"      // by estimate, the shortest first
	HRRN     Order = "hrrn"     // by (wait + estimate) / estimate, the highest first
	Priority Order = "priority" // by Slurm's multifactor form
	Aged     Order = "aged"     // berth's own, see the package's documentation
)

// Backfill says which jobs may overtake the one at the head of the queue.
type Backfill string

// The kinds of backfill.
const (
	NoBackfill   Backfill = "none"
	EASY         Backfill = "easy"         // those that do not delay the head, in the queue's order
	SJBF         Backfill = "sjbf"         // the same, the shortest first
	Conservative Backfill = "conservative" // those that delay nobody: every job holds a reservation
)

// Placement says which of the hosts that a job fits takes it.
type Placement string

// The placements.
const (
	FirstFit Placement = "first" // the first in the order of the hosts
	BestFit  Placement = "best"  // the one with the least left over
	WorstFit Placement = "worst" // the one with the most left over
	DotFit   Placement = "dot"   // the one whose free room points most in the direction of the job's demand
	Snug     Placement = "snug"  // berth's own, see the package's documentation
)

// Policy is how a queue is run.
type Policy struct {
	Order     Order
	Backfill  Backfill
	Placement Placement
	Preempt   bool // important jobs put preemptible ones aside
	NPlus1    bool // any one host's VMs must find room on the others
	// Firm lets the queue make promises, and keep them: a job that was promised
	// a start stays at the head until it starts, whatever the order says of
	// others by then. Aged promises to jobs that have waited for a while,
	// the other orders to every head. Without Firm, which is what the
	// reference figures of SJF, HRRN and Priority mean, the head has a
	// reservation while it is the head, and may lose it to a better one.
	Firm bool
}

// Default is the policy that does best on the reference traces; see the
// package's documentation for the figures.
func Default() Policy {
	return Policy{Order: Aged, Backfill: SJBF, Placement: Snug, Firm: true}
}

// Orders returns every order, the default first.
func Orders() []Order { return []Order{Aged, FCFS, SJF, HRRN, Priority} }

// Backfills returns every kind of backfill, the default first.
func Backfills() []Backfill { return []Backfill{SJBF, EASY, Conservative, NoBackfill} }

// Placements returns every placement, the default first.
func Placements() []Placement { return []Placement{Snug, FirstFit, BestFit, WorstFit, DotFit} }

// Parse makes a firm Policy of the words in p; empty ones are the default's.
// An unknown word is an error that names the words there are.
func Parse(p backend.QueuePolicy) (Policy, error) {
	out := Default()
	out.Preempt, out.NPlus1 = p.Preempt, p.NPlus1
	return out, firstError(
		set(&out.Order, p.Order, "order", Orders()),
		set(&out.Backfill, p.Backfill, "backfill", Backfills()),
		set(&out.Placement, p.Placement, "placement", Placements()))
}

// Words is the policy in the words that Parse reads.
func (p Policy) Words() backend.QueuePolicy {
	return backend.QueuePolicy{
		Order: string(p.Order), Backfill: string(p.Backfill), Placement: string(p.Placement),
		Preempt: p.Preempt, NPlus1: p.NPlus1,
	}
}

// set puts word into to if it is one of known.
func set[T ~string](to *T, word, what string, known []T) error {
	if word == "" {
		return nil
	}
	w := T(strings.ToLower(word))
	if !slices.Contains(known, w) {
		return fmt.Errorf("%w: no %s is called %q; there are %v", backend.ErrInvalid, what, word, known)
	}
	*to = w
	return nil
}

// firstError is the first that is not nil.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

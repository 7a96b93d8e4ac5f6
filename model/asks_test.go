package model

import (
	"testing"

	"berth/backend"
)

// The confirm setting may spare the question before an interruption, never the
// one before a loss.
func TestLossIsAlwaysAskedAbout(t *testing.T) {
	for _, lossOnly := range []bool{false, true} {
		a := &App{opt: Options{AskLossOnly: lossOnly}}
		for _, i := range backend.Verbs() {
			want := i.Risk >= backend.RiskLoss || i.Risk == backend.RiskInterrupt && !lossOnly && i.Verb != backend.VerbSuspend
			if a.asks(i.Verb) != want {
				t.Errorf("confirm only losses %v: %s asks %v", lossOnly, i.Verb, !want)
			}
		}
	}
}

package cli

import (
	"fmt"
	"strings"
	"time"

	"berth/backend"
	"berth/model"
)

// subject is the VM of a transfer, or what it is.
func subject(t *backend.Transfer) string {
	if t.Spec.Name != "" {
		return backend.Clean(t.Spec.Name)
	}
	return fmt.Sprintf("%s %d", t.Spec.Kind, t.ID)
}

// doneText reads "web1: backed up in 12s: 1.3G read, 320M new, 120M stored
// (2.7×); point 3fa21b0c9d12".
func doneText(t *backend.Transfer) string {
	p := &t.Progress
	word := map[backend.TransferKind]string{backend.TransferBackup: "backed up", backend.TransferRestore: "restored",
		backend.TransferVerify: "verified", backend.TransferForget: "forgotten by its rules", backend.TransferCopy: "copied", backend.TransferConvert: "converted"}[t.Spec.Kind]
	text := subject(t) + ": " + word
	if !t.Started.IsZero() && t.Ended.After(t.Started) {
		text += " in " + spent(t.Ended.Sub(t.Started))
	}
	switch t.Spec.Kind {
	case backend.TransferBackup:
		text += fmt.Sprintf(": %s read, %s new, %s stored%s", model.Bytes(float64(p.Done)), model.Bytes(float64(p.New)), model.Bytes(float64(p.Out)), ratioText(p, " (", ")"))
		if t.Point != "" {
			text += "; point " + shortID(t.Point)
		}
		if p.Why != "" {
			text += "; full: " + p.Why
		}
	default:
		if p.Total > 0 {
			text += ": " + model.Bytes(float64(p.Done))
		}
	}
	if t.Words != "" {
		text += "; " + t.Words
	}
	return backend.Clean(text)
}

// spent is how long something took, with a tenth where that matters.
func spent(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return model.Duration(d)
}

// lostText says what failed and what to do.
func lostText(t *backend.Transfer) string {
	text := fmt.Sprintf("%s: %s", subject(t), t.State)
	if t.Words != "" && t.Words != string(t.State) {
		text += ": " + t.Words
	}
	if t.State == backend.TransferFailed {
		text += fmt.Sprintf("; when that is put right: berth backup retry %d", t.ID)
	}
	return text
}

func ratioText(p *backend.Progress, before, after string) string {
	if p.New <= 0 || p.Out <= 0 {
		return ""
	}
	return fmt.Sprintf("%s%.1f×%s", before, float64(p.New)/float64(p.Out), after)
}

// progressText is where a transfer is, on a line that is not drawn anew.
func progressText(t *backend.Transfer, now time.Time) string {
	parts := append([]string{subject(t) + ": " + stageText(t, now)}, figures(t)...)
	return strings.Join(parts, "  ")
}

// stageText is what a transfer is doing, or why it does nothing.
func stageText(t *backend.Transfer, now time.Time) string {
	text := string(t.State)
	switch {
	case t.Cancel:
		text = "cancelling"
	case t.State == backend.TransferRunning && t.Progress.Phase != "":
		text = string(t.Progress.Phase)
		if t.Progress.Disk != "" {
			text += " " + t.Progress.Disk
		}
	case t.Words != "":
		text += ": " + t.Words
	}
	if t.State == backend.TransferWaiting && t.NextTry.After(now) {
		text += "; again in " + model.Duration(t.NextTry.Sub(now))
	}
	return backend.Clean(text)
}

// figures are the amounts of a transfer that runs.
func figures(t *backend.Transfer) []string {
	p := &t.Progress
	if t.State != backend.TransferRunning && t.State != backend.TransferPaused || p.Done == 0 && p.Total == 0 {
		return nil
	}
	var out []string
	if p.Total > 0 {
		out = append(out, fmt.Sprintf("%.0f%%", 100*float64(p.Done)/float64(p.Total)), model.Bytes(float64(p.Done))+"/"+model.Bytes(float64(p.Total)))
	} else {
		out = append(out, model.Bytes(float64(p.Done)))
	}
	return append(out, pace(t)...)
}

// pace is how fast it goes, and when it will be done.
func pace(t *backend.Transfer) []string {
	p := &t.Progress
	var out []string
	if t.State == backend.TransferRunning && p.Rate > 0 {
		text := model.Rate(float64(p.Rate)) + "/s"
		if p.Mean > 0 {
			text += " (mean " + model.Rate(float64(p.Mean)) + "/s)"
		}
		out = append(out, text)
	}
	if t.State == backend.TransferRunning && p.ETA > 0 {
		out = append(out, model.Duration(p.ETA)+" left")
	}
	if r := ratioText(p, "", ""); r != "" {
		out = append(out, r)
	}
	return out
}

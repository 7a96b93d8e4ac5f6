package cli

import (
	"berth/backend"
	"berth/backend/image/repo"
)

// reportRecord is what verify and check found, in JSON.
type reportRecord struct {
	Repo     string         `json:"repo"`
	OK       bool           `json:"ok"`
	At       *string        `json:"at"`
	Took     *float64       `json:"took_s"`
	Packs    int            `json:"packs"`
	Points   int            `json:"points"`
	Chunks   int            `json:"chunks"`
	Read     int64          `json:"read_bytes"`
	Sample   float64        `json:"sample_percent"`
	Seed     uint64         `json:"seed"`
	Verified []string       `json:"verified"`
	Damages  []damageRecord `json:"damages"`
	Notes    []noteRecord   `json:"notes"`
}

type damageRecord struct {
	Kind    string        `json:"kind"`
	File    string        `json:"file"`
	Offset  int64         `json:"offset"`
	Length  int64         `json:"length"`
	What    string        `json:"what"`
	Rebuild bool          `json:"rebuild"`
	Touches []touchRecord `json:"touches"`
}

type touchRecord struct {
	Point  string  `json:"point"`
	Name   string  `json:"name"`
	UUID   string  `json:"uuid"`
	At     *string `json:"at"`
	Disk   string  `json:"disk"`
	File   string  `json:"file"`
	Offset int64   `json:"offset"`
	Length int64   `json:"length"`
}

type noteRecord struct {
	Kind string `json:"kind"`
	File string `json:"file"`
	Size int64  `json:"size_bytes"`
	What string `json:"what"`
}

func newReportRecord(r *repo.Report) reportRecord {
	rec := reportRecord{
		Repo: r.Repo, OK: r.OK(), At: stamp(r.At), Took: spanSeconds(r.Took), Packs: r.Packs, Points: r.Points, Chunks: r.Chunks, Read: r.Bytes,
		Sample: r.Sample, Seed: r.Seed, Verified: cleanAll(r.Verified), Damages: make([]damageRecord, len(r.Damages)), Notes: make([]noteRecord, len(r.Notes)),
	}
	for i, d := range r.Damages {
		rec.Damages[i] = damageRecord{string(d.Kind), backend.Clean(d.File), d.Offset, d.Length, backend.Clean(d.What), d.Rebuild, make([]touchRecord, len(d.Touches))}
		for j, t := range d.Touches {
			rec.Damages[i].Touches[j] = touchRecord{t.Point, backend.Clean(t.Name), t.VM.String(), stamp(t.At), backend.Clean(t.Disk), backend.Clean(t.File), t.Offset, t.Length}
		}
	}
	for i, n := range r.Notes {
		rec.Notes[i] = noteRecord{backend.Clean(n.Kind), backend.Clean(n.File), n.Size, backend.Clean(n.What)}
	}
	return rec
}

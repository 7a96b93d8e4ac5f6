package cli

import (
	"strings"
	"time"

	"berth/backend"
	"berth/backend/image/repo"
)

// Retain says of points why a retention keeps them, by their IDs; those that
// are not in it would be forgotten.
func Retain(points []backend.Point, keep backend.Retention) map[string]string {
	manifests := make([]repo.Manifest, len(points))
	for i := range points {
		p := &points[i]
		manifests[i] = repo.Manifest{ID: p.ID, VM: p.VM, Name: p.Name, At: p.At, Tags: p.Tags}
	}
	kept := map[string]string{}
	for _, r := range repo.Retain(manifests, keep, time.Now()) {
		if r.Keep() {
			kept[r.Point.ID] = strings.Join(r.Why, ", ")
		}
	}
	return kept
}

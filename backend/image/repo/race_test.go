//go:build race

package repo

func init() { raceDetector = true }

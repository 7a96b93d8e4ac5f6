package demo

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// BenchmarkPoll is one poll of a host with so many machines a second after
// the last one, with the story's going on.
func BenchmarkPoll(b *testing.B) {
	for _, n := range []int{24, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f, clock := newFleet(b, Options{Seed: 1, Hosts: 1, VMs: n, Calm: true})
			h := f.Hosts()[0]
			b.ReportAllocs()
			for b.Loop() {
				clock.Advance(time.Second)
				if _, err := h.Poll(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTick is the going on of the story by one tick.
func BenchmarkTick(b *testing.B) {
	for _, n := range []int{24, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f, _ := newFleet(b, Options{Seed: 1, VMs: n})
			for b.Loop() {
				if err := f.advance(context.Background(), f.now+f.tick); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkNew is the making of a fleet.
func BenchmarkNew(b *testing.B) {
	for _, n := range []int{24, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				newFleet(b, Options{Seed: 1, VMs: n})
			}
		})
	}
}

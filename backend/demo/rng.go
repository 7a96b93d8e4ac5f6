package demo

import (
	"math"
	"math/rand/v2"
)

// The purposes for which streams of chance are drawn. Each thing in the fleet
// has one stream a purpose, so that what one draws never shifts another.
const (
	streamBuild uint64 = iota + 1
	streamLoad
	streamLife
	streamActions
	streamIncidents
	streamNames
	streamImages
)

// chance is a stream of random numbers.
type chance struct{ pcg rand.PCG }

// newChance returns the stream of one thing for one purpose.
func newChance(seed, purpose, thing uint64) chance {
	var c chance
	c.pcg.Seed(mix(seed^purpose<<56), mix(thing+purpose))
	return c
}

// mix spreads neighbouring seeds over the whole range (SplitMix64's finaliser,
// Steele, Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// unit is uniform in [0, 1).
func (c *chance) unit() float64 { return float64(c.pcg.Uint64()>>11) / (1 << 53) }

// between is uniform in [a, b).
func (c *chance) between(a, b float64) float64 { return a + (b-a)*c.unit() }

// below is uniform in 0..n-1.
func (c *chance) below(n int) int { return int(c.unit() * float64(n)) }

// happens is true with probability p.
func (c *chance) happens(p float64) bool { return c.unit() < p }

// exp is exponentially distributed with the given mean, cut at four means.
func (c *chance) exp(mean float64) float64 {
	return min(-mean*math.Log(1-c.unit()), 4*mean)
}

// delay is uniform between two numbers of seconds.
func (c *chance) delay(a, b float64) storyTime { return seconds(c.between(a, b)) }

// noises draws two roughly bell-shaped numbers in (-1, 1) from one draw of the
// generator: each is the mean of two uniform 16-bit numbers.
func (c *chance) noises() (float64, float64) {
	u := c.pcg.Uint64()
	const full = 1 << 16
	a := float64(u&0xffff) + float64(u>>16&0xffff)
	b := float64(u>>32&0xffff) + float64(u>>48)
	return a/full - 1, b/full - 1
}

// pick is one of list.
func pick[T any](c *chance, list []T) T { return list[c.below(len(list))] }

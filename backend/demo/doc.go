// Package demo is a simulated fleet behind the interfaces of package backend,
// for trying berth without a hypervisor and for testing what is above it.
//
// Nothing in it is a canned screen. Virtual machines have roles and sizes;
// people's requests, which follow the hour of the day, drive the web tiers,
// and these drive the databases behind them; hosts have so many CPUs, so
// much memory and so fast a disk, and guests that ask for more than that wait.
// Counters are integrals of the resulting rates.
//
// # Time
//
// The fleet lives in story time, which begins at New and passes Options.Speed
// times as fast as the Clock. Loads change at ticks, events happen at their
// own moments, and between the two every rate is constant. The story is
// advanced lazily, by whoever calls, always through the same ticks and events:
// what a poll finds does not depend on when or how often others polled. All
// times that are handed out are the Clock's, and rates are per second of it,
// so that figures look right at any speed.
//
// # Chance
//
// Every virtual machine, service and host draws from generators of its own,
// seeded from Options.Seed and its place in the fleet (PCG, math/rand/v2). The
// same seed and the same actions at the same moments give the same story.
package demo

package backendtest

import (
	"context"
	"testing"
	"time"

	"berth/backend"
)

// Fixture is one backend under test, and what its guests can do.
type Fixture struct {
	// Open makes a Host, which the suite closes. All the Hosts it makes may
	// share their domains.
	Open func(t testing.TB) backend.Host
	// OpenReadOnly makes one that must refuse every change; nil leaves its
	// cases out.
	OpenReadOnly func(t testing.TB) backend.Host
	// XML is a valid definition, without a UUID, of a domain of that name. The
	// title and description may hold any character that XML allows; they are
	// not escaped yet. The suite defines, starts, and at its end deletes it.
	XML func(name, title, description string) string
	// Transient starts a domain that has no stored definition, with something
	// of its own to remove it at the test's end; nil leaves its cases out.
	Transient func(t testing.TB, h backend.Host) backend.UUID

	// Lacks says, by verb, why the hypervisor or its guests cannot do it.
	Lacks map[backend.Verb]string
	// GuestObeys is set when the guests that XML describes have a system that
	// powers off when it is asked to.
	GuestObeys bool
	// HasAgent is set when these guests have a guest agent that connects.
	HasAgent bool
	// NoCounters says why running domains have no CPU counter; empty: they have.
	NoCounters string
	// NoScreenshot says why there are no pictures of displays; empty: there are.
	NoScreenshot string
	// NoLog says why no QEMU logs can be had; empty: they can.
	NoLog string
	// NoShares says why running domains have no CPU shares; empty: they have.
	NoShares string
	// NoBoot says why nobody knows which boot of the host this is; empty: it is known.
	NoBoot string
	// NoImages says why nobody looks whether a disk image is there; empty: it is found out.
	NoImages string
	// WithDisk is XML with a disk of at least 8 MiB that can be backed up, vda, a
	// qcow2 image that is there; nil: what XML describes has one.
	WithDisk func(t testing.TB, name string) string
	// NoBackups says why domains cannot be backed up; empty: they can.
	NoBackups string
	// NoStorage says why the host's pools and files are not to be tried;
	// empty: they are.
	NoStorage string
	// NoEvents says why the host tells nothing; empty: it does.
	NoEvents string
	// VagueErrors says why the driver's refusals do not tell their reason, so
	// that they cannot be known as ErrState; empty: they can.
	VagueErrors string
	// VagueReasons says why the reasons of states are not libvirt's usual ones;
	// empty: they are.
	VagueReasons string
	// OneAtATime says why many calls at once cannot be tried; empty: they can.
	OneAtATime string
	// Console is a talk on a serial console; nil leaves its cases out.
	Console *Talk

	// Strict is set when the host itself refuses all that Verb.Check refuses.
	// Without it the host may accept what is harmless, as libvirt accepts
	// pausing a paused domain.
	Strict bool
	// Within is how long a transition may take; zero: 20 seconds.
	Within time.Duration
	// EventWithin is how long after Do returned its event may come; zero: 300 ms.
	EventWithin time.Duration
	// Settle waits until done; nil waits for events and polls in real time.
	Settle func(ctx context.Context, h backend.Host, done func() bool) error
}

// Talk is what a person types at a guest's console and what must come back.
type Talk struct {
	// Guest starts a guest to talk to; nil: a domain of Fixture.XML.
	Guest func(t testing.TB, h backend.Host) backend.UUID
	// Prompt is what the guest prints without being asked; may be empty.
	Prompt string
	// Type is typed, and Reply must then be read.
	Type, Reply string
}

// Run runs every case as a subtest.
func Run(t *testing.T, f Fixture) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, &f) })
	}
}

// cases of the suite, by name.
var cases = []struct {
	name string
	run  func(*testing.T, *Fixture)
}{
	{"PollIsWellFormed", pollIsWellFormed},
	{"PollFillsInFacts", pollFillsInFacts},
	{"SampleIsWellFormed", sampleIsWellFormed},
	{"CountersNeverGoBack", countersNeverGoBack},
	{"FiguresNameTheirDomains", figuresNameTheirDomains},
	{"DetailAgreesWithPoll", detailAgreesWithPoll},
	{"VerbsReachTheirStates", verbsReachTheirStates},
	{"ForbiddenVerbsChangeNothing", forbiddenVerbsChangeNothing},
	{"TransientDomainsVanish", transientDomainsVanish},
	{"UndefineRefusesToLoseSavedState", undefineRefusesToLoseSavedState},
	{"RenameKeepsTheDomain", renameKeepsTheDomain},
	{"RenameRefusesTakenNames", renameRefusesTakenNames},
	{"DefineAddsAndUpdates", defineAddsAndUpdates},
	{"DefineRefusesBadXML", defineRefusesBadXML},
	{"DefineWhileRunningDiffers", defineWhileRunningDiffers},
	{"UnknownUUIDs", unknownUUIDs},
	{"ReadOnlyRefusesEveryChange", readOnlyRefusesEveryChange},
	{"EventsTellOfTransitions", eventsTellOfTransitions},
	{"WatchEndsWithItsContext", watchEndsWithItsContext},
	{"CancelledCallsReturn", cancelledCallsReturn},
	{"ConcurrentCalls", concurrentCalls},
	{"CloseEndsEverything", closeEndsEverything},
	{"ConsoleTalks", consoleTalks},
	{"ConsoleIsHeldByOne", consoleIsHeldByOne},
	{"ConsoleEndsWithItsContext", consoleEndsWithItsContext},
	{"ConsoleNeedsARunningDomain", consoleNeedsARunningDomain},
	{"ScreenshotIsAPicture", screenshotIsAPicture},
	{"LogTailIsBounded", logTailIsBounded},
	{"CapacityIsWellFormed", capacityIsWellFormed},
	{"SharesAreOfTheRunningDomain", sharesAreOfTheRunningDomain},
	{"ReachTellsWhatIsMissing", reachTellsWhatIsMissing},
	{"BackupOfARunningDomain", backupOfARunningDomain},
	{"BackupsGoOnFromEachOther", backupsGoOnFromEachOther},
	{"BackupOfADomainThatIsOff", backupOfADomainThatIsOff},
	{"LeftoversAreCleanedUp", leftoversAreCleanedUp},
	{"PoolsAreMadeAndEnded", poolsAreMadeAndEnded},
	{"ImagesAreMadeAndDeleted", imagesAreMadeAndDeleted},
	{"DisksOfDomainsAreNotDeleted", disksOfDomainsAreNotDeleted},
	{"ImagesAppearWhole", imagesAppearWhole},
	{"HostFilesAreWhole", hostFilesAreWhole},
	{"VolumesAreStreamed", volumesAreStreamed},
	{"GuestNeedsAnAgent", guestNeedsAnAgent},
	{"HostileStringsComeOutClean", hostileStringsComeOutClean},
}

package demo

// Sizes in bytes.
const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// drive says what sets a role's load.
type drive uint8

const (
	bySteady  drive = iota // always about the same
	byService              // the requests people send to its service
	byJobs                 // jobs that come and go
	byNight                // one long job in the small hours
	byDesk                 // a person at it, in office hours
	byBatch                // its one job, for as long as it runs
)

// role is what a machine is for, and so how it behaves. What it reads,
// writes, receives and sends at load 1 is per two vCPUs, so that big machines do
// more.
type role struct {
	key   string // in names and tags
	title string // one %s: the service or team
	oses  []string
	vcpus []int
	ram   []int // GiB
	disk  []int // GiB
	drive drive

	idle     float64 // CPU of one core when nothing is asked of it
	cpu      float64 // share of its vCPUs at load 1
	read     float64 // bytes a second at load 1
	write    float64
	readSize float64 // bytes a request
	wrtSize  float64
	flush    float64 // flushes per write
	rx, tx   float64 // bytes a second at load 1
	mem      float64 // share of its memory at load 0
	memLoad  float64 // and what load 1 adds

	onSeconds, offSeconds float64 // byJobs: how long jobs and pauses last
	median, spread        float64 // byBatch: seconds of a run, and the deviation of their logarithm
	ignoresACPI           bool    // its power button does nothing
	noAgent               bool
	noConsole             bool
	bigBoot               bool // it reads much when it boots
}

var (
	serverOS  = []string{"debian12", "ubuntu24.04", "rhel9.4", "alpinelinux3.20", "opensuse15.6"}
	debianish = []string{"debian12", "ubuntu24.04"}
	windowsOS = []string{"win2k22", "win2k19"}
)

// roles by key.
var roles = roleTable([]role{
	{key: "lb", title: "%s: load balancer", oses: serverOS, vcpus: []int{2}, ram: []int{2}, disk: []int{10}, drive: byService,
		idle: .01, cpu: .35, write: 20 * kib, wrtSize: 8 * kib, rx: 1.1 * mib, tx: 9 * mib, mem: .22, memLoad: .1},
	{key: "web", title: "%s: web front end", oses: serverOS, vcpus: []int{2, 2, 4}, ram: []int{4, 4, 8}, disk: []int{20}, drive: byService,
		idle: .015, cpu: .55, read: 90 * kib, write: 60 * kib, readSize: 24 * kib, wrtSize: 12 * kib, flush: .1, rx: 600 * kib, tx: 4 * mib, mem: .35, memLoad: .25},
	{key: "app", title: "%s: application server", oses: serverOS, vcpus: []int{4, 4, 8}, ram: []int{8, 16}, disk: []int{40}, drive: byService,
		idle: .03, cpu: .5, read: 60 * kib, write: 90 * kib, readSize: 16 * kib, wrtSize: 12 * kib, flush: .15, rx: 900 * kib, tx: 800 * kib, mem: .5, memLoad: .2},
	{key: "db", title: "%s: PostgreSQL", oses: debianish, vcpus: []int{4, 8}, ram: []int{16, 32}, disk: []int{200, 400}, drive: byService,
		idle: .03, cpu: .38, read: 5.5 * mib, write: 3.2 * mib, readSize: 11 * kib, wrtSize: 14 * kib, flush: .35, rx: 500 * kib, tx: 1.4 * mib, mem: .72, memLoad: .08, bigBoot: true},
	{key: "cache", title: "%s: Valkey", oses: serverOS, vcpus: []int{2}, ram: []int{8, 16}, disk: []int{10}, drive: byService,
		idle: .02, cpu: .3, write: 40 * kib, wrtSize: 32 * kib, rx: 2 * mib, tx: 5 * mib, mem: .7, memLoad: .05},
	{key: "queue", title: "%s: message queue", oses: serverOS, vcpus: []int{2, 4}, ram: []int{4, 8}, disk: []int{60}, drive: byService,
		idle: .04, cpu: .25, read: 300 * kib, write: 2 * mib, readSize: 32 * kib, wrtSize: 16 * kib, flush: .5, rx: 1.5 * mib, tx: 1.5 * mib, mem: .4, memLoad: .2},
	{key: "mail", title: "Mail of %s", oses: debianish, vcpus: []int{4}, ram: []int{8}, disk: []int{300}, drive: byDesk,
		idle: .04, cpu: .22, read: 500 * kib, write: 700 * kib, readSize: 14 * kib, wrtSize: 10 * kib, flush: .4, rx: 200 * kib, tx: 250 * kib, mem: .5, memLoad: .15},
	{key: "dns", title: "DNS and DHCP", oses: serverOS, vcpus: []int{1}, ram: []int{1}, disk: []int{8}, drive: bySteady,
		idle: .01, cpu: .06, write: 6 * kib, wrtSize: 6 * kib, rx: 40 * kib, tx: 70 * kib, mem: .3, memLoad: .05},
	{key: "git", title: "Git and code review", oses: debianish, vcpus: []int{4}, ram: []int{8, 16}, disk: []int{250}, drive: byDesk,
		idle: .05, cpu: .35, read: 1.6 * mib, write: 400 * kib, readSize: 28 * kib, wrtSize: 18 * kib, flush: .3, rx: 200 * kib, tx: 1.5 * mib, mem: .45, memLoad: .2},
	{key: "ci", title: "CI worker", oses: debianish, vcpus: []int{4, 8}, ram: []int{8, 16}, disk: []int{100}, drive: byJobs,
		idle: .02, cpu: .9, read: 2 * mib, write: 3 * mib, readSize: 40 * kib, wrtSize: 60 * kib, flush: .05, rx: 1.2 * mib, tx: 150 * kib, mem: .2, memLoad: .55, onSeconds: 140, offSeconds: 110, bigBoot: true},
	{key: "build", title: "Package builder", oses: serverOS, vcpus: []int{8, 16}, ram: []int{16, 32}, disk: []int{200}, drive: byJobs,
		idle: .02, cpu: .96, read: 900 * kib, write: 1.6 * mib, readSize: 64 * kib, wrtSize: 90 * kib, flush: .03, rx: 300 * kib, tx: 60 * kib, mem: .18, memLoad: .5, onSeconds: 420, offSeconds: 260},
	{key: "backup", title: "Backup server", oses: debianish, vcpus: []int{4}, ram: []int{8}, disk: []int{2000}, drive: byNight,
		idle: .02, cpu: .6, read: 1.5 * mib, write: 22 * mib, readSize: 128 * kib, wrtSize: 512 * kib, flush: .02, rx: 22 * mib, tx: 300 * kib, mem: .35, memLoad: .3},
	{key: "monitor", title: "Metrics and alerts", oses: serverOS, vcpus: []int{4}, ram: []int{16}, disk: []int{300}, drive: bySteady,
		idle: .1, cpu: .3, read: 400 * kib, write: 1.4 * mib, readSize: 60 * kib, wrtSize: 48 * kib, flush: .1, rx: 700 * kib, tx: 120 * kib, mem: .6, memLoad: .15},
	{key: "log", title: "Log store", oses: debianish, vcpus: []int{4}, ram: []int{16}, disk: []int{500}, drive: bySteady,
		idle: .1, cpu: .35, read: 900 * kib, write: 4.5 * mib, readSize: 96 * kib, wrtSize: 64 * kib, flush: .15, rx: 2.4 * mib, tx: 200 * kib, mem: .65, memLoad: .15},
	{key: "vpn", title: "VPN gateway (appliance)", oses: []string{"openbsd7.5", "freebsd14.1"}, vcpus: []int{2}, ram: []int{2}, disk: []int{16}, drive: byDesk,
		idle: .02, cpu: .3, write: 8 * kib, wrtSize: 8 * kib, rx: 1.6 * mib, tx: 1.6 * mib, mem: .25, memLoad: .1, ignoresACPI: true, noAgent: true},
	{key: "dc", title: "Active Directory", oses: windowsOS, vcpus: []int{2, 4}, ram: []int{8}, disk: []int{80}, drive: byDesk,
		idle: .09, cpu: .18, read: 250 * kib, write: 300 * kib, readSize: 20 * kib, wrtSize: 16 * kib, flush: .3, rx: 60 * kib, tx: 90 * kib, mem: .55, memLoad: .1, noConsole: true},
	{key: "desk", title: "Desktop of %s", oses: []string{"win11", "fedora40", "ubuntu24.04"}, vcpus: []int{4}, ram: []int{8}, disk: []int{120}, drive: byDesk,
		idle: .06, cpu: .3, read: 700 * kib, write: 350 * kib, readSize: 30 * kib, wrtSize: 20 * kib, flush: .2, rx: 300 * kib, tx: 90 * kib, mem: .5, memLoad: .2, noConsole: true},
	{key: "ml", title: "Model training", oses: []string{"ubuntu24.04"}, vcpus: []int{8, 16}, ram: []int{32, 64}, disk: []int{400}, drive: byJobs,
		idle: .03, cpu: .85, read: 6 * mib, write: 500 * kib, readSize: 256 * kib, wrtSize: 256 * kib, rx: 200 * kib, tx: 60 * kib, mem: .25, memLoad: .6, onSeconds: 1500, offSeconds: 600},
	{key: "test", title: "Test machine", oses: serverOS, vcpus: []int{1, 2}, ram: []int{1, 2}, disk: []int{10}, drive: byDesk,
		idle: .01, cpu: .2, read: 100 * kib, write: 60 * kib, readSize: 16 * kib, wrtSize: 12 * kib, rx: 30 * kib, tx: 20 * kib, mem: .3, memLoad: .2},
})

func roleTable(list []role) map[string]*role {
	m := make(map[string]*role, len(list))
	for i := range list {
		m[list[i].key] = &list[i]
	}
	return m
}

// osNames maps libosinfo's short ids to what a guest calls itself.
var osNames = map[string]struct{ pretty, kernel string }{
	"debian12":        {"Debian GNU/Linux 12 (bookworm)", "6.1.0-25-amd64"},
	"ubuntu24.04":     {"Ubuntu 24.04.1 LTS", "6.8.0-45-generic"},
	"rhel9.4":         {"Red Hat Enterprise Linux 9.4 (Plow)", "5.14.0-427.el9.x86_64"},
	"alpinelinux3.20": {"Alpine Linux v3.20", "6.6.52-0-virt"},
	"opensuse15.6":    {"openSUSE Leap 15.6", "6.4.0-150600.23-default"},
	"fedora40":        {"Fedora Linux 40 (Workstation Edition)", "6.10.11-200.fc40.x86_64"},
	"openbsd7.5":      {"OpenBSD 7.5", "GENERIC.MP#82"},
	"freebsd14.1":     {"FreeBSD 14.1-RELEASE", "14.1-RELEASE"},
	"win2k22":         {"Microsoft Windows Server 2022", "10.0.20348"},
	"win2k19":         {"Microsoft Windows Server 2019", "10.0.17763"},
	"win11":           {"Microsoft Windows 11", "10.0.22631"},
}

// services that people use, in the order in which a growing fleet adds them.
var serviceNames = []string{"shop", "billing", "wiki", "search", "api", "crm", "maps", "video", "chat", "tickets", "auth", "stock", "press", "forum", "survey", "reports"}

// people whose desktops and test machines run here.
var people = []string{"ada", "linus", "grace", "dennis", "barbara", "ken", "margaret", "edsger", "radia", "niklaus"}

// member is one place in a block of the fleet.
type member struct {
	role    string
	service int    // which of the block's services; -1: none
	env     string // tag
	power   power  // how it is found when the story begins
}

// power is what a machine does when the story begins.
type power uint8

const (
	powerAny power = iota // on, unless the host has too many
	powerOn
	powerOff
	powerPaused
	powerSaved
	powerAsleep
)

// block is the fleet's pattern: the first 24 machines, then again and again
// for other services.
var block = []member{
	{"web", 0, "prod", powerOn}, {"db", 0, "prod", powerOn}, {"lb", 0, "prod", powerOn}, {"vpn", -1, "prod", powerOn},
	{"log", -1, "prod", powerOn}, {"build", -1, "staging", powerOn}, {"test", -1, "dev", powerOn}, {"web", 0, "prod", powerOn},
	{"app", 1, "staging", powerOn}, {"ml", -1, "dev", powerSaved}, {"mail", -1, "prod", powerOn}, {"ci", -1, "staging", powerOn},
	{"cache", 0, "prod", powerAny}, {"db", 1, "staging", powerAny}, {"dns", -1, "prod", powerOn}, {"dc", -1, "prod", powerAny},
	{"desk", -1, "dev", powerAsleep}, {"git", -1, "prod", powerAny}, {"web", 1, "staging", powerAny}, {"backup", -1, "prod", powerAny},
	{"web", 0, "prod", powerAny}, {"monitor", -1, "prod", powerAny}, {"queue", 1, "staging", powerPaused}, {"test", -1, "dev", powerOff},
}

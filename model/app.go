package model

import (
	"context"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
	"berth/backend/audit"
)

// ScreenID names a screen.
type ScreenID uint8

// The screens. ScreenDetail and ScreenJob are one VM and one job of the queue,
// ScreenPoints the points in time of one VM: enter opens them, esc leaves them.
// ScreenCatalogue and ScreenSchedules are tabs beside ScreenBackups, ScreenPools
// is one beside ScreenImages.
const (
	ScreenVMs ScreenID = iota
	ScreenHosts
	ScreenEvents
	ScreenQueue
	ScreenBackups
	ScreenCatalogue
	ScreenSchedules
	ScreenImages
	ScreenPools
	ScreenDetail
	ScreenJob
	ScreenPoints
	ScreenConnect
)

var screenNames = [...]string{"VMs", "Hosts", "Events", "Queue", "Backups", "Catalogue", "Schedules", "Images", "Pools", "VM", "Job", "Points", "Connect"}

// String is the screen's title.
func (s ScreenID) String() string { return screenNames[s] }

// Terminal is what the model may ask of the terminal it runs in. The methods
// return commands or take effect between two frames; none blocks.
type Terminal interface {
	// Exec hands the terminal to a command and takes it back when it ends.
	Exec(c tea.ExecCommand, done tea.ExecCallback) tea.Cmd
	// Write sends an out-of-band sequence, such as OSC 52.
	Write(seq string)
	// SetMouse turns mouse reports on or off.
	SetMouse(on bool)
	// Repaint draws everything anew.
	Repaint()
}

// Attempt is one connection that was tried at the start and failed.
type Attempt struct {
	URI string
	Err error
}

// Settings are what a person can change while berth runs and keep with :save.
type Settings struct {
	Theme   string
	Columns []string
	SortBy  string
	Desc    bool
	Filter  string
	Mouse   bool
	Refresh time.Duration
}

// Options are what an App is made from.
type Options struct {
	Hosts    []backend.Host
	Attempts []Attempt // failures to show when Hosts is empty
	Demo     bool
	ReadOnly bool
	Version  string
	Warnings []error // of the start, to be shown once
	Settings Settings
	Themes   []string // names that :theme offers
	Keys     map[string]string
	Editor   []string // command and arguments; the file is appended
	SSHUser  string
	PicDir   string // where screenshots go
	// AskLossOnly leaves out the question before verbs that only interrupt a
	// single VM's service.
	AskLossOnly bool
	Trail       *audit.Trail
	Terminal    Terminal

	// Queue is where VMs wait for a berth; nil when there is none, for the
	// reason QueueErr.
	Queue    backend.Queue
	QueueErr error
	// QueueWords are the policy's words that the scheduler knows.
	QueueWords QueueWords

	// Backups is where backups and works on images are ordered; nil when there
	// is none, for the reason BackupsErr.
	Backups    backend.Backups
	BackupsErr error
	// BackupRepos are repositories that the config names; BackupFresh is after
	// which time a VM without a newer backup stands out, where its schedule does
	// not say (0: DefaultFresh); BackupLimit and BackupKeep are what forms begin
	// with.
	BackupRepos []backend.RepoRef
	BackupFresh time.Duration
	BackupLimit int64
	BackupKeep  backend.Retention
	// HandOver puts a passphrase where the engine finds it, for one transfer, and
	// says how it is removed when nothing was ordered; nil: none can be typed.
	HandOver func(passphrase []byte) (file string, undo func() error, err error)
	// Retain says which points a retention keeps, for the preview of forgetting;
	// nil: none is shown.
	Retain Retain

	Clock Clock // the zero Clock is the wall's

	// Connect makes a host from a URI, named unlike those in names, for the
	// connect page and :connect.
	Connect func(uri string, names []string) (backend.Host, error)
	// StartDemo makes the demo fleet and its queue, for the connect page.
	StartDemo func() ([]backend.Host, backend.Queue)
	// DemoBackups makes the backups of the demo fleet, once StartDemo has made
	// that; may be nil.
	DemoBackups func() backend.Backups
	// Save keeps the settings.
	Save func(Settings) (path string, err error)
	// HostThemes are themes by host name, from the config.
	HostThemes map[string]string
	// HostFrames are the looks of the frame lines by host name, as
	// themes.ParseStyle reads them.
	HostFrames map[string]string
}

// App is the whole program's state: the fleet, the screens, what lies over
// them. It is written only in Update.
type App struct {
	ctx   context.Context
	quit  context.CancelFunc
	clock Clock
	opt   Options
	term  Terminal

	Fleet  *Fleet
	Tasks  *Tasks
	VMs    *VMs
	Hosts  *Hosts
	Events *EventLog
	Detail *Detail
	Queue  *Queue
	Job    JobPage

	Backups    *Backups
	Images     *Images
	pointsFrom ScreenID // where the points of a VM were opened

	Screen   ScreenID
	last     ScreenID // for "-"
	Overlays []Overlay
	Palette  *Palette // the ":" line while it is open
	Line     *Line    // the "/" line while it is open
	Status   Toast
	toasts   int

	Theme    string
	Mouse    bool
	ShowCost bool
	costing  bool // a reading is armed
	Cost     Cost
	Attempts []Attempt
	Connect  Notice // the scrolled text of the page that says why no host answers
	Demo     bool
	Width    int
	Height   int

	added      []backend.Host  // hosts that joined while berth ran
	connecting map[string]bool // by URI
	demoHosts  map[string]bool
	// demoBackups are those of a demo that was started from the connect page.
	demoBackups backend.Backups
	trails      *trails
	disabled    disabledCache
	fromHost    *string  // the filter before a host's VMs were opened from the hosts
	history     []string // commands of the palette, newest last
	themed      bool     // a theme was chosen while berth ran
	actions     []Action
	byKey       map[string][]*Action
	undo        *undoStep
	logGen      int       // of the last question for the queue's log
	flash       time.Time // when the next flash ends
}

// flashEnd redraws when a row has flashed long enough.
type flashEnd struct{}

// NewApp makes the program's state; nothing is asked of any host before Init.
func NewApp(ctx context.Context, opt Options) *App {
	ctx, cancel := context.WithCancel(ctx)
	if opt.Settings.Refresh == 0 {
		opt.Settings.Refresh = time.Second
	}
	if opt.Clock.Now == nil {
		opt.Clock = WallClock()
	}
	a := &App{ctx: ctx, quit: cancel, clock: opt.Clock, opt: opt, term: opt.Terminal, Width: 80, Height: 24}
	a.Fleet = NewFleet(ctx, opt.Clock, opt.Hosts, opt.Settings.Refresh)
	a.connecting, a.demoHosts = map[string]bool{}, map[string]bool{}
	for _, h := range opt.Hosts {
		a.demoHosts[h.Name()] = opt.Demo
	}
	a.trails = &trails{real: opt.Trail, demo: func(host string) bool { return a.demoHosts[host] }}
	a.Tasks = NewTasks(ctx, opt.Clock, a.Fleet, a.trails)
	a.VMs = NewVMs(a.Fleet, opt.Settings.Columns, opt.Settings.SortBy, opt.Settings.Desc)
	a.Hosts = NewHosts(a.Fleet)
	a.Events = NewEventLog()
	a.Detail = NewDetail(ctx, opt.Clock, a.Fleet)
	a.Queue = NewQueue(ctx, opt.Clock, opt.Queue, opt.QueueErr)
	a.Backups = NewBackups(ctx, opt.Clock, a.Fleet, opt.Backups, opt.BackupsErr, opt.BackupFresh)
	a.Images = NewImages(ctx, opt.Clock, a.Fleet)
	a.opt.QueueWords = defaultWords(opt.QueueWords)
	a.Theme, a.Mouse, a.Demo, a.Attempts = opt.Settings.Theme, opt.Settings.Mouse, opt.Demo, opt.Attempts
	a.actions = actionTable()
	a.bindKeys(opt.Keys)
	if opt.Settings.Filter != "" {
		if err := a.VMs.SetFilter(opt.Settings.Filter); err != nil {
			a.Warn(err.Error())
		}
	}
	for _, w := range opt.Warnings {
		a.Warn(w.Error())
		a.Events.Add(LogEntry{At: a.clock.Now(), Level: LevelWarn, Kind: "berth", Text: w.Error()})
	}
	if len(opt.Hosts) == 0 {
		a.Screen = ScreenConnect
	}
	return a
}

// Now is the App's clock.
func (a *App) Now() time.Time { return a.clock.Now() }

// Init begins to poll.
func (a *App) Init() tea.Cmd { return tea.Batch(a.Fleet.Init(), a.Queue.Init(), a.Backups.Init()) }

// Version is the program's version.
func (a *App) Version() string { return a.opt.Version }

// ReadOnly reports whether every verb is refused on every host.
func (a *App) ReadOnly() bool {
	for _, s := range a.Fleet.hosts {
		if !s.Host.ReadOnly() {
			return false
		}
	}
	return a.opt.ReadOnly || len(a.Fleet.hosts) > 0
}

// ThemeOf is the theme in force: the one of the only host's config entry, or
// else the chosen one.
func (a *App) ThemeOf() string {
	if len(a.Fleet.hosts) == 1 && !a.themed {
		if t := a.opt.HostThemes[a.Fleet.hosts[0].Host.Name()]; t != "" {
			return t
		}
	}
	return a.Theme
}

// HostFrames are the looks of frames that the config gives to hosts, by name.
func (a *App) HostFrames() map[string]string { return a.opt.HostFrames }

// HostTheme is the theme that the config gives a host, or "".
func (a *App) HostTheme(host string) string { return a.opt.HostThemes[host] }

// Update takes every message of the program.
func (a *App) Update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case tea.KeyMsg:
		return a.typed(m)
	case toastEnd:
		if m.n == a.toasts {
			a.Status = Toast{}
		}
		return nil
	case flashEnd:
		return nil
	case taskMsg, taskTick:
		return a.onTask(m)
	case detailMsg, guestMsg, xmlMsg, logMsg, detailTick:
		_, cmd := a.Detail.Update(m)
		return cmd
	case costTick:
		return readCost
	case costMsg:
		return a.onCost(m)
	case resultMsg:
		return a.onResult(m)
	case queueMsg, queueTick:
		return a.onQueue(m)
	case backupsMsg, backupsTick, backupDone, hostJobsMsg, hostJobsTick, leftoversMsg, leftoversTick:
		return a.onBackups(m)
	case storageMsg, storageTick:
		return a.Images.Update(m)
	case explainMsg:
		return a.onExplain(m)
	case requestMsg:
		return a.onRequest(m)
	case logReadMsg:
		return a.onLogRead(m)
	case previewTick:
		return a.onPreviewTick(m)
	case previewMsg:
		return a.onPreview(m)
	}
	return a.onFleet(msg)
}

func (a *App) onFleet(msg tea.Msg) tea.Cmd {
	change, cmd := a.Fleet.Update(msg)
	cmds := []tea.Cmd{cmd}
	for _, e := range change.Events {
		a.Events.AddEvent(e)
	}
	if change.Hosts {
		a.showReach()
	}
	if change.Rows {
		ended, cmd := a.Tasks.Polled()
		cmds = append(cmds, cmd, a.ended(ended), a.flashes())
		a.noteRows()
		a.ageBackups()
		a.noteBackups()
		a.VMs.Rebuild()
		a.want()
	}
	return tea.Batch(cmds...)
}

// want tells the fleet whose figures the screen shows.
func (a *App) want() {
	switch a.Screen {
	case ScreenVMs:
		a.Fleet.Want(a.VMs.Wanted())
	case ScreenDetail:
		a.Fleet.Want([]backend.Key{a.Detail.Key})
	default:
		a.Fleet.Want(nil)
	}
}

// flashes arms one redraw for when the rows that changed have flashed.
func (a *App) flashes() tea.Cmd {
	now := a.clock.Now()
	if now.Before(a.flash) {
		return nil
	}
	for _, r := range a.Fleet.rows {
		if r.Flashing(now) {
			a.flash = r.FlashUntil
			return a.clock.After(r.FlashUntil.Sub(now)+time.Millisecond, flashEnd{})
		}
	}
	return nil
}

// typed takes keys one by one: what is typed fast, or through a slow line,
// arrives as one message of several runes.
func (a *App) typed(k tea.KeyMsg) tea.Cmd {
	if k.Type != tea.KeyRunes || len(k.Runes) < 2 || k.Paste {
		return a.key(k)
	}
	var cmds []tea.Cmd
	for _, r := range k.Runes {
		cmds = append(cmds, a.key(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}, Alt: k.Alt}))
	}
	return tea.Batch(cmds...)
}

// key gives a key to what is on top: an overlay, an open line, the screen.
func (a *App) key(k tea.KeyMsg) tea.Cmd {
	if k.String() == "ctrl+c" {
		return a.Quit()
	}
	if n := len(a.Overlays); n > 0 {
		top := a.Overlays[n-1]
		done, cmd := top.Key(a, k)
		if done {
			a.pop(top)
		}
		return cmd
	}
	if a.Palette != nil {
		return a.Palette.key(a, k)
	}
	if a.Line != nil {
		return a.Line.key(a, k)
	}
	return a.dispatch(k)
}

// Push lays an overlay over the screen.
func (a *App) Push(o Overlay) { a.Overlays = append(a.Overlays, o) }

// pop removes an overlay if it is still there.
func (a *App) pop(o Overlay) {
	for i := len(a.Overlays) - 1; i >= 0; i-- {
		if a.Overlays[i] == o {
			a.Overlays = append(a.Overlays[:i], a.Overlays[i+1:]...)
			return
		}
	}
}

func (a *App) filter(text string) tea.Cmd {
	a.fromHost = nil
	err := a.VMs.SetFilter(text)
	a.want()
	if err != nil {
		return a.Warn(err.Error())
	}
	return nil
}

// SetSize tells how large the terminal is.
func (a *App) SetSize(w, h int) { a.Width, a.Height = w, h }

// onTask brings a task on.
func (a *App) onTask(msg tea.Msg) tea.Cmd {
	ended, cmd, warn := a.Tasks.Update(msg)
	cmds := []tea.Cmd{cmd, a.ended(ended)}
	return tea.Batch(append(cmds, a.auditFailed(warn))...)
}

// auditFailed tells that something was done whose trail could not be written.
func (a *App) auditFailed(err error) tea.Cmd {
	if err == nil {
		return nil
	}
	return a.Bad(err.Error())
}

// Quiet reports whether a message changes nothing that is drawn, so that no
// frame needs to be made for it: the ticks that only begin a call.
func Quiet(msg tea.Msg) bool {
	switch msg.(type) {
	case pollTick, detailTick, watchMsg, queueTick, previewTick, backupsTick, hostJobsTick, leftoversTick, storageTick:
		return true
	}
	return false
}

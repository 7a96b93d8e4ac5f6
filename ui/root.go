package ui

import (
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

// The smallest terminal that berth can be used on.
const (
	MinWidth  = 40
	MinHeight = 10
)

// Output takes finished frames; screen.Screen is one. Show never blocks.
type Output interface {
	Show(frame string, w, h int)
	SetBase(base themes.Style)
}

// Look is how everything is drawn: where themes come from, the colours the
// terminal shows, and the characters it has.
type Look struct {
	Themes  themes.Source
	Profile themes.Profile
	Glyphs  themes.Glyphs
}

// Root is the program's tea.Model. It turns the terminal's messages into the
// model's, keeps the sizes of what is drawn, and draws.
type Root struct {
	app  *model.App
	out  Output
	look Look

	styles *themes.Styles
	theme  string                    // the one that styles was made from
	loaded map[string]*themes.Styles // every theme that has been read
	frames map[string]themes.Style   // looks of frames that the config gives to hosts

	w, h   int
	detail []string // the lines of the detail's tab, worked out in Update
	quiet  bool     // nothing that is drawn has changed
	frame  string   // the last frame
	table  widget.TableView
	cells  []widget.Cell
}

// clockTick redraws ages and uptimes even when no host answers.
type clockTick struct{}

// NewRoot makes the program over app, drawn to out.
func NewRoot(app *model.App, out Output, look Look) *Root {
	r := &Root{app: app, out: out, look: look, loaded: map[string]*themes.Styles{}, w: app.Width, h: app.Height}
	r.firstThemes()
	r.layout()
	return r
}

// Init implements tea.Model.
func (r *Root) Init() tea.Cmd { return tea.Batch(r.app.Init(), clock(), readThemes(r.look)) }

func clock() tea.Cmd { return tea.Tick(time.Second, func(time.Time) tea.Msg { return clockTick{} }) }

// Update implements tea.Model.
func (r *Root) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	var cmd tea.Cmd
	r.quiet = false
	switch m := msg.(type) {
	case tea.WindowSizeMsg:
		r.w, r.h = m.Width, m.Height
		r.app.SetSize(m.Width, m.Height)
	case tea.MouseMsg:
		cmd = r.mouse(m)
	case clockTick:
		cmd = clock()
	case themesMsg:
		cmd = r.onThemes(m)
	default:
		cmd = r.app.Update(msg)
		r.quiet = model.Quiet(msg)
	}
	if !r.quiet {
		r.useTheme()
		r.layout()
	}
	return r, cmd
}

// View implements tea.Model: the frame goes to the Output, which writes only
// what changed; Bubble Tea's own renderer is off.
func (r *Root) View() string {
	if !r.quiet || r.frame == "" {
		r.frame = r.Frame()
		r.out.Show(r.frame, r.w, r.h)
	}
	return ""
}

func (r *Root) selected() *model.Row {
	switch r.app.Screen {
	case model.ScreenDetail:
		return r.app.Detail.Row()
	case model.ScreenQueue, model.ScreenJob:
		return r.app.JobRow()
	case model.ScreenBackups, model.ScreenCatalogue, model.ScreenPoints, model.ScreenSchedules:
		return r.app.BackupRow()
	case model.ScreenImages, model.ScreenPools:
		return r.app.ImageVM()
	}
	return r.app.VMs.Selected()
}

// The lines around the body: header and title above, status and hints below.
const (
	linesAbove = 2
	linesBelow = 2
)

func (r *Root) bodyHeight() int { return max(1, r.h-linesAbove-linesBelow) }

// layout tells the model how much room there is. It belongs to Update: View
// writes nothing.
func (r *Root) layout() {
	a := r.app
	body := r.bodyHeight()
	a.VMs.SetPage(widget.VisibleRows(body))
	a.Hosts.SetPage(widget.VisibleRows(body))
	a.Events.SetPage(widget.VisibleRows(body))
	r.detail = nil
	if a.Screen == model.ScreenDetail {
		r.detail = r.detailLines(r.w)
		a.Detail.SetScroll(len(r.detail), max(1, body-detailHead))
	}
	r.layoutQueue(body)
	switch a.Screen {
	case model.ScreenBackups, model.ScreenCatalogue, model.ScreenPoints, model.ScreenSchedules:
		r.layoutBackups(body)
	case model.ScreenImages, model.ScreenPools:
		r.layoutImages(body)
	}
	if a.Screen == model.ScreenConnect {
		a.Connect.Lines, a.Connect.Page = len(r.connectLines(r.w)), body
	}
	for _, o := range a.Overlays {
		r.layoutOverlay(o)
	}
}

// layoutQueue tells the queue's screens how much room there is, and works out
// what scrolls there.
func (r *Root) layoutQueue(body int) {
	a := r.app
	switch a.Screen {
	case model.ScreenQueue:
		if a.Queue.AsGantt {
			a.Queue.SetGanttPage(ganttLanes(body))
		}
		a.Queue.SetPage(widget.VisibleRows(body - r.queueHostLines(body)))
	case model.ScreenJob:
		r.detail = r.jobLines(r.w)
		a.Job.SetScroll(len(r.detail), body)
	}
}

// Frame draws the whole screen in exactly its size.
func (r *Root) Frame() string {
	if r.w < MinWidth || r.h < MinHeight {
		return r.tooSmall()
	}
	lines := make([]string, 0, r.h)
	lines = append(lines, r.header(), r.title())
	lines = append(lines, strings.Split(r.body(r.w, r.bodyHeight()), "\n")...)
	lines = append(lines, r.statusLine(), r.footer())
	frame := strings.Join(lines, "\n")
	frame = r.toastOver(r.paletteOver(frame))
	for _, o := range r.app.Overlays {
		frame = r.overlayOver(frame, o)
	}
	return frame
}

func (r *Root) body(w, h int) string {
	switch r.app.Screen {
	case model.ScreenHosts:
		return r.hostsBody(w, h)
	case model.ScreenEvents:
		return r.eventsBody(w, h)
	case model.ScreenQueue:
		return r.queueBody(w, h)
	case model.ScreenJob:
		return r.jobBody(w, h)
	case model.ScreenBackups, model.ScreenCatalogue, model.ScreenPoints, model.ScreenSchedules:
		return r.backupsBody(w, h)
	case model.ScreenImages, model.ScreenPools:
		return r.imagesBody(w, h)
	case model.ScreenDetail:
		return r.detailBody(w, h)
	case model.ScreenConnect:
		return r.connectBody(w, h)
	}
	return r.vmsBody(w, h)
}

func (r *Root) tooSmall() string {
	body := []string{"", "berth needs 40x10.", "This is " + itoa(r.w) + "x" + itoa(r.h) + ".", "", "Enlarge the terminal,", "or ctrl-c to quit."}
	return widget.Block(body, max(r.w, 1), max(r.h, 1))
}

// st renders text in a role's look.
func (r *Root) st(role themes.Role, text string) string { return r.styles.Get(role).Render(text) }

// mouse turns clicks and the wheel into the model's terms.
func (r *Root) mouse(m tea.MouseMsg) tea.Cmd {
	if !r.app.Mouse {
		return nil
	}
	switch m.Button {
	case tea.MouseButtonWheelUp:
		return r.app.Wheel(-3)
	case tea.MouseButtonWheelDown:
		return r.app.Wheel(3)
	case tea.MouseButtonLeft:
		if m.Action == tea.MouseActionPress {
			return r.click(m.X, m.Y)
		}
	}
	return nil
}

func (r *Root) click(x, y int) tea.Cmd {
	if r.w < MinWidth || r.h < MinHeight || r.app.Palette != nil || r.app.Line != nil {
		return nil
	}
	if n := len(r.app.Overlays); n > 0 {
		return r.clickOverlay(r.app.Overlays[n-1], x, y)
	}
	y -= linesAbove
	switch {
	case y < 0 || y >= r.bodyHeight():
		return nil
	case r.app.Screen == model.ScreenDetail && y == 0:
		return r.clickTab(x)
	case y == 0 && r.app.Screen == model.ScreenVMs:
		cols := r.vmColumns(r.w)
		if i := widget.ColumnAt(cols, x); i >= 0 && cols[i].Index > 0 {
			return r.app.SortByHeader(r.app.VMs.Columns[cols[i].Index-1])
		}
		return nil
	case isBackups(r.app.Screen):
		return r.clickBackups(x, y)
	case r.app.Screen == model.ScreenImages || r.app.Screen == model.ScreenPools:
		return r.clickImages(x, y)
	case r.app.Screen == model.ScreenQueue:
		if y -= r.queueHostLines(r.bodyHeight()); y < 1 {
			return nil
		}
	case y == 0:
		return nil
	}
	return r.app.Click(y - 1)
}

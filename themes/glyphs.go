package themes

import "strings"

// Glyphs are the characters that screens are drawn with, each one cell wide.
type Glyphs struct {
	ASCII bool // whether these are the plain ones

	// States, each told by its word too.
	Running, Paused, Off, Crashed, Starting, Stuck, Unknown string

	Marked, Cursor    string // in front of rows
	Up, Down          string // rates out and in, trends
	SortAsc, SortDesc string // behind the header sorted by
	Ellipsis          string // where text was cut
	Bullet, Arrow     string
	Check, Cross      string
	Warn, Lock        string
	More              string // there is more below or to the side

	HLine, VLine                               string
	TopLeft, TopRight, BottomLeft, BottomRight string
	TeeLeft, TeeRight, TeeTop, TeeBottom, Plus string
	TreeMid, TreeEnd                           string

	BarFull, BarEmpty       string   // gauges
	BarParts                []string // partly full cells, emptiest first; may be empty
	ScrollThumb, ScrollBack string
	Spark                   []string // rising levels of a sparkline
	Spinner                 []string // frames of a turning wheel
}

// Unicode are the glyphs for terminals that show Unicode. All are in the
// fonts that terminals commonly use, and none is an emoji.
var Unicode = Glyphs{
	Running: "●", Paused: "◐", Off: "○", Crashed: "▲", Starting: "◌", Stuck: "■", Unknown: "?",
	Marked: "✓", Cursor: "▸", Up: "↑", Down: "↓", SortAsc: "▴", SortDesc: "▾",
	Ellipsis: "…", Bullet: "•", Arrow: "→", Check: "✓", Cross: "✗", Warn: "▲", Lock: "◆", More: "»",
	HLine: "─", VLine: "│", TopLeft: "╭", TopRight: "╮", BottomLeft: "╰", BottomRight: "╯",
	TeeLeft: "├", TeeRight: "┤", TeeTop: "┬", TeeBottom: "┴", Plus: "┼", TreeMid: "├", TreeEnd: "└",
	BarFull: "█", BarEmpty: "░", BarParts: []string{"▏", "▎", "▍", "▌", "▋", "▊", "▉"},
	ScrollThumb: "┃", ScrollBack: "│",
	Spark:   []string{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"},
	Spinner: []string{"◜", "◝", "◞", "◟"},
}

// ASCII are the glyphs for terminals or locales that show nothing else.
var ASCII = Glyphs{
	ASCII:   true,
	Running: "*", Paused: "=", Off: "-", Crashed: "!", Starting: "+", Stuck: "#", Unknown: "?",
	Marked: "x", Cursor: ">", Up: "^", Down: "v", SortAsc: "^", SortDesc: "v",
	Ellipsis: "~", Bullet: "-", Arrow: ">", Check: "+", Cross: "x", Warn: "!", Lock: "@", More: ">",
	HLine: "-", VLine: "|", TopLeft: "+", TopRight: "+", BottomLeft: "+", BottomRight: "+",
	TeeLeft: "+", TeeRight: "+", TeeTop: "+", TeeBottom: "+", Plus: "+", TreeMid: "|", TreeEnd: "`",
	BarFull: "#", BarEmpty: ".",
	ScrollThumb: "#", ScrollBack: "|",
	Spark:   []string{"_", ".", "-", "=", "+", "*", "#"},
	Spinner: []string{"-", "\\", "|", "/"},
}

// GlyphsFor chooses by the environment: BERTH_GLYPHS (ascii or unicode) if
// set, else ASCII where the terminal is a Linux console or dumb, or where the
// locale's encoding is not UTF-8. A locale that is not set at all does not
// count against Unicode unless it says C or POSIX: sshd and minimal images
// often leave it out, on terminals that show UTF-8 well.
func GlyphsFor(env func(string) string) Glyphs {
	switch strings.ToLower(env("BERTH_GLYPHS")) {
	case "ascii":
		return ASCII
	case "unicode":
		return Unicode
	}
	switch term := env("TERM"); {
	case term == "linux", term == "dumb", strings.HasPrefix(term, "vt"), term == "cons25", term == "sun":
		return ASCII
	}
	locale := env("LC_ALL")
	if locale == "" {
		locale = env("LC_CTYPE")
	}
	if locale == "" {
		locale = env("LANG")
	}
	l := strings.ToLower(locale)
	if l == "" || strings.Contains(l, "utf-8") || strings.Contains(l, "utf8") {
		return Unicode
	}
	return ASCII
}

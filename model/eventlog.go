package model

import (
	"time"

	"berth/backend"
)

// LogEntry is one line of the event screen: something a host told, or
// something berth did.
type LogEntry struct {
	At    time.Time
	Level Level
	Host  string
	VM    string
	Key   backend.Key
	Kind  string // a backend.EventKind, or "action"
	Text  string
}

// keptEntries is how many entries the screen remembers.
const keptEntries = 2000

// EventLog is the event screen: what happened since berth was started,
// newest last, followed unless a person scrolled away.
type EventLog struct {
	entries []LogEntry
	index   int
	top     int
	page    int
	follow  bool
	Unseen  int // failures since the screen was last looked at
	looking bool
}

// NewEventLog is empty and follows.
func NewEventLog() *EventLog { return &EventLog{follow: true, page: 10} }

// Add appends an entry.
func (l *EventLog) Add(e LogEntry) {
	e.Text, e.VM = backend.Clean(e.Text), backend.Clean(e.VM)
	l.entries = append(l.entries, e)
	if e.Level >= LevelWarn && !l.looking {
		l.Unseen++
	}
	if drop := len(l.entries) - keptEntries; drop > 0 {
		l.entries = append(l.entries[:0], l.entries[drop:]...)
		l.index, l.top = max(0, l.index-drop), max(0, l.top-drop)
	}
	if l.follow {
		l.index = len(l.entries) - 1
	}
	l.clamp()
}

// AddEvent appends what a host told.
func (l *EventLog) AddEvent(e backend.Event) {
	level := LevelInfo
	if e.Kind == backend.EventIOError || e.Kind == backend.EventWatchdog || e.What == "crashed" || e.Detail == "crashed" || e.Detail == "failed" {
		level = LevelBad
	}
	if e.Kind == backend.EventConnection && e.What == "does not answer" {
		level = LevelBad
	}
	text := e.What
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	l.Add(LogEntry{At: e.At, Level: level, Host: e.Host, VM: e.Name, Key: backend.Key{Host: e.Host, UUID: e.UUID}, Kind: e.Kind.String(), Text: text})
}

// Look tells whether the log is being looked at: then nothing is unseen.
func (l *EventLog) Look(on bool) {
	l.looking = on
	if on {
		l.Unseen = 0
	}
}

// Entries returns all entries, oldest first. The slice is the log's own.
func (l *EventLog) Entries() []LogEntry { return l.entries }

// Top and Index are the first entry on the screen and the selected one.
func (l *EventLog) Top() int { return l.top }

// Index is the selected entry.
func (l *EventLog) Index() int { return l.index }

// Selected returns the selected entry, or nil.
func (l *EventLog) Selected() *LogEntry {
	if l.index >= 0 && l.index < len(l.entries) {
		return &l.entries[l.index]
	}
	return nil
}

// SetPage tells how many entries the screen has room for.
func (l *EventLog) SetPage(n int) {
	l.page = max(1, n)
	l.clamp()
}

// Move moves the selection; at the last entry the log follows again.
func (l *EventLog) Move(n int) {
	l.index += n
	l.clamp()
	l.follow = l.index >= len(l.entries)-1
}

func (l *EventLog) clamp() {
	l.index = max(0, min(l.index, len(l.entries)-1))
	l.top = max(0, min(max(min(l.top, l.index), l.index-l.page+1), len(l.entries)-l.page))
}

// Package audit is the trail of everything berth changed: one JSON object a
// line, appended to a file that berth itself never shortens.
package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"
)

// Entry is one line of the trail.
type Entry struct {
	At      time.Time `json:"at"`
	User    string    `json:"user"`           // who ran berth; "alice (root)" under sudo
	From    string    `json:"from,omitempty"` // the ssh client's address
	Host    string    `json:"host"`           // the hypervisor host
	Verb    string    `json:"verb"`           // a backend.Verb, "define", "console", ...
	VM      string    `json:"vm"`             // its name then
	UUID    string    `json:"uuid,omitempty"`
	Detail  string    `json:"detail,omitempty"` // what the verb was given: a new name, what was deleted
	Outcome string    `json:"outcome"`          // "ok", or what went wrong
}

// Trail appends to one file. Several processes may append to the same file:
// each entry is one write of less than a page, which O_APPEND keeps whole.
// The zero Trail drops everything, for the demo.
type Trail struct {
	path string
	who  string
	from string
}

// Open prepares a trail at path, whose folder is made when the first entry
// is written. It does no I/O but to ask who the user is.
func Open(path string, getenv func(string) string) *Trail {
	return &Trail{path: path, who: who(getenv), from: client(getenv)}
}

// Record appends e with the time, the user and the outcome of err filled in.
// It returns what kept it from being written: an action whose trail is lost
// has still happened, so the caller shows the error and goes on.
func (t *Trail) Record(e Entry, outcome error) error {
	if t == nil || t.path == "" {
		return nil
	}
	if e.At.IsZero() {
		e.At = time.Now()
	}
	e.User, e.From, e.Outcome = t.who, t.from, "ok"
	if outcome != nil {
		e.Outcome = outcome.Error()
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("audit trail: %w", err)
	}
	if err := t.append(append(line, '\n')); err != nil {
		return fmt.Errorf("audit trail not written: %w", err)
	}
	return nil
}

// Who is the person whose actions the trail records; "" of the zero Trail.
func (t *Trail) Who() string {
	if t == nil {
		return ""
	}
	return t.who
}

func (t *Trail) append(line []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(t.path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(t.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(line); err != nil {
		return err
	}
	return f.Sync()
}

// who names the person: behind sudo, the one who called it.
func who(getenv func(string) string) string {
	name := getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if caller := getenv("SUDO_USER"); caller != "" && caller != name {
		return caller + " (" + name + ")"
	}
	return name
}

// client is the address an ssh session comes from: the first word of
// SSH_CONNECTION (sshd(8)).
func client(getenv func(string) string) string {
	from, _, _ := strings.Cut(getenv("SSH_CONNECTION"), " ")
	return from
}

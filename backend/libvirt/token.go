package libvirt

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"time"

	"berth/backend"
)

// tokenPrefix begins the tokens of sessions, with their version.
const tokenPrefix = "libvirt1:"

// token is what another process needs to go on with a session.
type token struct {
	VM          backend.UUID  `json:"-"`
	UUID        string        `json:"vm"`
	Running     bool          `json:"running,omitempty"`
	Socket      string        `json:"socket,omitempty"` // of the job's NBD server, which names the job
	Scratch     []string      `json:"scratch,omitempty"`
	Checkpoint  string        `json:"checkpoint,omitempty"` // the new one
	Since       string        `json:"since,omitempty"`
	Drop        []string      `json:"drop,omitempty"`
	Disks       []tokenDisk   `json:"disks"`
	At          time.Time     `json:"at"`
	Quiesced    bool          `json:"quiesced,omitempty"`
	Frozen      time.Duration `json:"frozen,omitempty"`
	NotQuiesced string        `json:"notQuiesced,omitempty"`
	NoCheck     string        `json:"noCheckpoint,omitempty"`
	IOPaused    bool          `json:"ioPaused,omitempty"` // the guest stood paused by an I/O error before
	Log         time.Time     `json:"log,omitzero"`       // when the log was written last, of a domain that is off
}

// tokenDisk is one disk of a session.
type tokenDisk struct {
	Target      string    `json:"target"`
	Path        string    `json:"path"`
	Format      string    `json:"format"`
	Size        int64     `json:"size"`
	Skip        string    `json:"skip,omitempty"`
	Incremental bool      `json:"incremental,omitempty"`
	WhyFull     string    `json:"whyFull,omitempty"`
	Modified    time.Time `json:"modified,omitzero"` // of an image that nobody may have written since
}

func (d *tokenDisk) disk() backend.BackupDisk {
	return backend.BackupDisk{Target: d.Target, Path: d.Path, Format: d.Format, Size: d.Size, Skip: d.Skip}
}

// begun describes the session's checkpoint as nobody else's.
func (t *token) begun() string { return begunWords + " (" + path.Base(t.Socket) + ")" }

func (t *token) String() string {
	t.UUID = t.VM.String()
	b, err := json.Marshal(t)
	if err != nil { // strings, numbers and times always can be
		panic(err)
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// parseToken reads what String wrote.
func parseToken(s string) (*token, error) {
	text, ok := strings.CutPrefix(s, tokenPrefix)
	b, err := base64.RawURLEncoding.DecodeString(text)
	t := new(token)
	if ok && err == nil {
		if err = json.Unmarshal(b, t); err == nil {
			t.VM, err = backend.ParseUUID(t.UUID)
		}
	}
	if !ok || err != nil {
		return nil, fmt.Errorf("%w: this is no token of a backup session: %w", backend.ErrInvalid, err)
	}
	return t, nil
}

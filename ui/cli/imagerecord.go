package cli

import (
	"strings"
	"time"

	"berth/backend"
	"berth/backend/image"
	"berth/model"
)

// imageRecord is one image in JSON and YAML. Its keys are a promise to scripts:
// they may be added to, never renamed. null means not known.
type imageRecord struct {
	Host        string            `json:"host"`
	Pool        string            `json:"pool"`
	Name        string            `json:"name"`
	Path        string            `json:"path"`
	Format      string            `json:"format"`
	Virtual     *float64          `json:"virtual_bytes"`
	Real        *float64          `json:"real_bytes"`
	Backing     []string          `json:"backing"`
	BackedBy    []string          `json:"backed_by"`
	Users       []imageUserRecord `json:"users"`
	Snapshots   []string          `json:"snapshots"`
	Bitmaps     []string          `json:"bitmaps"`
	Compression string            `json:"compression"`
	Encrypted   bool              `json:"encrypted"`
	Corrupt     bool              `json:"corrupt"`
	InUse       *bool             `json:"in_use"`
	Modified    *string           `json:"modified_at"`
	Orphan      bool              `json:"orphan"`
	Missing     bool              `json:"missing"`
	Trouble     string            `json:"trouble"`
}

type imageUserRecord struct {
	VM       string `json:"vm"`
	UUID     string `json:"uuid"`
	Target   string `json:"target"`
	Running  bool   `json:"running"`
	ReadOnly bool   `json:"read_only"`
}

// imageRecordHelp documents the keys, for --help.
const imageRecordHelp = `JSON is a list of objects with these keys, which later versions may add to but
not rename. null means not known; of a file in a FOLDER nobody knows the users.
  host pool name path     where it is
  format                  qcow2, raw, iso, ...
  virtual_bytes real_bytes
                          what a guest sees, and what it takes
  backing backed_by       paths below it, nearest first, and above it
  users                   list of vm uuid target running read_only
  snapshots bitmaps       names of those inside it
  compression             zlib or zstd, of qcow2
  encrypted corrupt       true or false
  in_use                  whether QEMU has it open
  modified_at             RFC 3339
  orphan missing          nothing uses it; something does and it is not there
  trouble                 why parts of this are not known`

func newImageRecord(m *backend.Image) imageRecord {
	r := imageRecord{
		Host: backend.Clean(m.Host), Pool: backend.Clean(m.Pool), Name: backend.Clean(m.Name), Path: backend.Clean(m.Path), Format: backend.Clean(m.Format),
		Backing: cleanAll(m.Backing), BackedBy: cleanAll(m.BackedBy), Snapshots: cleanAll(m.Snapshots), Bitmaps: []string{}, Users: []imageUserRecord{},
		Encrypted: m.Encrypted, Orphan: m.Orphan(), Missing: m.Missing, Trouble: backend.Clean(m.Trouble), Modified: moment(m.Modified),
	}
	if !m.Missing {
		r.Virtual, r.Real = rounded(float64(m.Virtual), 0), rounded(float64(m.Real), 0)
	}
	for _, u := range m.Users {
		r.Users = append(r.Users, imageUserRecord{VM: backend.Clean(u.Name), UUID: u.VM.String(), Target: backend.Clean(u.Target), Running: u.Active, ReadOnly: u.ReadOnly})
	}
	return r
}

func newFileRecord(i *image.Info) imageRecord {
	r := imageRecord{
		Path: backend.Clean(i.Path), Name: backend.Clean(lastPart(i.Path)), Format: backend.Clean(i.Format), Compression: backend.Clean(i.Compression),
		Encrypted: i.Encrypted, Corrupt: i.Corrupt, Trouble: backend.Clean(i.Trouble), Modified: moment(i.Modified),
		Backing: []string{}, BackedBy: []string{}, Users: []imageUserRecord{}, Snapshots: []string{}, Bitmaps: []string{},
	}
	if i.Format != "" {
		r.Virtual, r.Real, r.InUse = rounded(float64(i.Virtual), 0), rounded(float64(i.Real), 0), &i.InUse
	}
	for _, b := range i.Backing {
		r.Backing = append(r.Backing, backend.Clean(b.Path))
	}
	for _, s := range i.Snapshots {
		r.Snapshots = append(r.Snapshots, backend.Clean(s.Name))
	}
	for _, b := range i.Bitmaps {
		r.Bitmaps = append(r.Bitmaps, backend.Clean(b.Name))
	}
	return r
}

func lastPart(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

func moment(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.Format(time.RFC3339)
	return &s
}

func (r *imageRecord) age(now time.Time) string {
	if r.Modified == nil {
		return ""
	}
	t, err := time.Parse(time.RFC3339, *r.Modified)
	if err != nil {
		return ""
	}
	return model.Duration(max(now.Sub(t), 0))
}

func (r *imageRecord) users() string {
	var words []string
	for _, u := range r.Users {
		star := ""
		if u.Running {
			star = "*"
		}
		words = append(words, u.VM+star)
	}
	for _, p := range r.BackedBy {
		words = append(words, lastPart(p))
	}
	if r.InUse != nil && *r.InUse {
		words = append(words, "QEMU*")
	}
	return strings.Join(words, " ")
}

// note is what is odd about it.
func (r *imageRecord) note() string {
	var words []string
	for _, w := range []struct {
		word string
		on   bool
	}{{"missing", r.Missing}, {"orphan", r.Orphan}, {"corrupt", r.Corrupt}, {"encrypted", r.Encrypted}} {
		if w.on {
			words = append(words, w.word)
		}
	}
	if r.Trouble != "" {
		words = append(words, firstLine(r.Trouble))
	}
	return strings.Join(words, ", ")
}

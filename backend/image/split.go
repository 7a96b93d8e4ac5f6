package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"berth/backend"
)

// SplitOptions say how to split.
type SplitOptions struct {
	Size     int64  // of each part but the last, at least 1 MiB
	Dir      string // where the parts go; empty: beside the image
	Force    bool   // also when a VM writes to it
	NoVerify bool
	Progress Progress
}

// Split writes an image in numbered parts NAME.001, NAME.002, ..., with a
// manifest NAME.parts.json and checksums NAME.sha256 that sha256sum -c reads.
// Nothing stays when it fails. It returns the path of the manifest.
func Split(ctx context.Context, path string, o SplitOptions) (_ string, err error) {
	src, err := openSource(ctx, "split", path, o.Force)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if o.Dir == "" {
		o.Dir = filepath.Dir(path)
	}
	m, err := plan(filepath.Base(path), src.Size(), o.Size)
	if err != nil {
		return "", opError("split", path, err, "say how large the parts are to be, as in --size 1G")
	}
	for _, name := range append(m.names(), m.Name+manifestSuffix, m.Name+sumsSuffix) {
		if err := mustNotExist("split to", filepath.Join(o.Dir, name)); err != nil {
			return "", err
		}
	}
	if err := needRoom("split to", filepath.Join(o.Dir, m.Name), src.data); err != nil {
		return "", err
	}
	if made, err := writeParts(ctx, src, m, o); err != nil {
		return "", errors.Join(err, removeAll(made))
	}
	return filepath.Join(o.Dir, m.Name+manifestSuffix), nil
}

func (m *Manifest) names() (names []string) {
	for _, p := range m.Parts {
		names = append(names, p.Name)
	}
	return names
}

// plan cuts an image of that size.
func plan(name string, size, part int64) (*Manifest, error) {
	if part < minPart {
		return nil, fmt.Errorf("%w: parts of %d bytes", backend.ErrInvalid, part)
	}
	n := (size + part - 1) / part
	if n == 0 || n > maxParts {
		return nil, fmt.Errorf("%w: it would have %d parts of %s", backend.ErrInvalid, n, words(part))
	}
	m := &Manifest{Version: manifestVersion, Name: name, Size: size}
	digits := max(3, len(strconv.FormatInt(n, 10)))
	for i := range n {
		m.Parts = append(m.Parts, ManifestPart{Name: fmt.Sprintf("%s.%0*d", name, digits, i+1), Size: min(part, size-i*part)})
	}
	return m, nil
}

// writeParts writes the parts, then what describes them: who finds a manifest
// finds its parts. It returns what it made, even when it fails.
func writeParts(ctx context.Context, src *source, m *Manifest, o SplitOptions) (made []string, err error) {
	total := &meter{report: o.Progress}
	total.begin(PhaseSplitting, src.data)
	var before int64
	at := int64(0)
	whole := &summer{h: sha256.New(), size: src.Size()}
	for i := range m.Parts {
		p := &m.Parts[i]
		target := File(filepath.Join(o.Dir, p.Name), src.mode)
		c := CopyOptions{NoVerify: o.NoVerify, Sums: []string{"sha256"}, also: whole, Progress: func(phase backend.Phase, done, _ int64) {
			if phase == PhaseCopying && done > 0 {
				total.add(before + done - total.now())
			}
		}}
		res, err := copyFrom(ctx, &section{src.Reader, at, p.Size}, 0, []Target{target}, c)
		if err = errors.Join(err, res.Err()); err != nil {
			return made, err
		}
		made = append(made, target.Name)
		p.SHA256 = res.Sums["sha256"]
		at, before = at+p.Size, before+res.Data
	}
	m.SHA256 = hex.EncodeToString(whole.h.Sum(nil))
	sums := filepath.Join(o.Dir, m.Name+sumsSuffix)
	if err := writeWhole(sums, []byte(m.sums())); err != nil {
		return made, err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err == nil {
		err = writeWhole(filepath.Join(o.Dir, m.Name+manifestSuffix), append(text, '\n'))
	}
	return append(made, sums), err
}

func (m *meter) now() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.done
}

// sums are the lines of the parts for sha256sum -c.
func (m *Manifest) sums() string {
	var b strings.Builder
	for _, p := range m.Parts {
		b.WriteString(SumLine(p.SHA256, p.Name) + "\n")
	}
	return b.String()
}

// writeWhole writes a small file that is there whole or not at all.
func writeWhole(path string, content []byte) error {
	d, err := newDraft("write", path, 0o644)
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.temp, content, 0o600); err != nil {
		return errors.Join(opError("write", path, plain(err), ""), d.discard())
	}
	if err := d.commit(); err != nil {
		return errors.Join(err, d.discard())
	}
	return nil
}

// removeAll takes back what this call made.
func removeAll(paths []string) error {
	var errs []error
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

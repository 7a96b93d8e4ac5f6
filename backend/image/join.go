package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"berth/backend"
	"berth/backend/image/disk"
)

// JoinOptions say how to join.
type JoinOptions struct {
	NoVerify bool
	Progress Progress
}

var numbered = regexp.MustCompile(`\.[0-9]{3,5}$`)

// ManifestOf is the path of the manifest that an argument stands for: the
// manifest, any part, or the image's name.
func ManifestOf(path string) string {
	if strings.HasSuffix(path, manifestSuffix) {
		return path
	}
	return numbered.ReplaceAllString(path, "") + manifestSuffix
}

// ReadManifest reads and checks a manifest.
func ReadManifest(path string) (_ *Manifest, err error) {
	const op = "read the manifest"
	f, err := os.Open(path)
	if err != nil {
		return nil, opError(op, path, err, "berth image split makes it beside the parts; join needs it")
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err == nil && len(b) > maxManifest {
		err = fmt.Errorf("%w: more than %d bytes", backend.ErrInvalid, maxManifest)
	}
	var m Manifest
	if err == nil {
		if err = json.Unmarshal(b, &m); err != nil {
			err = fmt.Errorf("%w: %w", backend.ErrDamaged, err)
		}
	}
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return nil, opError(op, path, err, "")
	}
	return &m, nil
}

// Join puts the parts of a manifest together. Before anything is written every
// part is read and compared with its checksum; the error names each one that
// is missing, foreign or damaged.
func Join(ctx context.Context, manifest, target string, o JoinOptions) (err error) {
	m, err := ReadManifest(manifest)
	if err != nil {
		return err
	}
	dir := filepath.Dir(manifest)
	if err := mustNotExist("join to", target); err != nil {
		return err
	}
	if err := errors.Join(m.present(dir)...); err != nil {
		return err
	}
	all, data, err := openParts(ctx, dir, m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, all.Close()) }()
	if err := needRoom("join to", target, data); err != nil {
		return err
	}
	if err := m.verify(ctx, dir, all, data, o.Progress); err != nil {
		return err
	}
	res, err := copyFrom(ctx, all, data, []Target{File(target, 0o600)}, CopyOptions{NoVerify: o.NoVerify, Progress: o.Progress, phase: PhaseJoining,
		Sums: []string{"sha256"}, expect: map[string]string{"sha256": m.SHA256}})
	return errors.Join(err, res.Err())
}

// present says which parts are missing, of another size, or not the set's.
func (m *Manifest) present(dir string) (errs []error) {
	for _, p := range m.Parts {
		path := filepath.Join(dir, p.Name)
		switch st, err := os.Stat(path); {
		case errors.Is(err, fs.ErrNotExist):
			errs = append(errs, opError("join", path, errMissing, "get this part again from where the others came from"))
		case err != nil:
			errs = append(errs, opError("join", path, err, ""))
		case st.Size() != p.Size:
			errs = append(errs, opError("join", path, fmt.Errorf("%w: it has %d bytes and should have %d", backend.ErrDamaged, st.Size(), p.Size), "get this part again"))
		}
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return append(errs, opError("join", dir, err, ""))
	}
	names := m.names()
	for _, e := range list {
		if n := e.Name(); numbered.ReplaceAllString(n, "") == m.Name && numbered.MatchString(n) && !slices.Contains(names, n) {
			errs = append(errs, opError("join", filepath.Join(dir, n), errForeign, "it is not of this set: take it away, or the manifest is of another one"))
		}
	}
	return errs
}

var (
	errMissing = fmt.Errorf("%w: the part is missing", os.ErrNotExist)
	errForeign = fmt.Errorf("%w: a part that the manifest does not know", backend.ErrInvalid)
)

// openParts opens every part, and tells how much of them is data.
func openParts(ctx context.Context, dir string, m *Manifest) (_ *joined, data int64, err error) {
	var parts []disk.Reader
	for _, p := range m.Parts {
		path := filepath.Join(dir, p.Name)
		st, serr := os.Stat(path)
		r, rerr := disk.Open(ctx, backend.DiskAccess{File: path, Size: p.Size})
		if err := errors.Join(serr, rerr); err != nil {
			return nil, 0, errors.Join(err, join(parts).Close())
		}
		parts = append(parts, r)
		data += allocated(st)
	}
	return join(parts), data, nil
}

// verify reads every part and names each that is not what it was.
func (m *Manifest) verify(ctx context.Context, dir string, all *joined, data int64, report Progress) error {
	total := &meter{report: report}
	total.begin(PhaseHashing, data)
	var errs []error
	before := int64(0)
	for i, p := range m.Parts {
		got, err := checksum(ctx, all.parts[i], 0, CopyOptions{Sums: []string{"sha256"}, Progress: func(_ backend.Phase, done, _ int64) {
			if done > 0 {
				total.add(before + done - total.now())
			}
		}})
		before = total.now()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		path := filepath.Join(dir, p.Name)
		switch {
		case err != nil:
			errs = append(errs, opError("join", path, err, ""))
		case got["sha256"] != p.SHA256:
			errs = append(errs, opError("join", path, m.wrong(got["sha256"]), "get this part again"))
		}
	}
	return errors.Join(errs...)
}

// wrong says what a part is that is not what it should be.
func (m *Manifest) wrong(sum string) error {
	for _, p := range m.Parts {
		if p.SHA256 == sum {
			return fmt.Errorf("%w: it is not this part, but %s", backend.ErrDamaged, backend.Clean(p.Name))
		}
	}
	return fmt.Errorf("%w: it is not what was split: its sha256 is %s", backend.ErrDamaged, sum)
}

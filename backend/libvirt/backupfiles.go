package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

const (
	// storedXML is the definition that the next start uses.
	storedXML = libvirt.DomainXMLInactive
	// fileMost bounds a file that belongs to a domain: a UEFI variable store has
	// up to a few MiB, a TPM's state some 100 KiB.
	fileMost = 64 << 20
	// filesMost bounds how many there are below one folder.
	filesMost = 1000
)

// files reads what belongs to the domain besides its disks.
func (s *subject) files(ctx context.Context, m dial.Machine) ([]backend.PointFile, error) {
	out, err := s.nvram(ctx, m)
	if err != nil {
		return nil, err
	}
	tpm, err := s.tpm(ctx, m)
	if err != nil {
		return nil, err
	}
	meta, err := s.metadata(ctx)
	return append(append(out, tpm...), meta...), err
}

// nvram is the UEFI variable store; one that was never made is none.
func (s *subject) nvram(ctx context.Context, m dial.Machine) ([]backend.PointFile, error) {
	at := strings.TrimSpace(s.xml.OS.NVRAM)
	if !path.IsAbs(at) {
		return nil, nil
	}
	b, err := dial.ReadWhole(ctx, m, at, fileMost)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("its NVRAM: %w", onFile(err))
	}
	return []backend.PointFile{{Kind: "nvram", Path: at, Content: b}}, nil
}

// tpmDir is where libvirt's swtpm keeps the domain's state; "" when the domain
// has none.
func (s *subject) tpmDir() string {
	for _, t := range s.xml.Devices.TPMs {
		if t.Backend.Type == "emulator" && s.h.target.Driver() == "qemu:///system" {
			return path.Join(tpmBase, s.uuid().String())
		}
	}
	return ""
}

// tpm is the TPM's state. It is read after the point in time, as NVRAM is:
// both are written seldom, and whole.
func (s *subject) tpm(ctx context.Context, m dial.Machine) (out []backend.PointFile, err error) {
	dir := s.tpmDir()
	if dir == "" {
		return nil, nil
	}
	names, err := listBelow(ctx, m, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, n := range names {
		if strings.HasSuffix(n, ".lock") {
			continue
		}
		b, e := dial.ReadWhole(ctx, m, path.Join(dir, n), fileMost)
		if errors.Is(e, fs.ErrNotExist) { // replaced meanwhile
			continue
		}
		if e != nil {
			return nil, fmt.Errorf("its TPM's state: %w", onFile(e))
		}
		out = append(out, backend.PointFile{Kind: "tpm", Path: n, Content: b})
	}
	if err != nil {
		return nil, fmt.Errorf("its TPM's state: %w", onFile(err))
	}
	return out, nil
}

// listBelow lists the regular files below a folder, as paths relative to it.
func listBelow(ctx context.Context, m dial.Machine, dir string) (out []string, err error) {
	todo := []string{""}
	for len(todo) > 0 {
		at := todo[0]
		todo = todo[1:]
		list, err := m.List(ctx, path.Join(dir, at))
		if err != nil {
			if at != "" && errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return nil, err
		}
		for _, f := range list {
			switch {
			case f.Mode.IsDir():
				todo = append(todo, path.Join(at, f.Name))
			case f.Mode.IsRegular():
				out = append(out, path.Join(at, f.Name))
			}
		}
		if len(out)+len(todo) > filesMost {
			return nil, fmt.Errorf("%w: %s has more than %d files", backend.ErrInvalid, backend.Clean(dir), filesMost)
		}
	}
	return out, nil
}

// metadata is libvirt's descriptions of the snapshots and checkpoints.
func (s *subject) metadata(ctx context.Context) (out []backend.PointFile, err error) {
	ctx, cancel := context.WithTimeout(ctx, questionWait)
	defer cancel()
	snaps, err := ask(ctx, s.h.backup, func(lv *libvirt.Libvirt) ([]libvirt.DomainSnapshot, error) {
		list, _, err := lv.DomainListAllSnapshots(s.dom, 1, 0)
		return list, err
	})
	if err != nil && !unsupported(err) {
		return nil, err
	}
	for _, x := range snaps[:min(len(snaps), snapshotsMost)] {
		text, err := ask(ctx, s.h.backup, func(lv *libvirt.Libvirt) (string, error) { return lv.DomainSnapshotGetXMLDesc(x, 0) })
		if hasCode(err, libvirt.ErrNoDomainSnapshot) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, backend.PointFile{Kind: "snapshot", Path: backend.Clean(x.Name), Content: []byte(text)})
	}
	points, err := s.checkpoints(ctx)
	if err != nil && !unsupported(err) {
		return nil, err
	}
	for _, c := range points {
		out = append(out, backend.PointFile{Kind: "checkpoint", Path: backend.Clean(c.Name), Content: []byte(c.text)})
	}
	return out, nil
}

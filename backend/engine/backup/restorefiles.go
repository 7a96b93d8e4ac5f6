package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"berth/backend"
	"berth/backend/image/repo"
)

// swtpmDir is where libvirt's system daemon keeps the state of emulated TPMs.
const swtpmDir = "/var/lib/libvirt/swtpm"

// placeFiles writes the variable store and the TPM's state.
func (r *mending) placeFiles(ctx context.Context) error {
	for i := range r.m.Files {
		f := &r.m.Files[i]
		to := r.placeOf(f)
		if to == "" {
			continue
		}
		if f.Kind == "tpm" {
			if err := r.folders(ctx, path.Dir(to)); err != nil {
				if stopped(ctx) != nil || lost(err) || errors.Is(err, errDies) {
					return err
				}
				// Libvirt makes the folder at the first start, as nobody else could.
				r.said = append(r.said, "the TPM's state is kept in the backup alone ("+words(err)+"): start and shut down "+r.name+" once, then restore again in place")
				return nil
			}
		}
		content, err := r.repo.ReadFile(ctx, &r.m, *f)
		if err == nil {
			err = r.placeFile(ctx, to, content)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Kind, err)
		}
	}
	return nil
}

// placeOf is where a file of the point goes; empty: nowhere.
func (r *mending) placeOf(f *repo.File) string {
	switch {
	case f.Kind == "nvram":
		return r.def.nvram() // without one libvirt makes it anew, from its template
	case f.Kind == "tpm" && r.def.tpm() && localName(f.Path):
		return path.Join(swtpmDir, r.vm.String(), f.Path)
	}
	return ""
}

// localName reports whether a path stays within the folder that it is relative
// to.
func localName(p string) bool {
	return p != "" && !path.IsAbs(p) && !slices.Contains(strings.Split(p, "/"), "..")
}

// folders makes the folders of a TPM's state that are not there yet.
func (r *mending) folders(ctx context.Context, dir string) error {
	_, err := r.files.ListFiles(ctx, dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	maker, ok := r.files.(backend.FolderMaker)
	if !ok {
		return fmt.Errorf("%w: no folders can be made on %s from here", backend.ErrUnsupported, r.x.Spec.VM.Host)
	}
	if dir != swtpmDir { // which is all TPMs', and stays
		if err := r.folders(ctx, path.Dir(dir)); err != nil {
			return err
		}
		if err := r.will(ctx, undo{Op: undoFile, Path: dir}); err != nil {
			return err
		}
	}
	if err := maker.MakeFolder(ctx, dir); err != nil {
		return err
	}
	return r.task.at("folder")
}

// placeFile writes a small file; what has its name is set aside.
func (r *mending) placeFile(ctx context.Context, to string, content []byte) error {
	there, err := exists(ctx, r.files, to)
	if err != nil {
		return err
	}
	if there {
		if r.x.Spec.Restore.NewName != "" {
			return fmt.Errorf("%w: %s", fs.ErrExist, backend.Clean(to))
		}
		if _, err := r.setAside(ctx, to); err != nil {
			return err
		}
	}
	if err := r.will(ctx, undo{Op: undoFile, Path: to}); err != nil {
		return err
	}
	if err := r.files.WriteFile(ctx, to, content); err != nil {
		return err
	}
	return r.task.at("file")
}

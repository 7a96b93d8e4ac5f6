package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"berth/backend"
	"berth/backend/image/repo"
)

type diskOf = repo.Disk

// undo is something that a restore did, or was about to do, to its host.
type undo struct {
	Op   string       `json:"op"`
	Path string       `json:"path,omitempty"`
	To   string       `json:"to,omitempty"` // of a rename
	VM   backend.UUID `json:"vm,omitzero"`
	Name string       `json:"name,omitempty"`
	XML  string       `json:"xml,omitempty"` // the definition before; empty: there was none
}

// What can be undone.
const (
	undoImage  = "image"  // an image got its name
	undoFile   = "file"   // a file was made
	undoRename = "rename" // Path became To
	undoDefine = "define"
)

// will notes what is about to be done.
func (k *task) will(ctx context.Context, u undo) error {
	k.n.Undo = append(k.n.Undo, u)
	return k.save(ctx, u.Op)
}

func isExist(err error) bool { return errors.Is(err, fs.ErrExist) }

// rename renames a file of the host.
func (r *mending) rename(ctx context.Context, from, to string) error {
	if err := r.will(ctx, undo{Op: undoRename, Path: from, To: to}); err != nil {
		return err
	}
	err := r.files.RenameFile(ctx, from, to)
	if isExist(err) { // what is there is not ours to move back
		err = errors.Join(err, r.unmade(ctx))
	}
	if err != nil {
		return err
	}
	return r.task.at("renamed")
}

// unmade takes the last step off the note: it was refused, and what is there is
// somebody else's.
func (k *task) unmade(ctx context.Context) error {
	k.n.Undo = k.n.Undo[:len(k.n.Undo)-1]
	return k.save(ctx, "unmade")
}

// asideMost is how many names are tried for what is set aside.
const asideMost = 100

// setAside renames a file to a name that nothing has.
func (r *mending) setAside(ctx context.Context, p string) (aside string, err error) {
	name := p + ".before-restore-" + r.at.UTC().Format("20060102T150405Z")
	for i := range asideMost {
		aside = name
		if i > 0 {
			aside += fmt.Sprintf("-%d", i+1)
		}
		there, err := exists(ctx, r.files, aside)
		if err != nil {
			return "", err
		}
		if !there {
			return aside, r.rename(ctx, p, aside)
		}
	}
	return "", fmt.Errorf("%w: %s", fs.ErrExist, backend.Clean(aside))
}

// undoRestore undoes what the note says, the latest first. What was never done
// is found so. Each step that is undone is taken off the note.
func (k *task) undoRestore(ctx context.Context) error {
	if len(k.n.Undo) == 0 {
		return nil
	}
	h, err := k.hostOf(ctx)
	if err != nil {
		return err
	}
	for len(k.n.Undo) > 0 {
		u := k.n.Undo[len(k.n.Undo)-1]
		if err := k.undoOne(ctx, h, &u); err != nil {
			return fmt.Errorf("undo %s %s: %w", u.Op, u.Path+u.Name, err)
		}
		k.n.Undo = k.n.Undo[:len(k.n.Undo)-1]
		if err := k.save(ctx, "undone"); err != nil {
			return err
		}
	}
	return nil
}

func (k *task) undoOne(ctx context.Context, h backend.Host, u *undo) error {
	files, ok := h.(backend.HostFiles)
	if !ok {
		return fmt.Errorf("%w: the files of %s cannot be reached", backend.ErrUnsupported, h.Name())
	}
	var err error
	switch u.Op {
	case undoImage, undoFile:
		err = files.RemoveFile(ctx, u.Path)
	case undoRename:
		var there bool
		if there, err = exists(ctx, files, u.To); there {
			err = files.RenameFile(ctx, u.To, u.Path)
		}
	case undoDefine:
		err = k.undefine(ctx, h, u)
	}
	k.record("restore-undo", u.Op+" "+u.Path+u.Name, err)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, backend.ErrNoDomain) || errors.Is(err, backend.ErrNoStorage) {
		return nil // it was never done
	}
	return err
}

// undefine brings back the definition that was there, or takes the new one away.
func (k *task) undefine(ctx context.Context, h backend.Host, u *undo) error {
	if u.XML == "" {
		return h.Do(ctx, backend.Action{Verb: backend.VerbUndefine, UUID: u.VM, Name: u.Name})
	}
	d, ok := h.(backend.Definer)
	if !ok {
		return fmt.Errorf("%w: %s takes no definitions", backend.ErrUnsupported, h.Name())
	}
	_, err := d.Define(ctx, u.XML)
	return err
}

package backendtest

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"testing"

	"berth/backend"
)

// storage is the host's ability, or the case is left out.
func (b *bench) storage() backend.Storage {
	b.Helper()
	s, ok := b.h.(backend.Storage)
	if !ok || b.f.NoStorage != "" {
		b.Skip("no storage here: ", b.f.NoStorage)
	}
	return s
}

// pool is one that runs and has a folder.
func (b *bench) pool() backend.Pool {
	b.Helper()
	pools, err := b.storage().Pools(b.ctx)
	if err != nil {
		b.Fatalf("Pools: %v", err)
	}
	for _, p := range pools {
		if p.Active && p.Type == "dir" {
			return p
		}
	}
	b.Skip("no pool of type dir runs")
	return backend.Pool{}
}

// image finds one by its path, or nil.
func (b *bench) image(path string) *backend.Image {
	b.Helper()
	list, err := b.storage().Images(b.ctx)
	if err != nil {
		b.Fatalf("Images: %v", err)
	}
	for i := range list {
		if list[i].Path == path {
			return &list[i]
		}
	}
	return nil
}

// poolsAreMadeAndEnded: defined, started, stopped, forgotten.
func poolsAreMadeAndEnded(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	s, name := b.storage(), freshName()
	spec := backend.PoolSpec{Name: name, Path: b.pool().Path + "/" + name, Autostart: true}
	find := func() *backend.Pool {
		pools, err := s.Pools(b.ctx)
		if err != nil {
			t.Fatalf("Pools: %v", err)
		}
		if !slices.IsSortedFunc(pools, func(a, b backend.Pool) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) }) {
			t.Errorf("they are not by name: %+v", pools)
		}
		for i := range pools {
			if pools[i].Name == name {
				return &pools[i]
			}
		}
		return nil
	}
	if err := s.DefinePool(b.ctx, spec); err != nil {
		t.Fatalf("DefinePool: %v", err)
	}
	t.Cleanup(func() {
		_ = s.PoolDo(b.ctx, name, backend.PoolDestroy) // as far as the case came
		_ = s.PoolDo(b.ctx, name, backend.PoolUndefine)
	})
	if p := find(); p == nil || !p.Active || !p.Autostart || p.Path != spec.Path || p.Capacity == 0 || p.Volumes != 0 || p.Type != "dir" || p.Host != b.h.Name() {
		t.Errorf("the pool is %+v", p)
	}
	if err := s.DefinePool(b.ctx, spec); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("DefinePool of a name that is taken: %v, want ErrInvalid", err)
	}
	for _, bad := range []backend.PoolSpec{{Name: "", Path: "/x"}, {Name: name + "x", Path: "relative"}} {
		if err := s.DefinePool(b.ctx, bad); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("DefinePool of %+v: %v, want ErrInvalid", bad, err)
		}
	}
	for _, step := range []struct {
		verb              backend.PoolVerb
		active, autostart bool
	}{
		{backend.PoolRefresh, true, true},
		{backend.PoolAutostartOff, true, false},
		{backend.PoolDestroy, false, false},
		{backend.PoolStart, true, false},
		{backend.PoolAutostartOn, true, true},
		{backend.PoolDestroy, false, true},
	} {
		if err := s.PoolDo(b.ctx, name, step.verb); err != nil {
			t.Fatalf("%s: %v", step.verb, err)
		}
		if p := find(); p == nil || p.Active != step.active || p.Autostart != step.autostart {
			t.Fatalf("after %s the pool is %+v", step.verb, p)
		}
	}
	if err := s.PoolDo(b.ctx, name, backend.PoolUndefine); err != nil {
		t.Fatalf("undefine: %v", err)
	}
	if p := find(); p != nil {
		t.Errorf("the pool is there still: %+v", p)
	}
	if err := s.PoolDo(b.ctx, name, backend.PoolStart); !errors.Is(err, backend.ErrNoStorage) {
		t.Errorf("start of a pool that is not there: %v, want ErrNoStorage", err)
	}
}

// imagesAreMadeAndDeleted: not while something lies on them or uses them.
func imagesAreMadeAndDeleted(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	s, p := b.storage(), b.pool()
	base, top := freshName()+".qcow2", freshName()+".qcow2"
	basePath, topPath := p.Path+"/"+base, p.Path+"/"+top
	for _, spec := range []backend.ImageSpec{
		{Pool: p.Name, Name: base, Format: "qcow2", Size: 8 << 20},
		{Path: topPath, Format: "qcow2", Backing: basePath},
	} {
		if err := s.CreateImage(b.ctx, spec); err != nil {
			t.Fatalf("CreateImage of %+v: %v", spec, err)
		}
		if err := s.CreateImage(b.ctx, spec); err == nil {
			t.Errorf("CreateImage made %+v twice", spec)
		}
	}
	below, above := b.image(basePath), b.image(topPath)
	if below == nil || below.Virtual != 8<<20 || below.Format != "qcow2" || below.Orphan() || !slices.Equal(below.BackedBy, []string{topPath}) || below.Pool != p.Name || below.Name != base {
		t.Errorf("the lower is %+v", below)
	}
	if above == nil || above.Virtual != 8<<20 || !above.Orphan() || !slices.Equal(above.Backing, []string{basePath}) || above.Missing {
		t.Errorf("the upper is %+v", above)
	}
	for what, err := range map[string]error{
		"deleting a backing file": s.DeleteImage(b.ctx, basePath),
		"resizing a backing file": s.ResizeImage(b.ctx, basePath, 16<<20, false),
	} {
		if !errors.Is(err, backend.ErrBusy) {
			t.Errorf("%s: %v, want ErrBusy", what, err)
		}
	}
	if err := s.ResizeImage(b.ctx, topPath, 4<<20, false); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("making it smaller unasked: %v, want ErrInvalid", err)
	}
	if err := s.ResizeImage(b.ctx, topPath, 32<<20, false); err != nil {
		t.Errorf("ResizeImage: %v", err)
	}
	if i := b.image(topPath); i == nil || i.Virtual != 32<<20 {
		t.Errorf("after it grew it is %+v", i)
	}
	for _, path := range []string{topPath, basePath} {
		if err := s.DeleteImage(b.ctx, path); err != nil {
			t.Errorf("DeleteImage: %v", err)
		}
		if i := b.image(path); i != nil {
			t.Errorf("it is there still: %+v", i)
		}
		if err := s.DeleteImage(b.ctx, path); !errors.Is(err, backend.ErrNoStorage) {
			t.Errorf("deleting it again: %v, want ErrNoStorage", err)
		}
	}
	for _, bad := range []backend.ImageSpec{
		{Pool: p.Name, Name: "../x", Format: "raw", Size: 1}, {Pool: p.Name, Name: "x", Format: "vmdk", Size: 1}, {Pool: p.Name, Name: "x", Format: "raw"}, {Path: "x", Format: "raw", Size: 1},
	} {
		if err := s.CreateImage(b.ctx, bad); !errors.Is(err, backend.ErrInvalid) && !errors.Is(err, backend.ErrUnsupported) {
			t.Errorf("CreateImage of %+v: %v, want ErrInvalid or ErrUnsupported", bad, err)
		}
	}
}

// disksOfDomainsAreNotDeleted.
func disksOfDomainsAreNotDeleted(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	s := b.storage()
	if f.NoBackups != "" {
		t.Skip("no domain with a disk: ", f.NoBackups)
	}
	id := b.withDisk()
	for _, d := range b.facts(id).Disks {
		if d.Skip != "" {
			continue
		}
		i := b.image(d.Path)
		if i == nil || i.Missing || i.Orphan() || !slices.ContainsFunc(i.Users, func(u backend.ImageUser) bool { return u.VM == id && u.Target == d.Target && !u.Active }) {
			t.Errorf("the image of %s is %+v", d.Target, i)
		}
		if err := s.DeleteImage(b.ctx, d.Path); !errors.Is(err, backend.ErrBusy) {
			t.Errorf("deleting it: %v, want ErrBusy", err)
		}
	}
}

// imagesAppearWhole, or never.
func imagesAppearWhole(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	o, ok := b.h.(backend.ImageOpener)
	if !ok {
		t.Skip("the host opens no images")
	}
	dir := b.pool().Path
	for _, format := range []string{"raw", "qcow2"} {
		path := dir + "/" + freshName() + "." + format
		n, err := o.MakeImage(b.ctx, path, format, 3<<20)
		if err != nil {
			t.Fatalf("MakeImage: %v", err)
		}
		if a := n.Access(); a.Size != 3<<20 || (a.File == "") == (a.Dial == nil) {
			t.Errorf("access %+v", a)
		}
		if i := b.image(path); i != nil && !i.Missing {
			t.Errorf("it is there before it is whole: %+v", i)
		}
		if err := n.Commit(b.ctx); err != nil {
			t.Fatalf("Commit: %v", err)
		}
		if err := n.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if i := b.image(path); i == nil || i.Virtual != 3<<20 {
			t.Errorf("afterwards it is %+v", i)
		}
		if _, err := o.MakeImage(b.ctx, path, format, 1<<20); err == nil {
			t.Error("MakeImage took a name that is taken")
		}
		i, err := o.OpenImage(b.ctx, path, format)
		if err != nil {
			t.Fatalf("OpenImage: %v", err)
		}
		if a := i.Access(); a.Size != 3<<20 || (a.File == "") == (a.Dial == nil) {
			t.Errorf("access %+v", a)
		}
		for range 2 {
			if err := i.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		if err := b.storage().DeleteImage(b.ctx, path); err != nil {
			t.Errorf("DeleteImage: %v", err)
		}
		n, err = o.MakeImage(b.ctx, path, format, 1<<20)
		if err != nil {
			t.Fatalf("MakeImage: %v", err)
		}
		if err := n.Close(); err != nil {
			t.Errorf("Close without Commit: %v", err)
		}
		if _, err := o.OpenImage(b.ctx, path, format); !errors.Is(err, backend.ErrNoStorage) {
			t.Errorf("OpenImage of what was never whole: %v, want ErrNoStorage", err)
		}
	}
}

// hostFilesAreWhole: written whole, read within limits, never overwritten by a
// new name.
func hostFilesAreWhole(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	h, ok := b.h.(backend.HostFiles)
	if !ok {
		t.Skip("the host has no files")
	}
	dir := b.pool().Path
	name := freshName()
	at := dir + "/" + name
	for _, text := range []string{"one", "", "two words"} {
		if err := h.WriteFile(b.ctx, at, []byte(text)); err != nil {
			t.Fatalf("WriteFile: %v", err)
		}
		if got, err := h.ReadFile(b.ctx, at, 9); err != nil || string(got) != text {
			t.Errorf("ReadFile: %q, %v, want %q", got, err, text)
		}
	}
	if _, err := h.ReadFile(b.ctx, at, 8); err == nil {
		t.Error("ReadFile gave more than it may")
	}
	names, err := h.ListFiles(b.ctx, dir)
	if err != nil || !slices.Contains(names, name) {
		t.Errorf("ListFiles: %q, %v", names, err)
	}
	if err := h.WriteFile(b.ctx, at+"2", nil); err != nil {
		t.Fatalf("WriteFile: %v", err)
	}
	if err := h.RenameFile(b.ctx, at, at+"2"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("RenameFile over another: %v, want fs.ErrExist", err)
	}
	if err := h.RenameFile(b.ctx, at, at+"3"); err != nil {
		t.Errorf("RenameFile: %v", err)
	}
	for _, n := range []string{"2", "3"} {
		if err := h.RemoveFile(b.ctx, at+n); err != nil {
			t.Errorf("RemoveFile: %v", err)
		}
	}
	_, readErr := h.ReadFile(b.ctx, at, 9)
	_, listErr := h.ListFiles(b.ctx, at)
	for what, err := range map[string]error{"ReadFile": readErr, "ListFiles": listErr, "RenameFile": h.RenameFile(b.ctx, at, at+"4")} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of what is not there: %v, want fs.ErrNotExist", what, err)
		}
	}
	if free, err := h.Room(b.ctx, dir+"/not/there/yet"); err != nil || free == 0 {
		t.Errorf("Room: %d, %v", free, err)
	}
}

// volumesAreStreamed there and back.
func volumesAreStreamed(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	v, ok := b.h.(backend.VolumeStreamer)
	if !ok {
		t.Skip("the host streams no volumes")
	}
	p, name := b.pool(), freshName()
	want := bytes.Repeat([]byte("berth"), 100_000)
	if err := v.Upload(b.ctx, p.Name, name, "raw", bytes.NewReader(want), int64(len(want))); err != nil {
		t.Fatalf("Upload: %v", err)
	}
	var got bytes.Buffer
	if err := v.Download(b.ctx, p.Name, name, &got); err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("Download: %d bytes of %d, %v", got.Len(), len(want), err)
	}
	if err := b.storage().DeleteImage(b.ctx, p.Path+"/"+name); err != nil {
		t.Errorf("DeleteImage: %v", err)
	}
	if err := v.Download(b.ctx, p.Name, name, &got); !errors.Is(err, backend.ErrNoStorage) {
		t.Errorf("Download of what is not there: %v, want ErrNoStorage", err)
	}
	if err := v.Upload(b.ctx, p.Name, name, "raw", bytes.NewReader(want[:10]), int64(len(want))); err == nil {
		t.Error("Upload took too little")
	}
	if i := b.image(p.Path + "/" + name); i != nil {
		t.Errorf("half an upload is there: %+v", i)
	}
}

// readOnlyStorage refuses every change.
func (b *bench) readOnlyStorage(id backend.UUID) {
	b.Helper()
	refused := func(what string, err error) {
		b.Helper()
		if !errors.Is(err, backend.ErrReadOnly) {
			b.Errorf("%s: %v, want ErrReadOnly", what, err)
		}
	}
	if s, ok := b.h.(backend.Storage); ok {
		refused("PoolDo", s.PoolDo(b.ctx, "x", backend.PoolStart))
		refused("DefinePool", s.DefinePool(b.ctx, backend.PoolSpec{Name: "x", Path: "/x"}))
		refused("CreateImage", s.CreateImage(b.ctx, backend.ImageSpec{Path: "/x", Format: "raw", Size: 1}))
		refused("ResizeImage", s.ResizeImage(b.ctx, "/x", 1, true))
		refused("DeleteImage", s.DeleteImage(b.ctx, "/x"))
	}
	if o, ok := b.h.(backend.ImageOpener); ok {
		_, err := o.MakeImage(b.ctx, "/x", "raw", 1)
		refused("MakeImage", err)
	}
	if f, ok := b.h.(backend.HostFiles); ok {
		refused("WriteFile", f.WriteFile(b.ctx, "/x", nil))
		refused("RenameFile", f.RenameFile(b.ctx, "/x", "/y"))
		refused("RemoveFile", f.RemoveFile(b.ctx, "/x"))
	}
	if v, ok := b.h.(backend.VolumeStreamer); ok {
		refused("Upload", v.Upload(b.ctx, "x", "x", "raw", bytes.NewReader([]byte("x")), 1))
	}
	if j, ok := b.h.(backend.JobWatcher); ok {
		refused("AbortDomainJob", j.AbortDomainJob(b.ctx, backend.DomainJob{VM: id, Kind: "backup"}))
	}
	if a, ok := b.h.(backend.Backuper); ok {
		_, err := a.BeginBackup(b.ctx, backend.BackupRequest{VM: id})
		refused("BeginBackup", err)
		refused("CleanUp", a.CleanUp(b.ctx, backend.Leftover{VM: id, Kind: "job"}))
	}
}

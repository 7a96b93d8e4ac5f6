package repo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"path"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"berth/backend"
	"berth/backend/image/place"
)

// maxSums is how large one file of SHA256SUMS may be, in bytes.
const maxSums = 64 << 20

// CheckSums compares every file of a repository with its SHA256SUMS, as
// sha256sum -c does. It needs no key. Config, keys and points need none of it:
// their names or contents hold their own sums.
func CheckSums(ctx context.Context, p place.Place, progress func(VerifyProgress)) (Report, error) {
	s := &summing{place: p, progress: progress, began: time.Now(), want: map[string][]byte{}, rep: Report{At: time.Now()}}
	err := s.run(ctx)
	s.rep.Took = time.Since(s.began)
	return s.rep, err
}

type summing struct {
	place    place.Place
	progress func(VerifyProgress)
	began    time.Time
	want     map[string][]byte

	mu    sync.Mutex
	rep   Report
	total int64
	told  time.Time
}

func (s *summing) damage(d Damage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rep.Damages = append(s.rep.Damages, d)
}

func (s *summing) run(ctx context.Context) error {
	if err := s.small(ctx); err != nil {
		return err
	}
	entries, err := s.place.List(ctx, sumsDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := s.read(ctx, e); err != nil {
			return err
		}
	}
	var files []place.Entry
	for _, dir := range []string{packsDir, indexDir} {
		entries, err := s.place.List(ctx, dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if s.want[e.Name] == nil {
				s.rep.Notes = append(s.rep.Notes, Note{Kind: "orphan", File: e.Name, Size: e.Size, What: "SHA256SUMS does not list it: it is of a backup that is being written or was broken off"})
				continue
			}
			files = append(files, e)
			s.total += e.Size
		}
	}
	return s.hash(ctx, files)
}

// small checks the files that need no sums: the config and keys hold theirs,
// points are called by it.
func (s *summing) small(ctx context.Context) error {
	b, err := place.Read(ctx, s.place, configName, maxConfig)
	if err != nil {
		return err
	}
	conf, err := parseConfig(b)
	if err != nil {
		s.damage(Damage{Kind: DamagedConfig, File: configName, What: words(err)})
	}
	s.rep.Repo = conf.ID
	points, err := s.place.List(ctx, pointsDir)
	if err != nil {
		return err
	}
	for _, e := range points {
		b, err := place.Read(ctx, s.place, e.Name, maxBox+boxHeadLen+boxGrain)
		if isMissing(err) {
			continue
		}
		if err != nil && !isDamage(err) {
			return err
		}
		s.rep.Points++
		s.rep.Bytes += e.Size
		if id := path.Base(e.Name); err != nil || boxID(b) != id {
			s.damage(Damage{Kind: DamagedManifest, File: e.Name, What: "its content does not have that checksum", Touches: []Touch{{Point: id}}})
		}
	}
	keys, err := s.place.List(ctx, keysDir)
	if err != nil {
		return err
	}
	for _, e := range keys {
		b, err := place.Read(ctx, s.place, e.Name, maxKey)
		if err != nil && !isDamage(err) {
			return err
		}
		if err != nil || keyID(b) != path.Base(e.Name) {
			s.damage(Damage{Kind: DamagedKey, File: e.Name, What: "its content does not have that checksum"})
		}
	}
	return nil
}

// read reads lines of sha256sum's.
func (s *summing) read(ctx context.Context, e place.Entry) error {
	b, err := place.Read(ctx, s.place, e.Name, maxSums)
	if isMissing(err) {
		return nil // merged into another meanwhile
	}
	if err != nil && !errors.Is(err, backend.ErrDamaged) {
		return err
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		sum, name, ok := strings.Cut(lines.Text(), "  ")
		want, err := hex.DecodeString(sum)
		dir := path.Dir(name)
		if _, bad := parseFileID(path.Base(name)); !ok || err != nil || len(want) != 32 || bad != nil || dir != packsDir && dir != indexDir {
			s.damage(Damage{Kind: DamagedSums, File: e.Name, What: "a line is not one of sha256sum's", Rebuild: true})
			return nil
		}
		if other := s.want[name]; other != nil && !bytes.Equal(other, want) {
			s.damage(Damage{Kind: DamagedSums, File: e.Name, What: "it says of " + name + " something else than another does", Rebuild: true})
		}
		s.want[name] = want
	}
	return nil
}

// hash compares files with what they should be, two or more at once.
func (s *summing) hash(ctx context.Context, files []place.Entry) error {
	there := map[string]bool{}
	for _, e := range files {
		there[e.Name] = true
	}
	for name := range s.want {
		if there[name] {
			continue
		}
		if _, err := s.place.Stat(ctx, name); isMissing(err) && path.Dir(name) == packsDir {
			s.damage(Damage{Kind: DamagedPack, File: name, What: "it is not there"})
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0) + 1)
	for _, e := range files {
		g.Go(func() error { return s.file(ctx, e) })
	}
	return g.Wait()
}

func (s *summing) file(ctx context.Context, e place.Entry) error {
	f, err := s.place.Open(ctx, e.Name)
	if isMissing(err) {
		return nil // pruned or merged meanwhile
	}
	if err != nil {
		return err
	}
	sum, err := sumFile(ctx, f)
	if err = errors.Join(err, f.Close()); err != nil && (ctx.Err() != nil || !isDamage(err)) {
		return err
	}
	if err != nil || !bytes.Equal(sum[:], s.want[e.Name]) {
		kind := DamagedPack
		if path.Dir(e.Name) == indexDir {
			kind = DamagedIndex
		}
		s.damage(Damage{Kind: kind, File: e.Name, What: "its content does not have the checksum that SHA256SUMS says", Rebuild: kind == DamagedIndex})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rep.Bytes += e.Size
	s.rep.Packs++
	if now := time.Now(); s.progress != nil && now.Sub(s.told) >= tellEvery {
		s.told = now
		s.progress(VerifyProgress{Done: s.rep.Bytes, Total: s.total, Damages: len(s.rep.Damages)})
	}
	return nil
}

package repo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/image/place"
)

const (
	configName    = "config"
	configFormat  = "berth backup repository"
	configVersion = 1
	maxConfig     = 64 << 10
)

// config is the file that says what a repository is. It never changes: keys
// hold its SHA-256, so that nobody can pass off an encrypted repository for
// one that is not.
type config struct {
	Format    string    `json:"format"`
	Version   int       `json:"version"`
	ID        string    `json:"id"`
	Created   time.Time `json:"created"`
	Encrypted bool      `json:"encrypted"`
	ChunkSize int64     `json:"chunkSize"`
	PackSize  int64     `json:"packSize"`
	Label     string    `json:"label,omitempty"`

	repo fileID
	sum  [32]byte
}

// marshal makes the file: one line of JSON, and one with its SHA-256.
func (c *config) marshal() ([]byte, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	c.sum = sha256.Sum256(b)
	return fmt.Appendf(b, "sha256 %x\n", c.sum), nil
}

func parseConfig(b []byte) (c config, err error) {
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	c.sum = sha256.Sum256(append(bytes.Clone(line), '\n'))
	if string(rest) != fmt.Sprintf("sha256 %x\n", c.sum) {
		return c, damaged("its checksum is wrong")
	}
	if err := json.Unmarshal(line, &c); err != nil {
		return c, damaged("%w", err)
	}
	if c.Format != configFormat {
		return c, fmt.Errorf("%w: it is not a backup repository of berth's", backend.ErrInvalid)
	}
	if c.Version != configVersion || c.ChunkSize != ChunkSize {
		return c, fmt.Errorf("%w: the repository has version %d with chunks of %d bytes, this berth reads version %d with %d", backend.ErrUnsupported, c.Version, c.ChunkSize, configVersion, ChunkSize)
	}
	if c.PackSize < MinPackSize || c.PackSize > MaxPackSize {
		return c, damaged("packs of %d bytes", c.PackSize)
	}
	if c.repo, err = parseFileID(c.ID); err != nil {
		return c, damaged("its ID: %w", err)
	}
	return c, nil
}

// Init makes a repository in a place that has nothing in it (else it wraps
// fs.ErrExist), and opens it.
func Init(ctx context.Context, p place.Place, o InitOptions) (*Repo, error) {
	if o.PackSize == 0 {
		o.PackSize = DefaultPackSize
	}
	if o.PackSize < MinPackSize || o.PackSize > MaxPackSize {
		return nil, initFailed(p, fmt.Errorf("%w: packs of %d bytes; they have %d to %d", backend.ErrInvalid, o.PackSize, MinPackSize, int64(MaxPackSize)))
	}
	if err := isEmpty(ctx, p); err != nil {
		return nil, initFailed(p, err)
	}
	conf := config{Format: configFormat, Version: configVersion, repo: newFileID(), Created: time.Now().UTC().Truncate(time.Second),
		ChunkSize: ChunkSize, PackSize: o.PackSize, Label: o.Label}
	conf.ID = conf.repo.String()
	conf.Encrypted = len(o.Secret.Passphrase) > 0 || len(o.Recipients) > 0
	content, err := conf.marshal()
	if err != nil {
		return nil, initFailed(p, err)
	}
	r := newRepo(p, conf, nil, Options{})
	if conf.Encrypted {
		if err := r.firstKeys(ctx, o); err != nil {
			return nil, initFailed(p, err)
		}
	}
	// The config comes last and only once: of two that begin at the same place
	// one is refused.
	if err := p.CreateExclusive(ctx, configName, content); err != nil {
		return nil, initFailed(p, err)
	}
	return r, nil
}

func initFailed(p place.Place, err error) error {
	return &backend.OpError{Op: "make a repository", Target: p.URL(), Err: err}
}

// mostWorkers bounds memory on machines with many cores: each worker holds a
// compressor and its chunks.
const mostWorkers = 8

// isEmpty wraps fs.ErrExist when something is in the place. Keys without a
// config are of an Init that was broken off, or is under way: they open nothing
// but what has their config, and are left alone.
func isEmpty(ctx context.Context, p place.Place) error {
	files, err := p.List(ctx, ".")
	if err != nil {
		return err
	}
	folders, err := p.Folders(ctx, ".")
	if err != nil {
		return err
	}
	if slices.ContainsFunc(files, func(e place.Entry) bool { return e.Name == configName }) {
		return fmt.Errorf("there is one already: %w", fs.ErrExist)
	}
	if len(files) > 0 {
		return fmt.Errorf("it is not empty: %s: %w", files[0].Name, fs.ErrExist)
	}
	for _, f := range folders {
		if f != keysDir && f != "lost+found" {
			return fmt.Errorf("it is not empty: %s: %w", f, fs.ErrExist)
		}
	}
	return nil
}

// Open opens a repository. It wraps fs.ErrNotExist when there is none,
// backend.ErrSecret when the secret does not open it, backend.ErrDamaged.
func Open(ctx context.Context, p place.Place, s Secret, o Options) (*Repo, error) {
	failed := func(err error, hint string) error {
		return &backend.OpError{Op: "open the repository", Target: p.URL(), Err: err, Hint: hint}
	}
	b, err := place.Read(ctx, p, configName, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failed(err, "berth backup init makes one")
	}
	if err != nil {
		return nil, failed(err, "")
	}
	conf, err := parseConfig(b)
	if err != nil {
		return nil, failed(fmt.Errorf("%s: %w", configName, err), "")
	}
	if !conf.Encrypted && !s.IsZero() {
		return nil, failed(fmt.Errorf("%w: it says that it is not encrypted, and a secret was given", backend.ErrSecret), "leave the secret out if that is right")
	}
	r := newRepo(p, conf, nil, o)
	if conf.Encrypted {
		if r.crypt.master, err = r.unlock(ctx, s); err != nil {
			return nil, failed(err, "")
		}
	}
	if err := r.index.load(ctx); err != nil {
		return nil, failed(err, "")
	}
	return r, nil
}

func newRepo(p place.Place, conf config, master []byte, o Options) *Repo {
	if o.Workers <= 0 {
		o.Workers = min(runtime.GOMAXPROCS(0), mostWorkers)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &crypt{repo: conf.repo, master: master}
	var cache *indexCache
	if o.CacheDir != "" && strings.Contains(p.URL(), "://") {
		cache = &indexCache{dir: filepath.Join(o.CacheDir, conf.ID)}
	}
	r := &Repo{place: p, conf: conf, crypt: c, opts: o, index: newIndex(p, c, cache), buffers: &buffers{}}
	r.index.stand.take = func(ctx context.Context) (*census, error) {
		c, _, err := r.takeCensus(ctx, false)
		return c, err
	}
	return r
}

// Close lets go of what is open; not of the place.
func (r *Repo) Close() error { return errors.Join(r.index.close(), r.buffers.close()) }

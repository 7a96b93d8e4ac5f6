package image

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/pkg/sftp"

	"berth/backend"
	"berth/backend/image/place"
)

// served is a folder behind an SFTP server.
func served(t *testing.T, dir string) place.Copier {
	t.Helper()
	p, err := place.OpenSFTP(t.Context(), place.SFTP{Dir: dir, URL: "sftp://test" + dir, Create: true, Dial: func(context.Context) (io.ReadWriteCloser, error) {
		here, there := net.Pipe()
		s, err := sftp.NewServer(there)
		if err == nil {
			go s.Serve() //nolint:errcheck // it ends with the connection
		}
		return here, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p.(place.Copier)
}

// forgetful is a place that loses what is written to it.
type forgetful struct {
	place.Copier
	dir  string
	seen []string // what the folder held when the copy was read back
}

type forgetfulCopy struct {
	place.Copy
	p *forgetful
}

func (f *forgetful) BeginCopy(ctx context.Context, name string) (place.Copy, error) {
	c, err := f.Copier.BeginCopy(ctx, name)
	return &forgetfulCopy{c, f}, err
}

func (c *forgetfulCopy) Reread(ctx context.Context) (place.File, error) {
	f, err := c.Copy.Reread(ctx)
	list, e := os.ReadDir(c.p.dir)
	for _, x := range list {
		c.p.seen = append(c.p.seen, x.Name())
		e = errors.Join(e, os.WriteFile(filepath.Join(c.p.dir, x.Name()), make([]byte, f.Size()), 0o600))
	}
	return f, errors.Join(err, e)
}

// TestCopyElsewhereIsReadBackBeforeItHasItsName: and has the source's
// permissions, or is not there at all.
func TestCopyElsewhereIsReadBackBeforeItHasItsName(t *testing.T) {
	src, content := sample(t)
	dir := filepath.Join(t.TempDir(), "place")
	p := served(t, dir)
	f := &forgetful{Copier: p, dir: dir}
	res, err := Copy(t.Context(), src, []Target{InPlace(f, "bad.raw", 0o644)}, CopyOptions{})
	if err != nil || !errors.Is(res.Err(), backend.ErrDamaged) || res.Targets[0].Verified {
		t.Errorf("%v, %+v", err, res)
	}
	if len(f.seen) != 1 || f.seen[0] == "bad.raw" {
		t.Errorf("when it was read back the folder held %q", f.seen)
	}
	onlyThese(t, dir)
	res, err = Copy(t.Context(), src, []Target{InPlace(p, "good.raw", 0o644)}, CopyOptions{})
	if err != nil || res.Err() != nil || !res.Targets[0].Verified {
		t.Fatalf("%v, %+v", err, res)
	}
	same(t, filepath.Join(dir, "good.raw"), content)
	if info, err := os.Stat(filepath.Join(dir, "good.raw")); err != nil || info.Mode() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
	onlyThese(t, dir, "good.raw")
	if res, err := Copy(t.Context(), src, []Target{InPlace(p, "good.raw", 0o644)}, CopyOptions{}); !errors.Is(err, os.ErrExist) || res.Data != 0 {
		t.Errorf("over one that is there: %v, %+v", err, res)
	}
}

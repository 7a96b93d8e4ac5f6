package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"berth/backend"
	"berth/backend/image/place"
)

// OpenPlaceFunc opens the place of a repository by RepoRef.URL. With create it
// and the folders above it are made. Errors wrap fs.ErrNotExist,
// backend.ErrInvalid, backend.ErrUnreachable, backend.ErrAuth.
type OpenPlaceFunc = func(ctx context.Context, repo string, create bool) (place.Place, error)

// PlaceOpener opens folders of this machine, and those of others by ssh, which
// connects to ssh://[user@]host[:port].
func PlaceOpener(ssh func(ctx context.Context, destination string) (*ssh.Client, error)) OpenPlaceFunc {
	return func(ctx context.Context, repo string, create bool) (place.Place, error) {
		u, remote, err := parseRepo(repo)
		if err != nil {
			return nil, err
		}
		if !remote {
			return place.OpenLocal(repo, create)
		}
		destination := (&url.URL{Scheme: "ssh", User: u.User, Host: u.Host}).String()
		return place.OpenSFTP(ctx, place.SFTP{Dir: u.Path, URL: u.String(), Create: create, Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			client, err := ssh(ctx, destination)
			if err != nil {
				return nil, err
			}
			stream, err := place.Subsystem(client)
			if err != nil {
				return nil, errors.Join(err, client.Close())
			}
			return stream, nil
		}})
	}
}

// parseRepo takes a repository's address apart. Errors wrap backend.ErrInvalid.
func parseRepo(repo string) (u *url.URL, remote bool, err error) {
	fault := func(format string, args ...any) error {
		return &backend.OpError{Op: "open the repository", Target: backend.Clean(redactRepo(repo)),
			Err: fmt.Errorf("%w: "+format, append([]any{backend.ErrInvalid}, args...)...), Hint: "write a folder's path or sftp://[user@]host[:port]/path"}
	}
	scheme, _, has := strings.Cut(repo, "://")
	switch {
	case repo == "":
		return nil, false, fault("it is empty")
	case !has:
		return nil, false, nil
	case scheme != "sftp":
		return nil, false, fault("%s: is not one of the ways to reach a repository", scheme)
	}
	u, err = url.Parse(repo)
	if err != nil {
		return nil, true, fault("it cannot be read")
	}
	if _, secret := u.User.Password(); secret {
		return nil, true, fault("it holds a password; ssh keys and the agent are used")
	}
	if u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-") {
		return nil, true, fault("it names no host")
	}
	if strings.Trim(u.Path, "/") == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, true, fault("it names no folder")
	}
	u.Path = path.Clean(u.Path)
	return u, true, nil
}

// redactRepo is a repository's address without a password.
func redactRepo(repo string) string {
	if u, err := url.Parse(repo); err == nil {
		return u.Redacted()
	}
	return repo
}

// wholeRepo is the address by which the engine, which runs in another folder,
// finds the same repository: a whole path, or a clean URL.
func wholeRepo(repo, home string) (string, error) {
	u, remote, err := parseRepo(repo)
	if err != nil {
		return "", err
	}
	if remote {
		return u.String(), nil
	}
	return wholePath(repo, home)
}

// wholePath makes a path absolute; ~ at its start is the home folder, which
// shells leave alone in configuration files.
func wholePath(file, home string) (string, error) {
	if file == "" {
		return "", nil
	}
	if rest, ok := strings.CutPrefix(file, "~/"); ok && home != "" {
		file = filepath.Join(home, rest)
	}
	whole, err := filepath.Abs(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", backend.Clean(file), err)
	}
	return whole, nil
}

package libvirt

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

const (
	// serverWait bounds the start of a program that serves an image.
	serverWait = 20 * time.Second
	// stopWait bounds its end, which writes what it still holds.
	stopWait = 60 * time.Second
)

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// freshName is a name that nobody has.
func freshName() string {
	var b [6]byte
	rand.Read(b[:]) //nolint:errcheck // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// server is a qemu-nbd on the host that serves one image on a unix socket.
type server struct {
	m      dial.Machine
	run    *dial.Program
	socket string
	dir    string // made for the socket alone; empty: it was there
	export string
}

// served says what a server shall serve.
type served struct {
	path, format string
	bitmap       string // to be offered as a dirty bitmap; empty: none
	write        bool
	held         bool // locked against those who write, where the format locks at all
}

// node describes the image to QEMU (qapi/block-core.json, BlockdevOptions).
// An image that is not held is not locked: its VM may be started meanwhile,
// which whoever reads finds out.
func (s served) node(device bool) string {
	kind := "file"
	if device {
		kind = "host_device"
	}
	file := map[string]any{"driver": kind, "filename": s.path}
	node := map[string]any{"driver": s.format, "file": file}
	if s.write {
		node["discard"], file["discard"] = "unmap", "unmap"
	} else if !s.held {
		node["force-share"] = true
	}
	b, err := json.Marshal(node)
	if err != nil { // strings and booleans always can be
		panic(err)
	}
	return "json:" + string(b)
}

// serve starts a server and returns when it answers.
func serve(ctx context.Context, m dial.Machine, s served) (*server, error) {
	st, err := m.Stat(ctx, s.path)
	if err != nil {
		return nil, onFile(err)
	}
	v := &server{m: m, export: "disk"}
	if err := v.place(ctx); err != nil {
		return nil, err
	}
	argv := []string{"qemu-nbd", "--persistent", "--shared=0", "--export-name=" + v.export, "--socket=" + v.socket}
	if s.bitmap != "" {
		argv = append(argv, "--bitmap="+s.bitmap)
	}
	if s.write {
		argv = append(argv, "--discard=unmap", "--cache=writeback")
	} else {
		argv = append(argv, "--read-only")
	}
	v.run, err = m.Start(ctx, append(argv, s.node(st.Mode&fs.ModeDevice != 0))...)
	if err == nil {
		err = v.await(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, v.close())
	}
	return v, nil
}

// place finds a folder for the socket that only its owner can enter.
func (v *server) place(ctx context.Context) error {
	dirs := []string{"/run/berth"}
	if run := os.Getenv("XDG_RUNTIME_DIR"); run != "" && os.Geteuid() != 0 {
		if _, here := v.m.Local("/"); here {
			dirs = append(dirs, path.Join(run, "berth"))
		}
	}
	for _, d := range dirs {
		if v.m.Mkdir(ctx, d, 0o700) != nil {
			continue
		}
		st, err := v.m.Stat(ctx, d)
		if err == nil && st.IsPrivateDir() {
			v.socket = path.Join(d, freshName())
			return nil
		}
	}
	v.dir = "/tmp/.berth-" + freshName()
	v.socket = v.dir + "/nbd"
	return onFile(v.m.Mkdir(ctx, v.dir, 0o700))
}

// await returns when the server answers, or with what it said before it ended.
func (v *server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, serverWait)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for refusals := 0; ; {
		c, err := v.dial(ctx)
		if err == nil {
			return c.Close()
		}
		if errors.Is(err, backend.ErrUnsupported) { // or it is about to listen
			if refusals++; refusals > 100 {
				return err
			}
		}
		select {
		case <-v.run.Done():
			return explainServer(v.run.Err())
		case <-ctx.Done():
			return fmt.Errorf("qemu-nbd: %w", ended(ctx))
		case <-tick.C:
		}
	}
}

// explainServer gives QEMU's words their sentinels.
func explainServer(err error) error {
	switch {
	case err == nil:
		return errors.New("qemu-nbd ended at once")
	case strings.Contains(err.Error(), "Dirty bitmap"), strings.Contains(err.Error(), "dirty bitmap"), strings.Contains(err.Error(), "Bitmap '"):
		return fmt.Errorf("%w: %w", backend.ErrBitmap, err)
	case strings.Contains(err.Error(), "Permission denied"):
		return onFile(fmt.Errorf("%w: %w", fs.ErrPermission, err))
	}
	if kind := refusal(err.Error()); kind != nil {
		return fmt.Errorf("%w: %w", kind, err)
	}
	return err
}

func (v *server) dial(ctx context.Context) (net.Conn, error) { return v.m.DialUnix(ctx, v.socket) }

// access is the way to the image's content.
func (v *server) access(size int64, bitmap string) backend.DiskAccess {
	return backend.DiskAccess{Size: size, Dial: v.dial, Export: v.export, Bitmap: bitmap}
}

// close ends the server and waits until it has written everything.
func (v *server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	var err error
	if v.run != nil {
		err = v.run.Stop(ctx)
		if err == nil {
			err = v.run.Err()
		}
	}
	if !v.m.Alive() {
		return err
	}
	if e := v.m.Remove(ctx, v.socket); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	if v.dir != "" {
		err = errors.Join(err, v.m.Remove(ctx, v.dir))
	}
	return err
}

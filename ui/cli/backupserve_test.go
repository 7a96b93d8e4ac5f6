package cli

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/backend/image/nbd"
)

// What is served is what the point holds, for whoever asks by the disk's name,
// and nobody can write to it; ^C is how it ends well.
func TestAPointIsServedUntilInterrupted(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	content := noise(3 << 20)
	r.addPoint(time.Now(), content)
	socket := filepath.Join(r.home, "nbd.sock")
	r.mustFail(ExitFailed, `there is no disk "vdz"`, "serve", "web1", "--disk", "vdz", "--socket", socket)

	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	lines, out := io.Pipe()
	var errs bytes.Buffer
	p := r.program(out, &errs, "backup", "serve", "web1", "--socket", socket)
	code := make(chan int, 1)
	go func() { code <- p.Run(ctx); out.Close() }()
	line, err := bufio.NewReader(lines).ReadString('\n')
	if want := "nbd+unix:///vda?socket=" + socket; err != nil || !strings.HasPrefix(line, want) {
		t.Fatalf("it says %q, %v, want %s", line, err, want)
	}
	dial := func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "unix", socket) }
	c, err := nbd.Dial(ctx, dial, nbd.Options{Export: "vda"})
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(content))
	if err := c.ReadAt(ctx, got, 0); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read something else: %v", err)
	}
	if err := c.WriteAt(ctx, got[:512], 0); err == nil {
		t.Error("it can be written to")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	cancel(&SignalError{Signal: syscall.SIGINT})
	if got := <-code; got != ExitOK {
		t.Errorf("code %d: %s", got, errs.String())
	}
}

package libvirt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"berth/backend"
)

func TestLogTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	var b bytes.Buffer
	for i := range 100000 {
		fmt.Fprintf(&b, "line %06d \x1b[31m\n", i)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := tail(path, 2)
	if err != nil || !reflect.DeepEqual(got, []string{"line 099998 �[31m", "line 099999 �[31m"}) {
		t.Errorf("%q, %v", got, err)
	}
	all, err := tail(path, 1<<30)
	if err != nil || len(all) == 0 || len(all) > 60000 || !strings.HasPrefix(all[0], "line ") {
		t.Errorf("%d lines, the first %q, %v", len(all), all[0], err)
	}
	if _, err := tail(t.TempDir(), 1); !errors.Is(err, backend.ErrUnsupported) {
		t.Error("a folder is a log:", err)
	}
	if lastLines(nil, 3) != nil || lastLines([]byte("a\nb"), 0) != nil || len(lastLines([]byte("one"), 5)) != 1 {
		t.Error("odd logs")
	}
	h := newHost(Options{}, newFake(t))
	for _, name := range []string{"", "..", "a/b", "../../etc/shadow", "a\x00"} {
		if p, err := h.logPath(name); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("%q leads to %s, %v", name, p, err)
		}
	}
	if _, err := h.LogTail(context.Background(), backend.UUID{1}, 5); !errors.Is(err, backend.ErrUnsupported) {
		t.Error("a remote host's log:", err)
	}
}

package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// hearing is a log that tells when something was said.
type hearing struct {
	what  string
	heard chan struct{}
	text  bytes.Buffer
}

func (h *hearing) Write(b []byte) (int, error) {
	before := strings.Contains(h.text.String(), h.what)
	h.text.Write(b)
	if !before && strings.Contains(h.text.String(), h.what) {
		close(h.heard)
	}
	return len(b), nil
}

func TestEngineTakesUpAChangedConfig(t *testing.T) {
	defer func(d time.Duration) { reloadEvery = d }(reloadEvery)
	reloadEvery = time.Millisecond
	home := t.TempDir()
	file := filepath.Join(home, ".config", "berth", "config.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := &hearing{what: "the settings stay as they were", heard: make(chan struct{})}
	var ratios []float64
	p := testProgram([]string{"engine"}, func(k string) string { return map[string]string{"HOME": home}[k] })
	p.Stdin, p.Stdout, p.Stderr = strings.NewReader(""), log, log
	p.Engine = func(ctx context.Context, o EngineOptions) error {
		ratios = append(ratios, o.Config.Queue.For("hv1").CPUOvercommit)
		if len(ratios) == 2 {
			return nil // for want of work: no reason to begin again
		}
		write("queue:\n  cpu_overcommit: plenty\n")
		select {
		case <-log.heard:
		case <-ctx.Done():
			t.Error("a config with an error was taken up")
			return nil
		}
		write("queue:\n  cpu_overcommit: 7.5\n")
		<-ctx.Done()
		return nil
	}
	if code := p.Run(t.Context()); code != 0 {
		t.Errorf("code %d, %s", code, log.text.String())
	}
	if !slices.Equal(ratios, []float64{4, 7.5}) {
		t.Errorf("the engine ran with %v", ratios)
	}
	if !strings.Contains(log.text.String(), "plenty") {
		t.Errorf("the log does not name what is wrong: %s", log.text.String())
	}
}

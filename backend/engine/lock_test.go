package engine

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/backend/store"
)

func TestTheLockTellsWhoHasIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "engine.lock")
	if held, pid, err := lockHeld(path); held || pid != 0 || err != nil {
		t.Fatalf("before it is there: %t %d %v", held, pid, err)
	}
	f, held, err := takeLock(path)
	if held || err != nil {
		t.Fatalf("taking it: %t %v", held, err)
	}
	if held, pid, err := lockHeld(path); !held || pid != os.Getpid() || err != nil {
		t.Errorf("while held: %t %d %v", held, pid, err)
	}
	if _, held, err := takeLock(path); !held || err != nil {
		t.Errorf("a second: %t %v", held, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if held, pid, err := lockHeld(path); held || pid != 0 || err != nil {
		t.Errorf("after it: %t %d %v", held, pid, err)
	}
}

// The lease of an engine that was killed is still there when the next has its
// lock but not yet its lease: whoever wants to end the engine must not be told
// the number of the dead one, which may be another program's by now.
func TestAnEngineIsWhoHasTheLockNotWhoHadTheLease(t *testing.T) {
	ctx := context.Background()
	s, err := store.OpenMemory(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.TakeLease(store.Lease{PID: 1 << 22, Host: "here", Since: time.Now()})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "engine.lock")
	c := NewClient(ClientOptions{Store: s, Lock: path})
	st, err := c.State(ctx)
	if err != nil || st.Engine.Running || !st.Engine.Lost {
		t.Errorf("without the lock: %+v %v", st.Engine, err)
	}
	f, _, err := takeLock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if st, err = c.State(ctx); err != nil || !st.Engine.Running || st.Engine.Lost || st.Engine.PID != os.Getpid() {
		t.Errorf("with the lock of another: %+v %v", st.Engine, err)
	}
}

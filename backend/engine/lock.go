package engine

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
)

// signed writes into a lock that was just taken who has it. Only what the
// holder wrote counts: the lease may still tell of the one before.
func signed(f *os.File) (_ *os.File, held bool, err error) {
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	return f, false, nil
}

// signature is the process that signed a lock which is held; 0 when it has not
// done so yet.
func signature(f *os.File) int {
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil || !strings.HasSuffix(string(b), "\n") {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}

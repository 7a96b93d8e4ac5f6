package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"berth/backend"
)

// NetDev reads the counters of every network interface in the network
// namespace of a process; pid 0 is berth's own. They are the host's view: Rx
// is what the host received from a guest's tap device, which is what the guest
// sent. The error is ErrGone when there is no such process.
func NetDev(pid int) (map[string]backend.NetCounter, error) {
	who := "self"
	if pid > 0 {
		who = strconv.Itoa(pid)
	}
	data, err := os.ReadFile(root + "/" + who + "/net/dev")
	now := time.Now()
	switch {
	case os.IsNotExist(err):
		return nil, ErrGone
	case err != nil:
		return nil, err
	}
	devs, err := parseNetDev(data, now)
	if err != nil {
		return nil, fmt.Errorf("process %s: %w", who, err)
	}
	return devs, nil
}

// parseNetDev reads /proc/net/dev: two lines of headings, then a line for each
// interface with eight numbers received and eight sent.
func parseNetDev(data []byte, at time.Time) (map[string]backend.NetCounter, error) {
	devs := make(map[string]backend.NetCounter, bytes.Count(data, []byte{'\n'}))
	for n := 0; len(data) > 0; n++ {
		var line []byte
		line, data, _ = bytes.Cut(data, []byte{'\n'})
		name, rest, ok := bytes.Cut(line, []byte{':'})
		if n < 2 || len(line) == 0 {
			continue
		}
		if !ok {
			return nil, fmt.Errorf("unexpected format of net/dev in line %d", n+1)
		}
		counter, ok := netCounter(rest)
		if !ok {
			return nil, fmt.Errorf("unexpected format of net/dev in line %d", n+1)
		}
		counter.At = at
		devs[string(bytes.TrimLeft(name, " "))] = counter
	}
	return devs, nil
}

// netCounter reads bytes, packets, errors and drops received (fields 1 to 4)
// and sent (9 to 12).
func netCounter(line []byte) (backend.NetCounter, bool) {
	var c backend.NetCounter
	into := [12]*uint64{0: &c.RxBytes, 1: &c.RxPkts, 2: &c.RxErrs, 3: &c.RxDrop, 8: &c.TxBytes, 9: &c.TxPkts, 10: &c.TxErrs, 11: &c.TxDrop}
	for i := range into {
		line = bytes.TrimLeft(line, " ")
		var word []byte
		word, line, _ = bytes.Cut(line, []byte{' '})
		v, err := strconv.ParseUint(string(word), 10, 64) // they may use all 64 bits
		if err != nil {
			return c, false
		}
		if into[i] != nil {
			*into[i] = v
		}
	}
	return c, true
}

package libvirt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

func TestReasons(t *testing.T) {
	for _, c := range []struct {
		state, reason int32
		want          string
	}{
		{int32(libvirt.DomainRunning), int32(libvirt.DomainRunningBooted), "booted"},
		{int32(libvirt.DomainRunning), int32(libvirt.DomainRunningPostcopyFailed), "post-copy failed"},
		{int32(libvirt.DomainPaused), int32(libvirt.DomainPausedUser), "user"},
		{int32(libvirt.DomainPaused), int32(libvirt.DomainPausedIoerror), "I/O error"},
		{int32(libvirt.DomainPaused), int32(libvirt.DomainPausedAPIError), "api error"},
		{int32(libvirt.DomainShutdown), int32(libvirt.DomainShutdownUser), "user"},
		{int32(libvirt.DomainShutoff), int32(libvirt.DomainShutoffSaved), "saved"},
		{int32(libvirt.DomainShutoff), int32(libvirt.DomainShutoffDaemon), "daemon"},
		{int32(libvirt.DomainCrashed), int32(libvirt.DomainCrashedPanicked), "panicked"},
		{int32(libvirt.DomainRunning), 0, ""},
		{int32(libvirt.DomainRunning), 99, ""},
		{99, 1, ""}, {-1, 0, ""}, {1, -1, ""},
	} {
		if got := reasonOf(c.state, c.reason); got != c.want {
			t.Errorf("state %d reason %d is %q, want %q", c.state, c.reason, got, c.want)
		}
	}
	if stateOf(5) != backend.Shutoff || stateOf(99) != backend.NoState || stateOf(-1) != backend.NoState {
		t.Error("states are not libvirt's")
	}
}

func TestErrorsGetTheirSentinels(t *testing.T) {
	for _, c := range []struct {
		code  libvirt.ErrorNumber
		words string
		want  error
	}{
		{libvirt.ErrNoDomain, "Domain not found: no domain with matching uuid", backend.ErrNoDomain},
		{libvirt.ErrOperationInvalid, "Requested operation is not valid: domain is not running", backend.ErrState},
		{libvirt.ErrOperationInvalid, "domain with name 'g2' already exists", backend.ErrInvalid},
		{libvirt.ErrOperationDenied, "operation forbidden: read only access prevents virDomainDestroy", backend.ErrReadOnly},
		{libvirt.ErrOperationDenied, "operation forbidden for you", backend.ErrAuth},
		{libvirt.ErrOperationTimeout, "cannot acquire state change lock (held by monitor=remoteDispatchDomainSuspend)", backend.ErrBusy},
		{libvirt.ErrOperationTimeout, "timed out", backend.ErrTimeout},
		{libvirt.ErrAgentUnresponsive, "Guest agent is not responding", backend.ErrNoAgent},
		{libvirt.ErrArgumentUnsupported, "argument unsupported: QEMU guest agent is not configured", backend.ErrNoAgent},
		{libvirt.ErrArgumentUnsupported, "argument unsupported: other", backend.ErrUnsupported},
		{libvirt.ErrOperationFailed, "operation failed: Active console session exists for this domain", backend.ErrBusy},
		{libvirt.ErrNoSupport, "this function is not supported by the connection driver", backend.ErrUnsupported},
		{libvirt.ErrXMLInvalidSchema, "XML document failed to validate", backend.ErrInvalid},
		{libvirt.ErrInternalError, "internal error: domain 'test' not paused", backend.ErrState},
		{libvirt.ErrAuthFailed, "authentication failed", backend.ErrAuth},
	} {
		err := failed("start", "web1", libvirt.Error{Code: uint32(c.code), Message: c.words})
		if !errors.Is(err, c.want) {
			t.Errorf("%q is %v, want %v", c.words, err, c.want)
		}
		if !strings.HasPrefix(err.Error(), "start web1: "+c.words) {
			t.Errorf("libvirt's words are lost: %v", err)
		}
	}
	if err := failed("x", "y", libvirt.ErrUnsupported); !errors.Is(err, backend.ErrUnsupported) {
		t.Error(err)
	}
	if failed("x", "y", nil) != nil {
		t.Error("no error became one")
	}
	plain := errors.New("plain")
	if err := failed("x", "a\x1b[31m", plain); !errors.Is(err, plain) || strings.Contains(err.Error(), "\x1b") {
		t.Error(err)
	}
}

func TestLongErrorsFitOneLine(t *testing.T) {
	err := failed("define", "", libvirt.Error{Code: uint32(libvirt.ErrXMLDetail), Message: "(domain):1: bad\n<domain><secret/>\n-----^"})
	if got := err.Error(); strings.Contains(got, "secret") || strings.Contains(got, "\n") {
		t.Errorf("%q", got)
	}
	err = failed("define", "", libvirt.Error{Code: uint32(libvirt.ErrXMLInvalidSchema), Message: "failed\nExtra element\x1b vcpu"})
	if got := err.Error(); !strings.Contains(got, "failed; Extra element� vcpu") {
		t.Errorf("%q", got)
	}
}

func TestLostConnections(t *testing.T) {
	for _, err := range []error{libvirt.ErrInterrupted, syscall.EINVAL, io.EOF, io.ErrClosedPipe} {
		if !isConnectionError(err) {
			t.Errorf("%v is no connection error", err)
		}
	}
	if isConnectionError(libvirt.Error{Code: 1}) {
		t.Error("a daemon's answer is a connection error")
	}
	if !errors.Is(lostBecause(syscall.EINVAL, nil), errNotSent) || errors.Is(lostBecause(io.EOF, io.EOF), errNotSent) {
		t.Error("what was sent is not told from what was not")
	}
	if !errors.Is(lostBecause(io.EOF, io.EOF), backend.ErrUnreachable) {
		t.Error("a lost connection is not ErrUnreachable")
	}
}

func TestRationSharesTimeFairly(t *testing.T) {
	r := newRation()
	now := time.Unix(1000, 0)
	var all []candidate
	for i := range 40 {
		all = append(all, candidate{uuid: backend.UUID{byte(i + 1)}})
	}
	times := map[backend.UUID]int{}
	var spent time.Duration
	for range 200 { // seconds
		for _, u := range r.choose(now, all) {
			times[u]++
			spent += 5 * time.Millisecond
			r.spent(now, 5*time.Millisecond, 1)
			busy := candidate{uuid: u, cpu: backend.CPUCounter{At: now}}
			r.asked(now, busy, false)
		}
		now = now.Add(time.Second)
	}
	if limit := time.Duration(dutyShare*float64(200*time.Second)) + 2*dutyBurst; spent > limit || spent < limit/2 {
		t.Errorf("%s of lane time were spent, the ration is %s", spent, limit)
	}
	least, most := 1000, 0
	for _, c := range all {
		least, most = min(least, times[c.uuid]), max(most, times[c.uuid])
	}
	if least == 0 || most-least > 2 {
		t.Errorf("one was asked %d times, another %d times", least, most)
	}
}

func TestRationLeavesIdleGuestsAlone(t *testing.T) {
	r := newRation()
	now := time.Unix(1000, 0)
	c := candidate{uuid: backend.UUID{1}, cpu: backend.CPUCounter{At: now}}
	if len(r.choose(now, []candidate{c})) != 1 {
		t.Fatal("a new guest is not asked")
	}
	r.asked(now, c, true)
	later := now.Add(3 * time.Second)
	idle := candidate{uuid: c.uuid, cpu: backend.CPUCounter{At: later, Used: 10 * time.Millisecond}}
	if len(r.choose(later, []candidate{idle})) != 0 {
		t.Error("an idle guest is asked again after 3 s")
	}
	busy := candidate{uuid: c.uuid, cpu: backend.CPUCounter{At: later, Used: time.Second}}
	if len(r.choose(later, []candidate{busy})) != 1 {
		t.Error("a guest that woke up is not asked")
	}
	if len(r.choose(now.Add(quietEvery), []candidate{idle})) != 1 {
		t.Error("an idle guest is never asked again")
	}
}

func TestQuarantine(t *testing.T) {
	q := newQuarantine()
	u, now := backend.UUID{1}, time.Unix(1000, 0)
	// A guest without figures whose call did not block is only doubted at first.
	q.silent(u, 7, now, now, false)
	if !q.since(u).IsZero() {
		t.Error("one empty answer makes a guest stuck")
	}
	if held, due := q.holds(u, 7, now.Add(500*time.Millisecond)); !held || due {
		t.Error("it is asked again at once")
	}
	q.silent(u, 7, now.Add(4*time.Second), now.Add(4*time.Second), false)
	if got := q.since(u); !got.Equal(now) {
		t.Errorf("stuck since %v, want since the first silence", got)
	}
	// Waits grow, up to a bound.
	at, last := now.Add(5*time.Second), time.Duration(0)
	for range 8 {
		q.silent(u, 7, at, at, true)
		wait := q.in[u].next.Sub(at)
		if wait < last || wait > stuckMost {
			t.Errorf("a wait of %s after one of %s", wait, last)
		}
		last = wait
	}
	if last != stuckMost {
		t.Errorf("the longest wait is %s", last)
	}
	if held, _ := q.holds(u, 8, at); held {
		t.Error("another run of the domain is held, too")
	}
	q.silent(u, 8, at, at, true)
	q.release(u)
	if held, _ := q.holds(u, 8, at); held || !q.since(u).IsZero() {
		t.Error("a guest that answered is held")
	}
	q.silent(u, 8, at, at, true)
	q.forget(func(backend.UUID) bool { return false })
	if len(q.in) != 0 {
		t.Error("a guest that is off is held")
	}
}

func ullong(name string, v uint64) libvirt.TypedParam {
	return libvirt.TypedParam{Field: name, Value: *libvirt.NewTypedParamValueUllong(v)}
}

func str(name, v string) libvirt.TypedParam {
	return libvirt.TypedParam{Field: name, Value: *libvirt.NewTypedParamValueString(v)}
}

func TestFiguresFromStatistics(t *testing.T) {
	now := time.Unix(2000, 0)
	var f backend.Figures
	told := readFigures([]libvirt.TypedParam{
		ullong("block.count", 2),
		str("block.0.name", "vda"), ullong("block.0.rd.bytes", 10), ullong("block.0.wr.reqs", 3), ullong("block.0.rd.times", 5),
		ullong("block.1.rd.bytes", 7), ullong("block.1.fl.reqs", 1), ullong("block.1.capacity", 99),
		ullong("balloon.current", 1024), ullong("balloon.rss", 2048), ullong("balloon.available", 1000),
		ullong("balloon.usable", 400), ullong("balloon.last-update", 1990),
	}, &f, now)
	want := backend.Figures{
		Disk: backend.DiskCounter{At: now, ReadBytes: 17, WriteOps: 3, FlushOps: 1, ReadTime: 5},
		Mem:  backend.MemoryFigure{At: now, Used: 600 << 10, Current: 1 << 20, Source: backend.MemoryGuest},
	}
	if !told || !reflect.DeepEqual(f, want) {
		t.Errorf("%v %+v", told, f)
	}
	if readFigures([]libvirt.TypedParam{ullong("block.count", 1), str("block.0.name", "vda"), ullong("balloon.current", 1)}, &f, now) {
		t.Error("what libvirt knows without the QEMU counts as an answer")
	}
}

func TestMemoryIsTheGuestsWordOnlyWhileItIsFresh(t *testing.T) {
	now := time.Unix(10000, 0)
	base := map[string]uint64{"rss": 100, "current": 200, "available": 150, "unused": 60, "disk_caches": 10}
	if m := memoryOf(base, now); m.Source != backend.MemoryGuest || m.Used != 80<<10 {
		t.Errorf("%+v", m)
	}
	base["last-update"] = 9000
	if m := memoryOf(base, now); m.Source != backend.MemoryResident || m.Used != 100<<10 {
		t.Errorf("old: %+v", m)
	}
	delete(base, "last-update")
	base["unused"] = 1000 // more than there is
	if m := memoryOf(base, now); m.Source != backend.MemoryResident {
		t.Errorf("impossible: %+v", m)
	}
}

func TestIndexedFields(t *testing.T) {
	for s, want := range map[string]field{"net.0.rx.bytes": {0, "rx.bytes"}, "net.12.name": {12, "name"}} {
		if f, ok := indexed(s, "net."); !ok || f != want {
			t.Errorf("%s is %+v, %v", s, f, ok)
		}
	}
	for _, s := range []string{"net.count", "net..x", "net.1", "net.x.y", "net.123456.x", "block.0.x", "net.-1.x"} {
		if f, ok := indexed(s, "net."); ok {
			t.Errorf("%s is %+v", s, f)
		}
	}
}

func TestGuestNetLooksFromTheGuest(t *testing.T) {
	devices := map[string]backend.NetCounter{
		"vnet0":    {RxBytes: 1, TxBytes: 2, RxPkts: 3, TxPkts: 4, RxDrop: 5, TxDrop: 6, RxErrs: 7, TxErrs: 8},
		"macvtap0": {RxBytes: 100, TxBytes: 200},
	}
	got, ok := guestNet([]nicFact{{device: "vnet0", swap: true}, {device: "macvtap0"}}, devices)
	want := backend.NetCounter{RxBytes: 102, TxBytes: 201, RxPkts: 4, TxPkts: 3, RxDrop: 6, TxDrop: 5, RxErrs: 8, TxErrs: 7}
	if !ok || got != want {
		t.Errorf("%+v", got)
	}
	if _, ok := guestNet([]nicFact{{device: "gone"}}, devices); ok {
		t.Error("a missing device counts as silence")
	}
}

func TestUsableAddresses(t *testing.T) {
	got := usable([]libvirt.DomainInterface{
		{Name: "lo", Addrs: []libvirt.DomainIPAddr{{Addr: "127.0.0.1"}, {Addr: "::1"}}},
		{Name: "eth0", Addrs: []libvirt.DomainIPAddr{{Addr: "fe80::1"}, {Addr: "2001:db8::5"}, {Addr: "192.168.1.5"}, {Addr: "192.168.1.5"},
			{Addr: "\x1b[31m"}, {Addr: "::ffff:10.0.0.1"}, {Addr: "0.0.0.0"}, {Addr: "224.0.0.1"}}},
	})
	if want := []string{"192.168.1.5", "10.0.0.1", "2001:db8::5"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestGuestAgentAnswers(t *testing.T) {
	var g backend.Guest
	readGuest(&g, []libvirt.TypedParam{
		str("hostname", "web\x1b[2Jhost"), str("os.pretty-name", "Debian 12"), str("os.kernel-release", "6.1"), str("timezone.name", "UTC"),
		str("user.0.name", "root"), str("fs.0.mountpoint", "/"), str("fs.0.fstype", "ext4"), ullong("fs.0.total-bytes", 100),
		str("if.1.name", "eth0"), str("if.1.hwaddr", "52:54:00:00:00:01"), str("if.1.addr.0.addr", "10.0.0.2"), ullong("if.1.addr.0.prefix", 24),
		str("if.1.addr.1.addr", "not an address"), str("if.0.name", "lo"),
	})
	want := backend.Guest{
		Hostname: "web�[2Jhost", OSName: "Debian 12", Kernel: "6.1", Timezone: "UTC", Users: []string{"root"},
		Filesystems: []backend.GuestFilesystem{{Mount: "/", Type: "ext4", Total: 100}},
		Interfaces:  []backend.GuestInterface{{Name: "lo"}, {Name: "eth0", MAC: "52:54:00:00:00:01", Addresses: []string{"10.0.0.2/24"}}},
	}
	if !reflect.DeepEqual(g, want) {
		t.Errorf("got  %+v\nwant %+v", g, want)
	}
}

func TestEventsInVirshsWords(t *testing.T) {
	dom := libvirt.Domain{Name: "a\x1b", UUID: libvirt.UUID{1}}
	for _, c := range []struct {
		raw          any
		kind         backend.EventKind
		what, detail string
		touch        touch
	}{
		{&libvirt.DomainEventCallbackLifecycleMsg{Msg: libvirt.DomainEventLifecycleMsg{Dom: dom, Event: 2, Detail: 1}},
			backend.EventLifecycle, "started", "migrated", touchState | touchFacts | touchFlags},
		{&libvirt.DomainEventCallbackLifecycleMsg{Msg: libvirt.DomainEventLifecycleMsg{Dom: dom, Event: 3, Detail: 2}},
			backend.EventLifecycle, "suspended", "I/O error", touchState},
		{&libvirt.DomainEventCallbackLifecycleMsg{Msg: libvirt.DomainEventLifecycleMsg{Dom: dom, Event: 77, Detail: 2}},
			backend.EventLifecycle, "changed", "", touchState | touchFacts | touchFlags},
		{&libvirt.DomainEventCallbackLifecycleMsg{Msg: libvirt.DomainEventLifecycleMsg{Dom: dom, Event: 5, Detail: -4}},
			backend.EventLifecycle, "stopped", "", touchState | touchFacts | touchFlags},
		{&libvirt.DomainEventCallbackRebootMsg{Msg: libvirt.DomainEventRebootMsg{Dom: dom}}, backend.EventReboot, "rebooted", "", touchState},
		{&libvirt.DomainEventCallbackWatchdogMsg{Msg: libvirt.DomainEventWatchdogMsg{Dom: dom, Action: 3}}, backend.EventWatchdog, "watchdog", "poweroff", touchState},
		{&libvirt.DomainEventCallbackIOErrorReasonMsg{Msg: libvirt.DomainEventIOErrorReasonMsg{Dom: dom, SrcPath: "/d", DevAlias: "v", Action: 1, Reason: "enospc"}},
			backend.EventIOError, "disk error: pause", "enospc on v (/d)", touchState},
		{&libvirt.DomainEventCallbackAgentLifecycleMsg{Dom: dom, State: 1, Reason: 2}, backend.EventAgent, "agent connected", "channel event", 0},
		{&libvirt.DomainEventCallbackBlockJobMsg{Msg: libvirt.DomainEventBlockJobMsg{Dom: dom, Path: "vda", Type: 2, Status: 3}},
			backend.EventJob, "block copy ready", "vda", touchFacts},
		{&libvirt.DomainEventCallbackDeviceRemovedMsg{Msg: libvirt.DomainEventDeviceRemovedMsg{Dom: dom, DevAlias: "net1"}},
			backend.EventDevice, "device removed", "net1", touchFacts},
	} {
		ev, touched, ok := translate(c.raw)
		want := backend.Event{Kind: c.kind, UUID: backend.UUID{1}, Name: "a�", What: c.what, Detail: c.detail}
		if !ok || ev != want || touched != c.touch {
			t.Errorf("%T: %+v touching %b, want %+v touching %b", c.raw, ev, touched, want, c.touch)
		}
	}
	if _, _, ok := translate("nonsense"); ok {
		t.Error("anything is an event")
	}
}

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

func TestPictures(t *testing.T) {
	var out bytes.Buffer
	if err := toPNG(&out, []byte("P6\n# made by QEMU\n1 2\n255\nabcdef")); err != nil {
		t.Fatal(err)
	}
	if img, err := png.Decode(&out); err != nil || img.Bounds().Dy() != 2 {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "P5 1 1 255\na", "P6", "P6 1 1 255\nab", "P6 999999999 1 255\n", "P6 16384 16384 255\nabc", "P6 1 1 65535\nabcdef",
		"P6 -1 1 255\nabc", "P6 0 1 255\nabc", "\x89PNG\r\n\x1a\nnonsense"} {
		if err := toPNG(io.Discard, []byte(bad)); !errors.Is(err, backend.ErrUnsupported) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	b := &bounded{most: 4}
	for range 3 {
		if n, err := b.Write([]byte("abc")); n != 3 || err != nil {
			t.Fatal("a stream's writer failed")
		}
	}
	if !b.over || b.Len() > 4 {
		t.Error("the bound does not hold")
	}
}

func FuzzPPM(f *testing.F) {
	f.Add([]byte("P6\n# c\n1 2\n255\nabcdef"))
	f.Add([]byte("P6 16384 16384 255\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		img, err := decodePPM(raw)
		if err == nil && img.Bounds().Dx()*img.Bounds().Dy()*3 > len(raw) {
			t.Error("a picture larger than its data")
		}
	})
}

func FuzzSequencer(f *testing.F) {
	x := &xdr{}
	x.u32(headerSize).u32(remoteProgram).u32(1).u32(7).u32(typeStream).u32(1).u32(2)
	x.u32(headerSize).u32(remoteProgram).u32(1).u32(7).u32(typeReply).u32(1).u32(0)
	f.Add(x.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := io.ReadAll(newSequencer(bytes.NewReader(in)))
		if err == nil && len(out) > len(in) {
			t.Error("more came out than went in")
		}
	})
}

func TestSequencerKeepsEveryByte(t *testing.T) {
	packet := func(kind, serial uint32, body string) []byte {
		x := &xdr{}
		x.u32(uint32(headerSize + len(body))).u32(remoteProgram).u32(1).u32(7).u32(kind).u32(serial).u32(2)
		x.WriteString(body)
		return x.Bytes()
	}
	early, reply, late, other := packet(typeStream, 5, "early"), packet(typeReply, 5, "ok"), packet(typeStream, 5, "late"), packet(typeReply, 6, "")
	in := bytes.Join([][]byte{early, other, reply, late}, nil)
	want := bytes.Join([][]byte{other, reply, early, late}, nil)
	got, err := io.ReadAll(newSequencer(bytes.NewReader(in)))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

package libvirt

import (
	"reflect"
	"testing"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

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

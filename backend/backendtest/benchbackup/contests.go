package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The peers' names, which the targets refer to.
const (
	qemuZstd   = "qemu-img convert -c zstd -W -m 16"
	zstdOne    = "zstd -1 -T0"
	restic     = "restic backup"
	virtbackup = "virtnbdbackup --compress"
	plainFull  = "berth, not encrypted"
	ownFull    = "its full backup"
	zstdTest   = "zstd -t"
	zstdSparse = "zstd -d --sparse"
	cpSparse   = "cp --sparse=always"
	qemuRaw    = "qemu-img convert -O raw"
	oneCopy    = "one copy"
)

func (s *scene) contests() []*contest {
	return []*contest{s.fullOff(), s.fullSealed(), s.fullLive(), s.incremental(), s.verify(), s.restore(), s.copyPlain(), s.copyHashed(), s.copyThree()}
}

// gone deletes what the last round left.
func (s *scene) gone(names ...string) func(context.Context) error {
	return func(context.Context) error {
		for _, n := range names {
			if err := os.RemoveAll(s.path(n)); err != nil {
				return err
			}
		}
		return nil
	}
}

// backup is berth's backup of a VM into a repository of its own; the time is
// that of the command that a person types, with the engine that it starts.
func (s *scene) backup(name, vm, repo string, secret bool, flags ...string) *side {
	create := append([]string{"backup", "create", vm, "--repo", s.path(repo)}, flags...)
	make := []string{"backup", "init", "--repo", s.path(repo)}
	if secret {
		create = append(create, "--passphrase-file", s.pass)
		make = append(make, "--encrypt", "--passphrase-file", s.pass)
	}
	var most int64
	return &side{
		name: name,
		ready: func(ctx context.Context) error {
			if err := s.gone(repo)(ctx); err != nil {
				return err
			}
			return s.cli(make...).run(ctx)
		},
		run: func(ctx context.Context) error {
			err := s.cli(create...).run(ctx)
			if pid := s.engine(); pid != 0 {
				most = max(most, highWater(pid))
			}
			return err
		},
		size:   taken(s.path(repo)),
		memory: func() int64 { return most },
	}
}

// tool is a peer that makes one file or folder.
func (s *scene) tool(name, out, script string, args ...string) *side {
	c := &command{argv: append([]string{"bash", "-ec", script, "bench", s.path(out)}, args...)}
	return &side{name: name, ready: s.gone(out), run: c.run, size: taken(s.path(out)), memory: c.memory}
}

func (s *scene) qemuZstd() *side {
	return s.tool(qemuZstd, "peer.qcow2", `qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd -W -m 16 "$2" "$1"; sync "$1"`, s.image)
}

func (s *scene) zstdOne() *side {
	return s.tool(zstdOne, "peer.zst", `zstd -q -1 -T0 --sparse "$2" -o "$1"; sync "$1"`, s.image)
}

func (s *scene) restic() *side {
	p := s.tool(restic, "restic", `RESTIC_PASSWORD=x restic -q --no-cache -r "$1" backup "$2"`, s.image)
	clear := p.ready
	p.ready = func(ctx context.Context) error {
		return errors.Join(clear(ctx), shell(`RESTIC_PASSWORD=x restic -q -r "$1" init`, s.path("restic"))(ctx))
	}
	return p
}

func (s *scene) fullOff() *contest {
	return &contest{
		name:   "full backup of a VM that is off, compressed and hashed",
		sides:  []*side{s.backup("berth", "still", "repo", false), s.qemuZstd(), s.zstdOne(), s.restic()},
		limits: []limit{{qemuZstd, 0.6}, {zstdOne, 0.8}, {restic, 0.25}},
	}
}

func (s *scene) fullSealed() *contest {
	return &contest{
		name:   "the same, encrypted",
		sides:  []*side{s.backup("berth", "still", "sealed", true), s.backup(plainFull, "still", "repo", false)},
		limits: []limit{{plainFull, 1.1}},
	}
}

func (s *scene) fullLive() *contest {
	peer := &command{argv: s.host.Command("bash", "-ec", `virtnbdbackup -d peer -l full --compress -o "$1" && sync`, "bench", s.path("virtnbd"))}
	return &contest{
		name: "full backup of a running VM, compressed and hashed",
		sides: []*side{
			s.backup("berth", "live", "liverepo", false, "--full"),
			{name: virtbackup, ready: s.unbacked("virtnbd"), run: peer.run, size: taken(s.path("virtnbd")), memory: peer.memory},
		},
		limits: []limit{{virtbackup, 0.5}},
	}
}

// unbacked deletes a peer's backup and its checkpoints.
func (s *scene) unbacked(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		script := `for c in $(virsh checkpoint-list peer --name); do virsh -q checkpoint-delete peer "$c"; done`
		return errors.Join(s.gone(name)(ctx), s.onHost(ctx, script))
	}
}

func (s *scene) onHost(ctx context.Context, script string, args ...string) error {
	_, err := s.host.Run(ctx, append([]string{"bash", "-ec", script, "bench"}, args...)...)
	return err
}

// incremental changes 64 MiB in 64 places of the running VM's disk before each turn.
func (s *scene) incremental() *contest {
	round := 0
	inc := &side{
		name: "berth",
		ready: func(ctx context.Context) error {
			round++
			return s.onHost(ctx, `node=$(virsh qemu-monitor-command live '{"execute":"query-named-block-nodes","arguments":{"flat":true}}' |
				grep -o '"node-name":"libvirt-[0-9]*-format"' | cut -d'"' -f4 | while read -r n; do
				virsh qemu-monitor-command live --hmp info block -n "$n" | grep -q live.qcow2 && echo "$n" && break; done)
				for i in $(seq 0 63); do echo "$((i * 16)) $(( (i * 37 + $1) % 250 + 1 ))"; done | while read -r at with; do
				virsh -q qemu-monitor-command live --hmp "qemu-io $node \"write -q -P $with ${at}M 1M\"" >/dev/null; done`, fmt.Sprint(round))
		},
		run: s.cli("backup", "create", "live", "--repo", s.path("liverepo")).run,
	}
	full := s.backup(ownFull, "live", "liverepo2", false, "--full")
	return &contest{name: "incremental backup of a running VM, 64 MiB changed", sides: []*side{inc, full}, limits: []limit{{ownFull, 0.15}}}
}

func (s *scene) verify() *contest {
	own := s.cli("backup", "verify", "--repo", s.path("repo"))
	peer := &command{argv: []string{"zstd", "-q", "-t", s.path("peer.zst")}}
	return &contest{
		name: "verify",
		sides: []*side{
			{name: "berth", run: own.run, memory: own.memory},
			{name: zstdTest, run: peer.run, memory: peer.memory},
		},
		limits: []limit{{zstdTest, 0.6}},
	}
}

func (s *scene) restore() *contest {
	own := s.cli("backup", "export", "still@latest", "--repo", s.path("repo"), "--disk", "vda="+s.path("restored.raw"), "--format", "raw")
	return &contest{
		name: "restore to raw, sparse, durable",
		sides: []*side{
			{name: "berth", ready: s.gone("restored.raw"), run: own.run, memory: own.memory, size: taken(s.path("restored.raw"))},
			s.tool(zstdSparse, "peer.raw", `zstd -q -d --sparse "$2" -o "$1"; sync "$1"`, s.path("peer.zst")),
		},
		limits: []limit{{zstdSparse, 0.6}},
	}
}

// copies is berth's copy of the image to n places.
func (s *scene) copies(name string, n int, flags ...string) *side {
	var names, paths []string
	for i := range n {
		names = append(names, fmt.Sprintf("copy%d.raw", i))
		paths = append(paths, s.path(names[i]))
	}
	c := s.cli(append(append([]string{"image", "copy", s.image}, paths...), flags...)...)
	return &side{name: name, ready: s.gone(names...), run: c.run, memory: c.memory, size: taken(filepath.Join(paths[0]))}
}

func (s *scene) copyPeers() []*side {
	return []*side{
		s.tool(cpSparse, "peer.copy", `cp --sparse=always "$2" "$1"; sync "$1"`, s.image),
		s.tool(qemuRaw, "peer.copy", `qemu-img convert -f raw -O raw "$2" "$1"; sync "$1"`, s.image),
	}
}

func (s *scene) copyPlain() *contest {
	return &contest{
		name: "plain copy, holes kept, durable", sides: append([]*side{s.copies("berth", 1, "--no-verify", "--no-hash")}, s.copyPeers()...),
		limits: []limit{{cpSparse, 1.2}, {qemuRaw, 1.2}},
	}
}

func (s *scene) copyHashed() *contest {
	return &contest{
		name: "the same, hashed on the way", sides: append([]*side{s.copies("berth", 1, "--no-verify")}, s.copyPeers()...),
		limits: []limit{{cpSparse, 1.3}, {qemuRaw, 1.3}},
	}
}

func (s *scene) copyThree() *contest {
	return &contest{
		name: "to three places at once, hashed", sides: []*side{s.copies("berth", 3, "--no-verify"), s.copies(oneCopy, 1, "--no-verify")},
		limits: []limit{{oneCopy, 2.2}},
	}
}

package libvirt

import (
	"context"
	"encoding/xml"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/digitalocean/go-libvirt"
	"golang.org/x/sync/errgroup"

	"berth/backend"
)

// volumesMost bounds how many volumes Images reads.
const volumesMost = 20000

// volumeXML is a storage volume (docs/formatstorage.rst).
type volumeXML struct {
	XMLName    xml.Name      `xml:"volume"`
	Type       string        `xml:"type,attr,omitempty"`
	Name       string        `xml:"name"`
	Capacity   volumeSizeXML `xml:"capacity"`
	Allocation volumeSizeXML `xml:"allocation"`
	Target     struct {
		Path       string        `xml:"path,omitempty"`
		Compat     string        `xml:"compat,omitempty"` // of qcow2: "1.1" is version 3
		Format     volumeKindXML `xml:"format"`
		Encryption *struct{}     `xml:"encryption"`
		Timestamps *struct {
			Modified string `xml:"mtime"`
		} `xml:"timestamps"`
	} `xml:"target"`
	Backing *volumeBackingXML `xml:"backingStore"`
}

type volumeSizeXML struct {
	Unit  string `xml:"unit,attr,omitempty"`
	Value string `xml:",chardata"`
}

type volumeKindXML struct {
	Type string `xml:"type,attr,omitempty"`
}

type volumeBackingXML struct {
	Path   string        `xml:"path"`
	Format volumeKindXML `xml:"format"`
}

// bytes is a size; volumes have bytes where no unit is given.
func (s volumeSizeXML) bytes() uint64 {
	if s.Unit == "" {
		s.Unit = "bytes"
	}
	return sizeXML(s).bytes()
}

// volumes reads every volume of the active pools.
func (c *catalogue) volumes(ctx context.Context) error {
	pools, err := onPool(ctx, c.h, func(lv *libvirt.Libvirt) ([]libvirt.StoragePool, error) {
		list, _, err := lv.ConnectListAllStoragePools(1, libvirt.ConnectListStoragePoolsActive)
		if unsupported(err) {
			return nil, nil
		}
		return list, err
	})
	if err != nil {
		return err
	}
	var vols []libvirt.StorageVol
	for _, p := range pools {
		list, err := onPool(ctx, c.h, func(lv *libvirt.Libvirt) ([]libvirt.StorageVol, error) {
			list, _, err := lv.StoragePoolListAllVolumes(p, 1, 0)
			return list, err
		})
		if err != nil && !isDaemons(err) { // one pool that was stopped meanwhile, or is out of order, is not all
			return err
		}
		vols = append(vols, list...)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(pipeline)
	for _, v := range vols[:min(len(vols), volumesMost)] {
		g.Go(func() error {
			text, err := onPool(gctx, c.h, func(lv *libvirt.Libvirt) (string, error) { return lv.StorageVolGetXMLDesc(v, 0) })
			if isDaemons(err) {
				return nil // it was deleted meanwhile
			}
			if err == nil {
				c.volume(v.Pool, text)
			}
			return err
		})
	}
	return g.Wait()
}

// volume notes one.
func (c *catalogue) volume(pool, text string) {
	var x volumeXML
	if xml.Unmarshal([]byte(text), &x) != nil || x.Type == "dir" || x.Type == "netdir" || x.Target.Path == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.image(x.Target.Path)
	i.Pool, i.Name = backend.Clean(pool), backend.Clean(x.Name)
	i.Format = backend.Clean(x.Target.Format.Type)
	if i.Format == "" && x.Type == "block" {
		i.Format = "raw"
	}
	i.Virtual, i.Real = x.Capacity.bytes(), x.Allocation.bytes()
	i.Encrypted = x.Target.Encryption != nil
	if t := x.Target.Timestamps; t != nil {
		i.Modified = fraction(t.Modified)
	}
	if b := x.Backing; b != nil && b.Path != "" {
		at := b.Path
		if !path.IsAbs(at) && !strings.Contains(at, ":") {
			at = path.Join(path.Dir(x.Target.Path), at)
		}
		c.below[i.Path] = at
	}
}

// fraction reads a Unix time with a fraction: "1700000000.123456789".
func fraction(s string) time.Time {
	whole, part, _ := strings.Cut(strings.TrimSpace(s), ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || sec <= 0 {
		return time.Time{}
	}
	nsec, err := strconv.ParseInt((part + "000000000")[:9], 10, 64)
	if err != nil {
		nsec = 0
	}
	return time.Unix(sec, nsec)
}

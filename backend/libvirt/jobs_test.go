package libvirt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// lists makes the daemon list its domains as running ones.
func (d *fakeDaemon) lists() {
	d.handle[procListAll] = func([]byte) ([]byte, error) {
		x := &xdr{}
		x.u32(uint32(len(d.domains)))
		for _, m := range d.domains {
			x.domain(m)
		}
		return x.u32(uint32(len(d.domains))).Bytes(), nil
	}
}

// saves makes every domain be in the middle of a save, but for those that hang
// says do not answer.
func (d *fakeDaemon) saves(hangs func(id uint32) bool) {
	d.handle[procJobStats] = func(p []byte) ([]byte, error) {
		if hangs(binary.BigEndian.Uint32(p[len(p)-8:])) { // the number of the run, then the flags
			<-d.release
		}
		x := &xdr{}
		return x.u32(1).u32(1).int("operation", 2).Bytes(), nil
	}
}

// TestJobsAreToldBesideOnesThatHang: neither a domain that does not answer, nor
// others who wait for it, keep a look for jobs from telling of all the others.
func TestJobsAreToldBesideOnesThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers = 16
		d := newFake(t, running("a", 1), running("b", 2), running("e", 5), running("c", 3), running("d", 4))
		d.lists()
		d.hang(procAbortJob)
		d.saves(func(id uint32) bool { return id < 5 })
		h := d.host(Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, s := range d.domains { // each waits on a connection
			go func() { _ = h.AbortDomainJob(ctx, backend.DomainJob{VM: s.uuid}) }()
			of := &subject{h: h, dom: libvirt.Domain{Name: s.name, UUID: libvirt.UUID(s.uuid), ID: s.id}, xml: &domainXML{}}
			go func() { _, _ = of.job(ctx) }()
		}
		looks := make(chan error, callers)
		for range callers {
			go func() {
				jobs, err := h.DomainJobs(ctx)
				if err == nil && (len(jobs) != 1 || jobs[0].Name != "e" || jobs[0].Kind != "save") {
					err = fmt.Errorf("it tells of %+v, not of the save of e alone", jobs)
				}
				looks <- err
			}()
		}
		for range callers {
			if err := <-looks; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestWaitingForATurnEnds with the caller's context, and with the Host.
func TestWaitingForATurnEnds(t *testing.T) {
	h := newFake(t).host(Options{})
	h.looking <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.DomainJobs(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	h.end()
	if _, err := h.DomainJobs(t.Context()); !errors.Is(err, backend.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

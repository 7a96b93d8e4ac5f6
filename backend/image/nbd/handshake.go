package nbd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"berth/backend"
)

// Info describes an export as the server does.
type Info struct {
	Size        int64
	Flags       Flags
	Description string
	// MinBlock is what offsets and lengths must be multiples of; MaxBlock is
	// the longest read or write in one request.
	MinBlock, MaxBlock int64
	// Contexts are the meta contexts that were agreed on, by their numbers.
	Contexts map[uint32]string
	// Structured replies were agreed on.
	Structured bool
}

// Has reports whether all of f are set.
func (i *Info) Has(f Flags) bool { return i.Flags&f == f }

// handshaker is the client's half of the handshake.
type handshaker struct {
	rw       io.ReadWriter
	info     Info
	noZeroes bool
}

// handshake agrees on the export and its contexts; a context that the server
// does not offer is left out of Info.Contexts.
func handshake(rw io.ReadWriter, export string, contexts []string) (*Info, error) {
	if len(export) > maxString {
		return nil, fmt.Errorf("%w: an export's name of %d bytes", backend.ErrInvalid, len(export))
	}
	h := &handshaker{rw: rw, info: Info{MinBlock: 1, MaxBlock: MaxPayload, Contexts: map[uint32]string{}}}
	if err := h.greet(); err != nil {
		return nil, err
	}
	if err := h.structured(); err != nil {
		return nil, err
	}
	if h.info.Structured && len(contexts) > 0 {
		if err := h.setContexts(export, contexts); err != nil {
			return nil, err
		}
	}
	if err := h.enter(export); err != nil {
		return nil, err
	}
	return &h.info, nil
}

func (h *handshaker) greet() error {
	var b [18]byte
	if _, err := io.ReadFull(h.rw, b[:]); err != nil {
		return fmt.Errorf("waiting for the server's greeting: %w", err)
	}
	if m := binary.BigEndian.Uint64(b[:]); m != magicServer {
		return violation("greeting %#x: this is no NBD server", m)
	}
	if m := binary.BigEndian.Uint64(b[8:]); m != magicOption {
		return fmt.Errorf("%w: the server speaks the oldstyle handshake", backend.ErrUnsupported)
	}
	flags := binary.BigEndian.Uint16(b[16:])
	if flags&flagFixedNewstyle == 0 {
		return fmt.Errorf("%w: the server does not know the fixed newstyle handshake", backend.ErrUnsupported)
	}
	h.noZeroes = flags&flagNoZeroes != 0
	mine := uint32(flags & (flagFixedNewstyle | flagNoZeroes))
	_, err := h.rw.Write(binary.BigEndian.AppendUint32(nil, mine))
	return err
}

func (h *handshaker) structured() error {
	return h.option(optStructured, nil, func(typ uint32, _ []byte) error {
		h.info.Structured = typ == repAck
		return nil
	})
}

func (h *handshaker) setContexts(export string, contexts []string) error {
	data := appendString(nil, export)
	data = binary.BigEndian.AppendUint32(data, uint32(len(contexts)))
	for _, c := range contexts {
		data = appendString(data, c)
	}
	return h.option(optSetContext, data, func(typ uint32, b []byte) error {
		if typ != repContext {
			return nil // a server without contexts; an unknown export shows in enter
		}
		if len(b) < 4 {
			return violation("a meta context of %d bytes", len(b))
		}
		name := string(b[4:])
		if !slices.Contains(contexts, name) {
			return violation("a meta context that was not asked for: %q", backend.Clean(name))
		}
		h.info.Contexts[binary.BigEndian.Uint32(b)] = name
		return nil
	})
}

func (h *handshaker) enter(export string) error {
	data := appendString(nil, export)
	data = binary.BigEndian.AppendUint16(data, 1)
	data = binary.BigEndian.AppendUint16(data, infoBlockSize)
	seen := false
	refused := uint32(0)
	err := h.option(optGo, data, func(typ uint32, b []byte) error {
		switch {
		case typ == repInfo:
			export, err := h.takeInfo(b)
			seen = seen || export
			return err
		case typ&repErr != 0:
			refused = typ
			return refusal(typ, export, string(b))
		}
		return nil
	})
	if refused == repErrUnsup {
		return h.enterOldWay(export)
	}
	if err != nil {
		return err
	}
	if !seen {
		return violation("the export was opened without telling its size")
	}
	return nil
}

func (h *handshaker) takeInfo(b []byte) (export bool, err error) {
	if len(b) < 2 {
		return false, violation("an information of %d bytes", len(b))
	}
	kind, b := binary.BigEndian.Uint16(b), b[2:]
	switch kind {
	case infoExport:
		if len(b) != 10 {
			return false, violation("an export's information of %d bytes", len(b))
		}
		return true, h.takeExport(binary.BigEndian.Uint64(b), binary.BigEndian.Uint16(b[8:]))
	case infoDescription:
		h.info.Description = string(b)
	case infoBlockSize:
		if len(b) != 12 {
			return false, violation("block sizes of %d bytes", len(b))
		}
		return false, h.takeBlockSize(binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[8:]))
	}
	return false, nil // others need not be understood
}

func (h *handshaker) takeExport(size uint64, flags uint16) error {
	if size > 1<<62 {
		return violation("an export of %d bytes", size)
	}
	h.info.Size, h.info.Flags = int64(size), Flags(flags)
	return nil
}

func (h *handshaker) takeBlockSize(least, most uint32) error {
	if least == 0 || least&(least-1) != 0 || least > 64<<10 || most < least {
		return violation("block sizes from %d to %d bytes", least, most)
	}
	h.info.MinBlock = int64(least)
	h.info.MaxBlock = min(int64(most), MaxPayload) / int64(least) * int64(least)
	return nil
}

// enterOldWay is for servers without optGo, whose answer to an unknown name is
// to hang up.
func (h *handshaker) enterOldWay(export string) error {
	if err := h.send(optExportName, []byte(export)); err != nil {
		return err
	}
	b := make([]byte, 10, 10+handshakePad)
	if !h.noZeroes {
		b = b[:10+handshakePad]
	}
	if _, err := io.ReadFull(h.rw, b); err != nil {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: %s", ErrNoExport, exportLabel(export))
		}
		return err
	}
	return h.takeExport(binary.BigEndian.Uint64(b), binary.BigEndian.Uint16(b[8:]))
}

// option sends one and hands over every reply up to the last one.
func (h *handshaker) option(opt uint32, data []byte, take func(typ uint32, b []byte) error) error {
	if err := h.send(opt, data); err != nil {
		return err
	}
	for range maxReplies {
		typ, b, err := h.reply(opt)
		if err != nil {
			return err
		}
		if err := take(typ, b); err != nil {
			return err
		}
		if typ == repAck || typ&repErr != 0 {
			return nil
		}
	}
	return violation("more than %d replies to one option", maxReplies)
}

func (h *handshaker) send(opt uint32, data []byte) error {
	b := make([]byte, 0, optionSize+len(data))
	b = binary.BigEndian.AppendUint64(b, magicOption)
	b = binary.BigEndian.AppendUint32(b, opt)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	_, err := h.rw.Write(append(b, data...))
	return err
}

func (h *handshaker) reply(opt uint32) (typ uint32, data []byte, err error) {
	var b [optReplySize]byte
	if _, err := io.ReadFull(h.rw, b[:]); err != nil {
		return 0, nil, err
	}
	if m := binary.BigEndian.Uint64(b[:]); m != magicRep {
		return 0, nil, violation("a reply to an option that begins with %#x", m)
	}
	if got := binary.BigEndian.Uint32(b[8:]); got != opt {
		return 0, nil, violation("a reply to option %d instead of %d", got, opt)
	}
	n := binary.BigEndian.Uint32(b[16:])
	if n > maxOption {
		return 0, nil, violation("a reply to an option of %d bytes", n)
	}
	data = make([]byte, n)
	_, err = io.ReadFull(h.rw, data)
	return binary.BigEndian.Uint32(b[12:]), data, err
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func exportLabel(name string) string {
	if name == "" {
		return "(the default one)"
	}
	return backend.Clean(name)
}

func refusal(typ uint32, export, text string) error {
	cause := map[uint32]error{
		repErrUnknown: ErrNoExport, repErrPolicy: backend.ErrAuth, repErrTLS: backend.ErrUnsupported,
		repErrUnsup: backend.ErrUnsupported, repErrShut: backend.ErrUnreachable,
	}[typ]
	words := map[uint32]string{repErrTLS: "the server wants TLS", repErrShut: "the server is shutting down"}[typ]
	if cause == nil {
		cause, words = ErrProtocol, fmt.Sprintf("the server refused with %#x", typ)
	}
	for _, w := range []string{words, backend.Clean(text)} {
		if w != "" {
			cause = fmt.Errorf("%w: %s", cause, w)
		}
	}
	return fmt.Errorf("export %s: %w", exportLabel(export), cause)
}

// closeWith closes c when ctx ends, until the returned function is called; that
// tells whether it came in time.
func closeWith(ctx context.Context, c io.Closer) (stop func() bool) {
	// An error of Close has nobody to go to: what blocks returns with its own.
	return context.AfterFunc(ctx, func() { _ = c.Close() })
}

package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// errEnough: the client wanted no more than to ask.
var errEnough = errors.New("the client ended the handshake")

// maxOptions is how many options one client may send.
const maxOptions = 256

// terms is the server's half of the handshake.
type terms struct {
	server *Server
	rw     io.ReadWriter

	noZeroes   bool
	structured bool
	export     *Export  // that was chosen
	contextsOf *Export  // that the contexts were set for
	contexts   []uint32 // that were set, as indices of Export.contexts
}

// agree returns with the export chosen.
func (t *terms) agree() error {
	b := binary.BigEndian.AppendUint64(nil, magicServer)
	b = binary.BigEndian.AppendUint64(b, magicOption)
	b = binary.BigEndian.AppendUint16(b, flagFixedNewstyle|flagNoZeroes)
	if _, err := t.rw.Write(b); err != nil {
		return err
	}
	var flags [4]byte
	if _, err := io.ReadFull(t.rw, flags[:]); err != nil {
		return err
	}
	f := binary.BigEndian.Uint32(flags[:])
	if f&flagFixedNewstyle == 0 || f&^(flagFixedNewstyle|flagNoZeroes) != 0 {
		return violation("client flags %#x", f)
	}
	t.noZeroes = f&flagNoZeroes != 0
	for range maxOptions {
		opt, data, err := t.next()
		if err != nil {
			return err
		}
		if err := t.answer(opt, data); err != nil || t.export != nil {
			return err
		}
	}
	return violation("more than %d options", maxOptions)
}

func (t *terms) next() (opt uint32, data []byte, err error) {
	var b [optionSize]byte
	if _, err := io.ReadFull(t.rw, b[:]); err != nil {
		return 0, nil, err
	}
	if m := binary.BigEndian.Uint64(b[:]); m != magicOption {
		return 0, nil, violation("an option that begins with %#x", m)
	}
	n := binary.BigEndian.Uint32(b[12:])
	if n > maxOption {
		return 0, nil, violation("an option of %d bytes", n)
	}
	data = make([]byte, n)
	_, err = io.ReadFull(t.rw, data)
	return binary.BigEndian.Uint32(b[8:]), data, err
}

func (t *terms) answer(opt uint32, data []byte) error {
	switch opt {
	case optAbort:
		// The client may be gone before it is answered.
		_ = t.reply(opt, repAck, nil)
		return errEnough
	case optExportName:
		return t.exportName(string(data))
	case optList:
		return t.list(data)
	case optStructured:
		if len(data) != 0 {
			return t.reply(opt, repErrInvalid, nil)
		}
		t.structured = true
		return t.reply(opt, repAck, nil)
	case optInfo, optGo:
		return t.goOrInfo(opt, data)
	case optListContext, optSetContext:
		return t.metaContexts(opt, data)
	}
	return t.reply(opt, repErrUnsup, nil)
}

func (t *terms) reply(opt, typ uint32, data []byte) error {
	b := make([]byte, 0, optReplySize+len(data))
	b = binary.BigEndian.AppendUint64(b, magicRep)
	b = binary.BigEndian.AppendUint32(b, opt)
	b = binary.BigEndian.AppendUint32(b, typ)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	_, err := t.rw.Write(append(b, data...))
	return err
}

// exportName can only be refused by hanging up.
func (t *terms) exportName(name string) error {
	e := t.server.find(name)
	if e == nil {
		return fmt.Errorf("%w: %s", ErrNoExport, exportLabel(name))
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(e.Source.Size()))
	b = binary.BigEndian.AppendUint16(b, uint16(e.flags()))
	if !t.noZeroes {
		b = append(b, make([]byte, handshakePad)...)
	}
	t.choose(e)
	_, err := t.rw.Write(b)
	return err
}

func (t *terms) choose(e *Export) {
	t.export = e
	if t.contextsOf != e {
		t.contexts = nil
	}
}

func (t *terms) list(data []byte) error {
	if len(data) != 0 {
		return t.reply(optList, repErrInvalid, nil)
	}
	for i := range t.server.Exports {
		e := &t.server.Exports[i]
		if err := t.reply(optList, repServer, append(appendString(nil, e.Name), e.Description...)); err != nil {
			return err
		}
	}
	return t.reply(optList, repAck, nil)
}

func (t *terms) goOrInfo(opt uint32, data []byte) error {
	name, rest, ok := cutString(data)
	if !ok || len(rest) < 2 || len(rest) != 2+2*int(binary.BigEndian.Uint16(rest)) {
		return t.reply(opt, repErrInvalid, nil)
	}
	e := t.server.find(name)
	if e == nil {
		return t.reply(opt, repErrUnknown, []byte("no such export"))
	}
	b := binary.BigEndian.AppendUint16(nil, infoExport)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Source.Size()))
	b = binary.BigEndian.AppendUint16(b, uint16(e.flags()))
	replies := [][]byte{b, blockSizes()}
	if e.Description != "" {
		replies = append(replies, append(binary.BigEndian.AppendUint16(nil, infoDescription), e.Description...))
	}
	for _, b := range replies {
		if err := t.reply(opt, repInfo, b); err != nil {
			return err
		}
	}
	if opt == optGo {
		t.choose(e)
	}
	return t.reply(opt, repAck, nil)
}

func blockSizes() []byte {
	b := binary.BigEndian.AppendUint16(nil, infoBlockSize)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint32(b, 64<<10)
	return binary.BigEndian.AppendUint32(b, MaxPayload)
}

func (t *terms) metaContexts(opt uint32, data []byte) error {
	name, queries, ok := parseContexts(data)
	if !ok || !t.structured {
		return t.reply(opt, repErrInvalid, nil)
	}
	e := t.server.find(name)
	if e == nil {
		return t.reply(opt, repErrUnknown, []byte("no such export"))
	}
	var chosen []uint32
	for i, c := range e.contexts() {
		if !wanted(c, queries, opt == optListContext) {
			continue
		}
		chosen = append(chosen, uint32(i))
		if err := t.reply(opt, repContext, append(binary.BigEndian.AppendUint32(nil, uint32(i)), c...)); err != nil {
			return err
		}
	}
	if opt == optSetContext {
		t.contexts, t.contextsOf = chosen, e
	}
	return t.reply(opt, repAck, nil)
}

// wanted matches a context with what was asked for; when contexts are listed
// "base:" stands for all of a namespace, and nothing for everything.
func wanted(context string, queries []string, listing bool) bool {
	if !listing {
		return slices.Contains(queries, context)
	}
	return len(queries) == 0 || slices.ContainsFunc(queries, func(q string) bool {
		return q == context || strings.HasSuffix(q, ":") && strings.HasPrefix(context, q)
	})
}

func parseContexts(data []byte) (export string, queries []string, ok bool) {
	export, data, ok = cutString(data)
	if !ok || len(data) < 4 {
		return "", nil, false
	}
	n := binary.BigEndian.Uint32(data)
	data = data[4:]
	for range n { // ends with the data, whatever n says
		var q string
		if q, data, ok = cutString(data); !ok {
			return "", nil, false
		}
		queries = append(queries, q)
	}
	return export, queries, len(data) == 0
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 4 {
		return "", nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if n > maxString || int(n) > len(b)-4 {
		return "", nil, false
	}
	return string(b[4 : 4+n]), b[4+n:], true
}

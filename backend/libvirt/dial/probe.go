package dial

import (
	"encoding/binary"
	"fmt"
	"io"
)

// probe makes the one call that every libvirt daemon answers before anything
// else, REMOTE_PROC_AUTH_LIST (number 66 of program 0x20008086, version 1, in
// libvirt's src/remote/remote_protocol.x), and reads the answer.
func probe(conn io.ReadWriter) error {
	call := make([]byte, 0, packetMin)
	for _, word := range []uint32{packetMin, 0x20008086, 1, 66, 0, 0, 0} {
		call = binary.BigEndian.AppendUint32(call, word)
	}
	_, writeErr := conn.Write(call)
	var size [4]byte
	// Also when nobody takes the call: what was sent before says more.
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		if writeErr != nil {
			err = writeErr
		}
		return err
	}
	length := binary.BigEndian.Uint32(size[:])
	if length < packetMin || length > 64<<10 { // an answer or an error is a few hundred bytes
		return fmt.Errorf("no libvirt daemon answers there (it sent %q)", size[:])
	}
	_, err := io.CopyN(io.Discard, conn, int64(length)-int64(len(size)))
	return err
}

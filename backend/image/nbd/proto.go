// Package nbd speaks the network block device protocol, as
// https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md describes
// it: a client that reads and writes exports of QEMU's and others', and a
// server that offers disks to them. Fixed newstyle handshake, structured
// replies, and the meta contexts base:allocation and qemu:dirty-bitmap.
//
// Nothing that a peer says is believed before it was checked: lengths are
// bounded before anything is allocated, replies must belong to what was asked,
// and data must cover it exactly once.
package nbd

// Magic numbers of the handshake and of the transmission phase.
const (
	magicServer  = 0x4e42444d41474943 // "NBDMAGIC"
	magicOption  = 0x49484156454F5054 // "IHAVEOPT"
	magicRep     = 0x0003e889045565a9
	magicRequest = 0x25609513
	magicSimple  = 0x67446698
	magicChunk   = 0x668e33ef
)

// Handshake flags of both sides.
const (
	flagFixedNewstyle = 1 << 0
	flagNoZeroes      = 1 << 1
)

// Options that a client sends.
const (
	optExportName  = 1
	optAbort       = 2
	optList        = 3
	optInfo        = 6
	optGo          = 7
	optStructured  = 8
	optListContext = 9
	optSetContext  = 10
)

// Replies to options; those with the top bit are errors.
const (
	repAck        = 1
	repServer     = 2
	repInfo       = 3
	repContext    = 4
	repErr        = 1 << 31
	repErrUnsup   = repErr | 1
	repErrPolicy  = repErr | 2
	repErrInvalid = repErr | 3
	repErrTLS     = repErr | 5
	repErrUnknown = repErr | 6
	repErrShut    = repErr | 7
	repErrBlocks  = repErr | 8
	repErrTooBig  = repErr | 9
)

// Kinds of information about an export.
const (
	infoExport      = 0
	infoDescription = 2
	infoBlockSize   = 3
)

// Flags are an export's transmission flags.
type Flags uint16

// The transmission flags that matter here.
const (
	HasFlags        Flags = 1 << 0
	ReadOnly        Flags = 1 << 1
	CanFlush        Flags = 1 << 2
	CanFUA          Flags = 1 << 3
	CanTrim         Flags = 1 << 5
	CanWriteZeroes  Flags = 1 << 6
	CanDontFragment Flags = 1 << 7
	CanMultiConn    Flags = 1 << 8
	CanFastZero     Flags = 1 << 11
)

// Commands of the transmission phase.
const (
	cmdRead        = 0
	cmdWrite       = 1
	cmdDisconnect  = 2
	cmdFlush       = 3
	cmdTrim        = 4
	cmdWriteZeroes = 6
	cmdBlockStatus = 7
)

// Flags of commands.
const (
	cmdFlagFUA    = 1 << 0
	cmdFlagNoHole = 1 << 1
	cmdFlagDF     = 1 << 2
	cmdFlagReqOne = 1 << 3
	cmdFlagFast   = 1 << 4
)

// Types and flags of the chunks of a structured reply; those with the top bit
// are errors.
const (
	chunkNone   = 0
	chunkData   = 1
	chunkHole   = 2
	chunkStatus = 5
	chunkErr    = 1 << 15
	chunkError  = chunkErr | 1
	chunkErrOff = chunkErr | 2

	chunkFlagDone = 1 << 0
)

// The meta contexts that are understood, and the flags of their extents.
const (
	ContextAllocation  = "base:allocation"
	ContextDirtyPrefix = "qemu:dirty-bitmap:" // and the bitmap's name

	StateHole  = 1 << 0 // of base:allocation: not allocated
	StateZero  = 1 << 1 // of base:allocation: reads as zeroes
	StateDirty = 1 << 0 // of a dirty bitmap
)

// The bounds of what is taken from a peer.
const (
	// MaxPayload is the longest read or write in one request, which every
	// server is to take (proto.md, "Block size constraints").
	MaxPayload = 32 << 20
	maxString  = 4096    // proto.md, "Values"
	maxOption  = 1 << 16 // an option or a reply to one
	maxReplies = 1 << 12 // replies to one option
	maxSpans   = 1 << 20 // extents in one reply; QEMU stops at 128 Ki
	maxStatus  = 1 << 31 // bytes that one block status asks about
)

const (
	requestSize   = 28
	simpleSize    = 16
	chunkSize     = 20
	optionSize    = 16
	optReplySize  = 20
	handshakePad  = 124 // after the answer to optExportName, without flagNoZeroes
	defaultWindow = 16  // requests in flight on a connection
)

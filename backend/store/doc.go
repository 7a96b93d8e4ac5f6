// Package store keeps what must last of the queue: its jobs, what the last
// pass over it said of them, hosts, policy, the engine's lease, and the log of
// events. It is one SQLite file that every berth on this machine opens at
// once: the command line, the console and the engine.
//
// # What lasts
//
// A transaction that Update has returned from without an error survives
// kill -9 and a power cut: the file is in WAL mode with synchronous=FULL. One
// that was not finished leaves nothing behind. Readers see one moment and
// never wait for a writer; writers queue up for at most five seconds, then
// the error wraps backend.ErrBusy.
//
// # Who writes what
//
// Whoever changes a job reads and writes it in one Update: then no change of
// anybody else is overwritten. PutPlan alone may follow from an older read,
// for nobody but the engine writes those fields.
package store

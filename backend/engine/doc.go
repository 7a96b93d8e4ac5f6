// Package engine runs the jobs of the queue: it starts their VMs where and when
// package queue says, watches them, and brings every job to its end, whatever
// happens to itself, to libvirtd or to the hosts meanwhile.
//
// # Who does what
//
// An Engine is one process, or part of one for the demo, that holds the lock
// and the lease. A Client implements backend.Queue for everybody else: it
// writes what people want into the rows of the store and reads what the engine
// wrote there. The two share nothing but the store.
//
// # A turn
//
// Whenever a host tells of a change, something that was asked of a host
// returns, the store changes, or a time is reached that matters to a job, the
// engine takes a turn:
//
//  1. It reads the rows and, of each host, the latest view.
//  2. For every job the pure function next (life.go) says what follows from its
//     row and from what was seen: another row, something to do, or nothing.
//  3. The new rows are written in one transaction, which fails when another
//     engine has taken over. Only then is anything asked of a host.
//  4. Package queue plans the rest; jobs that start now go the same way.
//
// A view that was read before the last thing asked for a job returned says
// nothing about that job, so a turn never judges by old news.
//
// # Never twice, never lost
//
// A domain is started paused and let run in a second step, and each step is
// noted before it is taken and after it was seen (see backend.Launch). What an
// interrupted engine leaves behind can so be told from what is there:
//
//	noted      the domain is   so
//	asked      off             it never ran: start it
//	asked      paused          it was started: go on
//	paused     paused          go on
//	paused     off             it never ran: queue it again
//	resumed    paused          it may not have been let run: let it run
//	resumed    active          it runs
//	resumed    off             it ran and ended, or was lost with its host if
//	                           that has been booted since
//
// A job starts on no host while one on which its VM was ever seen cannot be
// asked and was not fenced: it might run there.
//
// # Shares
//
// A running VM's CPU shares and I/O weight follow its job's priority p: what it
// had times 2^((p-50)/25) for the CPU and times 2^((p-50)/50) for I/O. At the
// default priority nothing changes; 100 has four times the shares of 50, and 0
// a quarter of them. Only the live domain is changed, never its definition.
package engine

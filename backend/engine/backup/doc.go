// Package backup runs what package backend calls transfers: backups and
// restores of VMs, verifying and pruning of repositories, copies of images, and
// the schedules that order them.
//
// A Manager does so for the rows of a store, beside the queue's engine: it lives
// in that one's process and works under its lock and lease (engine.Companion).
// A Client is backend.Backups for everybody else. Run does a single transfer
// without either.
//
// # What survives what
//
// Before anything is asked of a host that would have to be undone or gone on
// with, the transfer's note in the store says so, and after it, what came of it.
// So whoever goes on after kill -9 or a reboot knows where to look: a backup job
// that still lives is read on, one that is gone is cleaned up after, and a
// manifest that was committed counts even though nobody lived to say so. What was
// read and stored already is not stored twice.
package backup

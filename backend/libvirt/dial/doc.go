// Package dial turns a libvirt connection URI into a net.Conn that speaks
// libvirt's RPC to the right daemon: over a unix socket, TCP, TLS or ssh.
//
// Parse reads and checks a URI, Target.Dial connects. What comes back is
// guarded: a peer that announces a packet no libvirt daemon sends is cut off
// before a client allocates memory for it or trips over it.
//
// Errors are *backend.OpError and wrap one of backend.ErrURI, ErrUnreachable,
// ErrAuth, ErrHostKey and ErrTimeout; their hint says what to do next.
package dial

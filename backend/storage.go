package backend

import (
	"context"
	"io"
	"net"
	"time"
)

// What follows are abilities of hosts that images and backups need; find them
// by assertion, as those in host.go.

// Storage knows a host's storage pools and disk images. Errors wrap
// ErrNoStorage (no such pool or image), ErrBusy (in use, or the backing file of
// something), ErrState, ErrInvalid, ErrNoRoom.
type Storage interface {
	// Pools returns every pool, running or not, by name.
	Pools(ctx context.Context) ([]Pool, error)
	// Images returns every image that the host's pools hold or that its domains'
	// definitions name, whether it is there or not.
	Images(ctx context.Context) ([]Image, error)
	// PoolDo starts, stops or refreshes a pool.
	PoolDo(ctx context.Context, pool string, verb PoolVerb) error
	// DefinePool makes a pool, builds its directory, starts it.
	DefinePool(ctx context.Context, p PoolSpec) error
	// CreateImage makes an image in a pool, or at an absolute path. Nothing is
	// there when it fails.
	CreateImage(ctx context.Context, s ImageSpec) error
	// ResizeImage makes an image larger (or, with shrink, smaller, which loses
	// what is beyond); that of a running domain through its QEMU.
	ResizeImage(ctx context.Context, path string, size uint64, shrink bool) error
	// DeleteImage deletes an image that nothing uses: ErrBusy names who does.
	DeleteImage(ctx context.Context, path string) error
}

// ImageFinder is a Storage that finds an image by any of its names.
type ImageFinder interface {
	// FindImage returns the image at a path, which may lead to it by way of
	// symbolic links; ErrNoStorage when there is none.
	FindImage(ctx context.Context, path string) (Image, error)
}

// Pool is a storage pool.
type Pool struct {
	Host      string
	Name      string
	UUID      UUID
	Type      string // "dir", "logical", "netfs", ...
	Path      string
	Active    bool
	Autostart bool
	// In bytes; zero while the pool does not run.
	Capacity, Allocation, Available uint64
	Volumes                         int
	Trouble                         string // why it cannot be read or started; may be empty
}

// PoolVerb is something to do to a pool.
type PoolVerb string

// The verbs of pools, in virsh's words.
const (
	PoolStart        PoolVerb = "start"
	PoolDestroy      PoolVerb = "destroy" // stops it; nothing is deleted
	PoolRefresh      PoolVerb = "refresh"
	PoolAutostartOn  PoolVerb = "autostart-on"
	PoolAutostartOff PoolVerb = "autostart-off"
	PoolUndefine     PoolVerb = "undefine" // forgets a stopped one; its images stay
)

// PoolSpec makes a pool of type dir.
type PoolSpec struct {
	Name      string
	Path      string
	Autostart bool
}

// Image is one disk image.
type Image struct {
	Host    string
	Pool    string // empty when it lies in none
	Name    string // the volume's name, or the path's last part
	Path    string
	Format  string // "qcow2", "raw", "iso", ...; empty when not known
	Virtual uint64 // bytes that a guest sees
	Real    uint64 // bytes that it takes on the host
	// Backing is the chain below it, nearest first; BackedBy are the paths of
	// images that have it as their backing file.
	Backing   []string
	BackedBy  []string
	Users     []ImageUser
	Snapshots []string // internal ones
	Encrypted bool
	Modified  time.Time
	// Missing: a domain or an image names it, and it is not there.
	Missing bool
	Trouble string // why parts of this are not known; may be empty
}

// Orphan reports whether nothing that the host knows uses the image.
func (i *Image) Orphan() bool {
	return len(i.Users) == 0 && len(i.BackedBy) == 0 && !i.Missing && i.Format != "iso"
}

// ImageUser is a domain that has an image as a disk.
type ImageUser struct {
	VM       UUID
	Name     string
	Target   string // "vda"
	Active   bool   // the domain runs
	ReadOnly bool
}

// ImageSpec makes an image.
type ImageSpec struct {
	Pool    string // with Name, or Path alone
	Name    string
	Path    string
	Format  string // "qcow2" or "raw"
	Size    uint64 // bytes; 0 with Backing: as large as that
	Backing string // path of the image that it is an overlay of; empty: none
}

// ExtentKind says what an extent holds.
type ExtentKind uint8

// The kinds of extents.
const (
	ExtentData  ExtentKind = iota // must be read
	ExtentZero                    // reads as zeroes
	ExtentClean                   // unchanged since the checkpoint asked about
)

// Extent is a stretch of a disk, in bytes.
type Extent struct {
	Offset, Length int64
	Kind           ExtentKind
}

// DiskAccess is a way to the content of one disk: a raw image on this
// machine, or an NBD server somewhere. Exactly one of File and Dial is set.
// Package backend/image/disk opens it.
type DiskAccess struct {
	Size int64  // bytes that the guest sees
	File string // path of a raw image on this machine
	// Dirty are the parts of File that changed since the checkpoint asked about;
	// nil: not known.
	Dirty []Extent
	// Dial connects to an NBD server (newstyle handshake); each call gives a
	// connection of its own to the same content.
	Dial   func(ctx context.Context) (net.Conn, error)
	Export string // the export's name
	Bitmap string // its dirty bitmap's name, as in qemu:dirty-bitmap:NAME; empty: none
}

// ImageOpener opens disk images on a host for their content, whatever their
// format.
type ImageOpener interface {
	// OpenImage opens an image for reading. A format other than raw is locked as
	// QEMU locks images, so that no VM writes to it (ErrLocked when one does); of
	// a raw one whoever must know that nobody writes has to see to it.
	OpenImage(ctx context.Context, path, format string) (OpenImage, error)
	// MakeImage makes an image of that size and opens it for writing. It must
	// not exist. It appears whole at Close, or never.
	MakeImage(ctx context.Context, path, format string, size uint64) (NewImage, error)
}

// OpenImage is an image that is open for reading.
type OpenImage interface {
	Access() DiskAccess
	Close() error
}

// NewImage is an image that is being written.
type NewImage interface {
	Access() DiskAccess
	// Commit makes it durable and gives it its name.
	Commit(ctx context.Context) error
	// Close ends access; what was not committed is deleted.
	Close() error
}

// HostFiles reads and writes small files of a host (a UEFI variable store, a
// TPM's state) and moves images. Paths are absolute.
type HostFiles interface {
	// ReadFile returns a file's content, of at most limit bytes; fs.ErrNotExist.
	ReadFile(ctx context.Context, path string, limit int64) ([]byte, error)
	// WriteFile writes a file, whole or not at all, with mode 0600 and its
	// folder's owner; an existing one is replaced.
	WriteFile(ctx context.Context, path string, content []byte) error
	// ListFiles returns the regular files below a folder, as paths relative to
	// it; fs.ErrNotExist.
	ListFiles(ctx context.Context, dir string) ([]string, error)
	// RenameFile refuses to overwrite: fs.ErrExist.
	RenameFile(ctx context.Context, from, to string) error
	RemoveFile(ctx context.Context, path string) error
	// Room is the free space of the file system that holds path, which need not
	// exist itself.
	Room(ctx context.Context, path string) (free uint64, err error)
}

// FolderMaker is a HostFiles that makes folders. Of a TPM's state they get the
// owners that libvirt would give them, elsewhere that of the folder above.
type FolderMaker interface {
	// MakeFolder makes a folder in one that is there; one that is there itself is
	// no error.
	MakeFolder(ctx context.Context, path string) error
}

// VolumeStreamer moves volumes through libvirt itself, for hosts of which
// berth sees nothing else.
type VolumeStreamer interface {
	// Download writes a volume as it lies there, in its own format, to w.
	Download(ctx context.Context, pool, volume string, w io.Writer) error
	// Upload makes a volume of r's bytes; size is how many those are.
	Upload(ctx context.Context, pool, volume, format string, r io.Reader, size int64) error
}

// VolumeNamer is a VolumeStreamer that can give a volume its name when it is
// known to be right.
type VolumeNamer interface {
	// DraftVolume returns the name that a volume has until then. It fails with
	// fs.ErrExist when the volume is there, and with ErrUnsupported where volumes
	// cannot be renamed. What uploads of that volume left that were killed long
	// ago is removed.
	DraftVolume(ctx context.Context, pool, volume string) (draft string, err error)
	// NameVolume gives it its name; fs.ErrExist when that is taken.
	NameVolume(ctx context.Context, pool, draft, volume string) error
}

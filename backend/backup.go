package backend

import (
	"context"
	"time"
)

// Backuper is a host whose domains can be backed up at one point in time of
// all their disks.
type Backuper interface {
	// BackupFacts says what a backup of the domain would meet.
	BackupFacts(ctx context.Context, uuid UUID) (BackupFacts, error)
	// BeginBackup takes a point in time and opens its disks. Of a running domain
	// that is libvirt's backup job in pull mode with a new checkpoint; file
	// systems are frozen for the instant and thawed whatever happens. Of one
	// that is off it opens the images. It wraps ErrBusy when another job is under
	// way, ErrNoRoom when there is no place for the scratch files, ErrBitmap
	// when the checkpoint it should go on from is of no use. Nothing is left
	// behind when it fails.
	BeginBackup(ctx context.Context, r BackupRequest) (BackupSession, error)
	// ResumeBackup takes up the session of a process that is gone, by its token.
	// It wraps ErrNoJob when that has ended.
	ResumeBackup(ctx context.Context, uuid UUID, token string) (BackupSession, error)
	// Leftovers finds what broken-off backups of berth's left on the host: jobs,
	// scratch files, checkpoints without a commit. Those of sessions that have
	// one of the tokens are not left over, nor those of which a host remembers
	// that somebody looked after them (BackupSession.Watch) lately.
	Leftovers(ctx context.Context, alive []string) ([]Leftover, error)
	// CleanUp removes one.
	CleanUp(ctx context.Context, l Leftover) error
}

// BackupFacts are what a backup of a domain meets.
type BackupFacts struct {
	VM          VM
	Disks       []BackupDisk
	Checkpoints []string // all of the domain's, oldest first
	Agent       bool     // a guest agent is connected
	Job         string   // a job that is under way on it, in words; empty: none
}

// BackupDisk is one disk of a domain.
type BackupDisk struct {
	Target string // "vda"
	Path   string
	Format string
	Size   int64  // bytes that the guest sees
	Skip   string // why it is not backed up ("cdrom", "read-only", "no media"); empty: it is
}

// BackupRequest says how to begin a backup.
type BackupRequest struct {
	VM   UUID
	Name string // the domain's name, for messages
	// Since is the checkpoint to go on from; empty: a full backup. Disks that
	// it does not have are read in full.
	Since string
	// Checkpoint is the new one's name; empty: none is made. Berth's begin with
	// "berth-". Where none can be made (raw disks, a domain that is off) the
	// point says so.
	Checkpoint string
	// Drop are checkpoints that Commit deletes, older ones of the same repository.
	Drop    []string
	Quiesce bool // freeze the guest's file systems through its agent
	// ScratchDir is where scratch files go; empty: beside the image.
	ScratchDir string
}

// BackupSession is a point in time of a domain's disks, held open.
type BackupSession interface {
	// Token is what ResumeBackup needs, made of printable ASCII.
	Token() string
	// Point describes it.
	Point() BackupPoint
	// Watch returns an error when the session must end at once: the scratch files
	// are about to fill their file system (ErrNoRoom), the job has gone, the
	// domain was started (ErrState). It is cheap; ask every second.
	Watch(ctx context.Context) error
	// Commit ends the session after its backup is safe: the new checkpoint stays
	// and those to drop go. It wraps ErrState when what was read may not be of one
	// moment, because the domain was started meanwhile.
	Commit(ctx context.Context) error
	// Abort ends it and leaves nothing behind: no job, no scratch file, no new
	// checkpoint; a guest that was paused by a full scratch is resumed.
	Abort(ctx context.Context) error
	// Close lets go of what this process holds, and leaves the session alive for
	// ResumeBackup. It does nothing after Commit or Abort.
	Close() error
}

// BackupPoint is what a session offers.
type BackupPoint struct {
	At          time.Time
	Running     bool // the domain ran
	Quiesced    bool
	Frozen      time.Duration // how long the guest stood frozen
	NotQuiesced string        // why it is not quiesced though it was asked for; empty: nothing is amiss
	Checkpoint  string        // the new one; empty: none could be made, for the reason NoCheckpoint
	// NoCheckpoint says why the next backup will be full again.
	NoCheckpoint string
	Disks        []PointAccess
	// XML is the definition of that moment, live for a running domain; Stored is
	// the one that its next start will use.
	XML, Stored string
	// Files are what belongs to it besides its disks: NVRAM, TPM state, snapshot
	// and checkpoint metadata.
	Files []PointFile
}

// PointAccess is one disk of a point.
type PointAccess struct {
	BackupDisk
	Access DiskAccess
	// Incremental: Access tells what has changed since BackupRequest.Since. Else
	// WhyFull says why not.
	Incremental bool
	WhyFull     string
}

// PointFile is a small file that belongs to a domain.
type PointFile struct {
	Kind    string // "nvram", "tpm", "snapshot", "checkpoint"
	Path    string // where it lay; for "tpm" relative to the state's folder; for metadata its name
	Content []byte
}

// Leftover is something that a broken-off backup left on a host.
type Leftover struct {
	Host  string
	VM    UUID
	Name  string
	Kind  string // "job", "checkpoint", "scratch", "frozen" (a guest that may not have been thawed)
	What  string // the checkpoint's name or a file's path
	Since time.Time
	Size  uint64 // bytes that it takes, where known
}

// SnapshotDefiner is a host that takes descriptions of snapshots whose content is
// there already.
type SnapshotDefiner interface {
	// RedefineSnapshot gives a domain a snapshot as libvirt described it; one of
	// that name is replaced. It wraps ErrInvalid when libvirt does not take it.
	RedefineSnapshot(ctx context.Context, vm UUID, xml string) error
}

// JobWatcher tells of the jobs that domains are under, whoever started them.
type JobWatcher interface {
	// DomainJobs returns jobs under way: backups, migrations, saves and dumps,
	// and block jobs (copy, commit, pull).
	DomainJobs(ctx context.Context) ([]DomainJob, error)
	// AbortDomainJob ends one.
	AbortDomainJob(ctx context.Context, j DomainJob) error
}

// DomainJob is a job of libvirt's on a domain.
type DomainJob struct {
	Host  string
	VM    UUID
	Name  string
	Kind  string // "backup", "migration", "save", "dump", "block-copy", "block-commit", "block-pull"
	Disk  string // of a block job
	Since time.Time
	At    time.Time
	// Bytes; Total is 0 where libvirt does not tell (a backup in pull mode).
	Done, Total uint64
	Rate        uint64 // bytes a second; 0: not known
	Ready       bool   // a block copy that waits to be ended
	Mine        bool   // berth's own
}

// Backups is where backups and other long works on images are ordered, watched
// and looked up. It may be used by several processes at once. All methods may
// be called from several goroutines and honour their context.
type Backups interface {
	// State is what runs, what waits, what ended lately, what there is to restore
	// from, and what is planned.
	State(ctx context.Context) (BackupsState, error)
	// Wait returns when something has changed since the State of that revision,
	// or when ctx ends.
	Wait(ctx context.Context, revision int64) error
	// Start orders transfers, all or none, and sees to it that an engine runs. It
	// wraps ErrInvalid, ErrNoDomain, ErrBusy (the VM is being backed up already).
	Start(ctx context.Context, specs []TransferSpec) ([]TransferID, error)
	// Change does the same to every transfer named. It wraps ErrNoTransfer and
	// ErrState.
	Change(ctx context.Context, ids []TransferID, c TransferChange) error
	// Refresh reads the catalogue of a repository anew.
	Refresh(ctx context.Context, repo RepoRef) error
	// PutSchedule adds a schedule (ID 0) or replaces one.
	PutSchedule(ctx context.Context, s Schedule) (int64, error)
	// RemoveSchedule forgets one; its backups stay.
	RemoveSchedule(ctx context.Context, id int64) error
	// RunSchedule starts one's transfers now.
	RunSchedule(ctx context.Context, id int64) ([]TransferID, error)
	Close() error
}

// BackupLogger is a Backups that keeps a log of what happened: transfers that
// ended, schedules that ran and what came of that. Its events are of no job.
type BackupLogger interface {
	Log(ctx context.Context, q LogQuery) ([]JobEvent, error)
}

// How many transfers run at once unless a person says otherwise. Two backups of
// one host share its disks and gain little over one after the other; a
// repository takes two writers easily, and the second compresses while the first
// waits for its guest.
const (
	DefaultJobsPerHost = 1
	DefaultJobsPerRepo = 2
)

// RepoRef names a repository and says where its secret is; the secret itself
// is never kept.
type RepoRef struct {
	URL            string // a folder's path, or sftp://[user@]host[:port]/path
	PassphraseFile string // path; empty: it is not encrypted, or the secret was handed over
	IdentityFile   string // path of an age identity
}

// TransferID numbers a transfer within one store, from 1.
type TransferID int64

// TransferKind is what a transfer does.
type TransferKind string

// The kinds of transfers.
const (
	TransferBackup  TransferKind = "backup"
	TransferRestore TransferKind = "restore"
	TransferVerify  TransferKind = "verify"
	TransferForget  TransferKind = "forget" // forgets by retention, then prunes
	TransferCopy    TransferKind = "copy"   // of an image, to one or several places
	TransferConvert TransferKind = "convert"
)

// TransferState is where a transfer is in its life.
type TransferState string

// The states of transfers.
const (
	TransferQueued    TransferState = "queued"
	TransferRunning   TransferState = "running"
	TransferPaused    TransferState = "paused"
	TransferWaiting   TransferState = "waiting" // to be tried again, or for a secret: Words says which
	TransferDone      TransferState = "done"
	TransferFailed    TransferState = "failed"
	TransferCancelled TransferState = "cancelled"
)

// Ended reports whether the transfer's life is over.
func (s TransferState) Ended() bool {
	return s == TransferDone || s == TransferFailed || s == TransferCancelled
}

// TransferSpec is what a person orders.
type TransferSpec struct {
	Kind     TransferKind
	VM       Key    // of a backup; of a restore the host that it goes to
	Name     string // the domain's name, for messages
	Repo     RepoRef
	Limit    int64 // bytes read a second; 0: as fast as it goes
	Schedule int64 // the schedule that ordered it; 0: a person did
	Backup   BackupSpec
	Restore  RestoreSpec
	Verify   VerifySpec
	Keep     Retention // TransferForget: of this VM, or of all when VM is zero
	Image    CopySpec
}

// BackupSpec says how to back up.
type BackupSpec struct {
	Full      bool
	NoQuiesce bool
	Tags      []string
}

// RestoreSpec says what to restore to where.
type RestoreSpec struct {
	Point   string            // Point.ID
	NewName string            // a copy with this name, a new UUID and new MACs; empty: in place
	Pool    string            // where its disks go; empty: where they were
	Disks   map[string]string // target → path, before Pool; with DisksOnly only these are restored
	// DisksOnly writes images and defines nothing.
	DisksOnly bool
	Format    string // "raw" or "qcow2"; empty: as it was
	Start     bool
}

// VerifySpec says what to verify.
type VerifySpec struct {
	Points []string // empty: the whole repository
	Sample float64  // percent of the chunks; 0: all
}

// CopySpec copies or converts an image of the host of TransferSpec.VM.
type CopySpec struct {
	Source   string // path
	Format   string // of the source; empty: as it is found to be
	Targets  []string
	To       string // format; empty: as the source
	Compress bool
}

// Retention says which points are kept; one that any rule keeps is kept. The
// zero Retention keeps everything.
type Retention struct {
	Last    int           `json:"last,omitempty"`
	Hourly  int           `json:"hourly,omitempty"`
	Daily   int           `json:"daily,omitempty"`
	Weekly  int           `json:"weekly,omitempty"`
	Monthly int           `json:"monthly,omitempty"`
	Yearly  int           `json:"yearly,omitempty"`
	Within  time.Duration `json:"within,omitempty"`
	Tags    []string      `json:"tags,omitempty"` // points with one of these are always kept
}

// IsZero reports whether the retention has no rule.
func (r Retention) IsZero() bool {
	return r.Last == 0 && r.Hourly == 0 && r.Daily == 0 && r.Weekly == 0 && r.Monthly == 0 && r.Yearly == 0 && r.Within == 0 && len(r.Tags) == 0
}

// TransferChange is what to do to transfers.
type TransferChange struct {
	Pause  bool
	Resume bool
	Cancel bool
	Retry  bool   // one that failed or was cancelled is ordered again
	Limit  *int64 // bytes a second; 0: none
}

// Transfer is a long work on images: what was ordered, and how far it is.
type Transfer struct {
	ID       TransferID
	Spec     TransferSpec
	Owner    string
	State    TransferState
	Since    time.Time // of State
	Ordered  time.Time
	Started  time.Time
	Ended    time.Time
	Attempts int
	NextTry  time.Time
	Words    string // why it waits, failed or was cancelled; what there is to say of one that is done
	Point    string // of a backup that is done: its point's ID
	Progress Progress

	Pause, Cancel bool // what a person wants
}

// Phase is what a transfer is doing.
type Phase string

// The phases, in the order in which a backup goes through them.
const (
	PhaseWaiting   Phase = "waiting"
	PhasePreparing Phase = "preparing"
	PhaseFreezing  Phase = "freezing"
	PhaseReading   Phase = "reading" // and compressing, and writing, all at once: the pipe's stages are in Busy
	PhaseVerifying Phase = "verifying"
	PhaseWriting   Phase = "writing"
	PhaseFinishing Phase = "finishing" // the manifest, the checkpoints, fsync
)

// Progress is how far a transfer is. Done and Total count what is really to be
// done, never virtual sizes: bytes to be read for a backup, to be written for
// a restore, to be checked for a verify.
type Progress struct {
	At    time.Time     `json:"at"`
	Phase Phase         `json:"phase"`
	Disk  string        `json:"disk,omitempty"` // the one at work
	Disks []DiskDone    `json:"disks,omitempty"`
	Done  int64         `json:"done"`
	Total int64         `json:"total"`         // 0: not known yet
	New   int64         `json:"new"`           // bytes of Done that the repository did not have
	Out   int64         `json:"out"`           // bytes stored for those, compressed
	Rate  int64         `json:"rate"`          // bytes a second over the last seconds
	Mean  int64         `json:"mean"`          // since the start, pauses left out
	ETA   time.Duration `json:"eta,omitempty"` // zero: not known
	Spark []int64       `json:"spark,omitempty"`
	// Waits names the stage that the others wait for: "reading", "compressing",
	// "writing"; "the limit" when that holds them; empty: not known.
	Waits string `json:"waits,omitempty"`
	Why   string `json:"why,omitempty"` // why a backup is full; empty: it is incremental
}

// DiskDone is one disk's part of a Progress.
type DiskDone struct {
	Disk  string `json:"disk"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
}

// Point is one backup in a repository's catalogue.
type Point struct {
	Repo     string // RepoRef.URL
	ID       string
	VM       UUID
	Name     string
	Host     string
	At       time.Time // the moment that its disks are of
	Took     time.Duration
	Full     bool
	Why      string // why it is full; empty for an incremental one
	Quiesced bool
	Running  bool
	Tags     []string
	Size     int64 // bytes that the guest sees
	Data     int64 // bytes that are not zero
	Read     int64 // bytes that were read
	New      int64 // bytes of Read that the repository did not have
	Stored   int64 // bytes those took, compressed
	Disks    []PointDisk
	// Verified is when it was last read back whole and found right; Damaged says
	// what is wrong with it, as last seen.
	Verified time.Time
	Damaged  string
	Owner    string
}

// PointDisk is one disk of a Point.
type PointDisk struct {
	Target string
	Path   string
	Format string
	Size   int64
	Data   int64
	Read   int64
	Full   bool
	Why    string
}

// Schedule is backups to be made again and again.
type Schedule struct {
	ID       int64
	Name     string
	Cron     string // five fields or @daily and the like, in the engine's time zone
	VMs      []Key  // with Names; empty: chosen by All or Tag at each run
	Names    []string
	All      bool
	Tag      string
	Hosts    []string // that All and Tag choose from; empty: all
	Repo     RepoRef
	Backup   BackupSpec
	Limit    int64
	Keep     Retention     // applied after each run; zero: nothing is forgotten
	Verify   float64       // percent of the chunks to be verified after each run; 0: none
	Command  string        // shell command that gets the result as JSON on its standard input; empty: none
	Fresh    time.Duration // after which a VM without a newer point stands out; 0: twice the interval
	Disabled bool
	Owner    string

	Last    time.Time // when it ran last
	LastBad string    // what went wrong then; empty: nothing
	Next    time.Time
	Missed  int // runs that were missed and caught up by the last one
}

// BackupsState is everything at one moment.
type BackupsState struct {
	At        time.Time
	Revision  int64
	Engine    EngineState
	Transfers []Transfer // those under way, those that wait, then those that ended, the latest first
	Points    []Point    // of every repository that is known, the latest first
	Repos     []RepoState
	Schedules []Schedule
}

// RepoState is what is known of a repository without opening it.
type RepoState struct {
	Ref       RepoRef
	ID        string
	Encrypted bool
	ReadAt    time.Time // when its catalogue was read last
	Trouble   string    // why it could not be, the last time
	Points    int
	Stored    int64 // bytes that it takes
	Room      int64 // bytes free where it lies; 0: not known
	Verified  time.Time
}

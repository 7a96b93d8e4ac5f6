package libvirt

import (
	"context"
	"encoding/xml"
	"fmt"
	"path"
	"strings"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// socketPrefix begins the names of the sockets of berth's backup jobs, by
// which they are known.
const socketPrefix = "berth-"

// backupXML is a backup job (docs/formatbackup.rst).
type backupXML struct {
	XMLName     xml.Name         `xml:"domainbackup"`
	Mode        string           `xml:"mode,attr"`
	Incremental string           `xml:"incremental,omitempty"`
	Server      *backupServerXML `xml:"server,omitempty"`
	Disks       []backupDiskXML  `xml:"disks>disk"`
}

type backupServerXML struct {
	Transport string `xml:"transport,attr"`
	Socket    string `xml:"socket,attr,omitempty"`
	Name      string `xml:"name,attr,omitempty"`
	Port      string `xml:"port,attr,omitempty"`
}

type backupDiskXML struct {
	Name         string      `xml:"name,attr"`
	Backup       string      `xml:"backup,attr"`
	Type         string      `xml:"type,attr,omitempty"`
	Mode         string      `xml:"backupmode,attr,omitempty"` // "full", "incremental"
	Incremental  string      `xml:"incremental,attr,omitempty"`
	ExportName   string      `xml:"exportname,attr,omitempty"`
	ExportBitmap string      `xml:"exportbitmap,attr,omitempty"`
	Scratch      *scratchXML `xml:"scratch,omitempty"`
}

type scratchXML struct {
	File       string         `xml:"file,attr"`
	Encryption *encryptionXML `xml:"encryption"`
}

// newCheckpointXML makes a checkpoint.
type newCheckpointXML struct {
	XMLName     xml.Name            `xml:"domaincheckpoint"`
	Name        string              `xml:"name"`
	Description string              `xml:"description,omitempty"`
	Created     int64               `xml:"creationTime,omitempty"` // of one that is defined again
	Disks       []checkpointDiskXML `xml:"disks>disk"`
}

type checkpointDiskXML struct {
	Name       string `xml:"name,attr"`
	Checkpoint string `xml:"checkpoint,attr"`
}

// marshal writes a description; strings and lists always can be.
func marshal(v any) string {
	b, err := xml.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// backupJob is the domain's backup job, or nil.
func (s *subject) backupJob(ctx context.Context) (*backupXML, error) {
	text, err := ask(ctx, s.h.backup, func(lv *libvirt.Libvirt) (string, error) { return lv.DomainBackupGetXMLDesc(s.dom, 0) })
	switch {
	case hasCode(err, libvirt.ErrNoDomainBackup), unsupported(err), hasCode(err, libvirt.ErrOperationInvalid):
		return nil, nil
	case err != nil:
		return nil, err
	}
	j := new(backupXML)
	if err := xml.Unmarshal([]byte(text), j); err != nil {
		return nil, fmt.Errorf("%w: the backup job's XML cannot be read: %w", backend.ErrInvalid, err)
	}
	return j, nil
}

// mine reports whether berth began the job.
func (j *backupXML) mine() bool {
	return j.Server != nil && strings.HasPrefix(path.Base(j.Server.Socket), socketPrefix)
}

// words names the job.
func (j *backupXML) words() string {
	if j.mine() {
		return "a backup of berth's"
	}
	return "a backup that berth did not begin"
}

// scratches are the job's scratch files.
func (j *backupXML) scratches() (files []string) {
	for _, d := range j.Disks {
		if d.Scratch != nil && d.Scratch.File != "" {
			files = append(files, d.Scratch.File)
		}
	}
	return files
}

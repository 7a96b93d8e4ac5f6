package store

import (
	"time"

	"berth/backend"
)

// pointColumns are the table point.
var pointColumns = []column[backend.Point]{
	text("url", func(p *backend.Point) *string { return &p.Repo }),
	text("id", func(p *backend.Point) *string { return &p.ID }),
	uuid("vm", func(p *backend.Point) *backend.UUID { return &p.VM }),
	text("name", func(p *backend.Point) *string { return &p.Name }),
	text("host", func(p *backend.Point) *string { return &p.Host }),
	moment("at", func(p *backend.Point) *time.Time { return &p.At }),
	integer("took", func(p *backend.Point) *time.Duration { return &p.Took }),
	flag("full", func(p *backend.Point) *bool { return &p.Full }),
	text("why", func(p *backend.Point) *string { return &p.Why }),
	flag("quiesced", func(p *backend.Point) *bool { return &p.Quiesced }),
	flag("running", func(p *backend.Point) *bool { return &p.Running }),
	list("tags", func(p *backend.Point) *[]string { return &p.Tags }),
	integer("size", func(p *backend.Point) *int64 { return &p.Size }),
	integer("data", func(p *backend.Point) *int64 { return &p.Data }),
	integer("read", func(p *backend.Point) *int64 { return &p.Read }),
	integer("new", func(p *backend.Point) *int64 { return &p.New }),
	integer("stored", func(p *backend.Point) *int64 { return &p.Stored }),
	list("disks", func(p *backend.Point) *[]backend.PointDisk { return &p.Disks }),
	moment("verified", func(p *backend.Point) *time.Time { return &p.Verified }),
	text("damaged", func(p *backend.Point) *string { return &p.Damaged }),
	text("owner", func(p *backend.Point) *string { return &p.Owner }),
}

var putPoint = upsertInto("point", "url, id", pointColumns)

// Points returns the points of a repository, the latest first; of all
// repositories when url is empty.
func (t *Tx) Points(url string) ([]backend.Point, error) {
	var w terms
	if url != "" {
		w.add("url = ?", url)
	}
	return rows(t, "point of", pointColumns, "SELECT "+names(pointColumns, "")+" FROM point"+w.where()+" ORDER BY at DESC, url, id", w.args...)
}

// PutPoint writes a point, new or not.
func (t *Tx) PutPoint(p backend.Point) error {
	vals, err := values(pointColumns, &p)
	if err != nil {
		return err
	}
	_, err = t.changeIn(partCatalogue, putPoint, vals...)
	return err
}

// PutPoints makes points all that a repository has. When and whether one was
// verified stays as it was known where they do not tell.
func (t *Tx) PutPoints(url string, points []backend.Point) error {
	old, err := t.Points(url)
	if err != nil {
		return err
	}
	gone := make(map[string]backend.Point, len(old))
	for _, p := range old {
		gone[p.ID] = p
	}
	for _, p := range points {
		p.Repo = url
		if was, ok := gone[p.ID]; ok {
			delete(gone, p.ID)
			if p.Verified.IsZero() && p.Damaged == "" {
				p.Verified, p.Damaged = was.Verified, was.Damaged
			}
		}
		if err := t.PutPoint(p); err != nil {
			return err
		}
	}
	for id := range gone {
		if err := t.DeletePoint(url, id); err != nil {
			return err
		}
	}
	return nil
}

// DeletePoint forgets one; one that is not known is no error.
func (t *Tx) DeletePoint(url, id string) error {
	_, err := t.changeIn(partCatalogue, "DELETE FROM point WHERE url = ? AND id = ?", url, id)
	return err
}

// repoColumns are the table repo.
var repoColumns = []column[backend.RepoState]{
	text("url", func(r *backend.RepoState) *string { return &r.Ref.URL }),
	text("passphrase_file", func(r *backend.RepoState) *string { return &r.Ref.PassphraseFile }),
	text("identity_file", func(r *backend.RepoState) *string { return &r.Ref.IdentityFile }),
	text("id", func(r *backend.RepoState) *string { return &r.ID }),
	flag("encrypted", func(r *backend.RepoState) *bool { return &r.Encrypted }),
	moment("read_at", func(r *backend.RepoState) *time.Time { return &r.ReadAt }),
	text("trouble", func(r *backend.RepoState) *string { return &r.Trouble }),
	integer("points", func(r *backend.RepoState) *int { return &r.Points }),
	integer("stored", func(r *backend.RepoState) *int64 { return &r.Stored }),
	integer("room", func(r *backend.RepoState) *int64 { return &r.Room }),
	moment("verified", func(r *backend.RepoState) *time.Time { return &r.Verified }),
}

var putRepo = upsertInto("repo", "url", repoColumns)

// Repos returns the repositories that are known, by address.
func (t *Tx) Repos() ([]backend.RepoState, error) {
	return rows(t, "repository", repoColumns, "SELECT "+names(repoColumns, "")+" FROM repo ORDER BY url")
}

// PutRepo writes a repository, new or not.
func (t *Tx) PutRepo(r backend.RepoState) error {
	vals, err := values(repoColumns, &r)
	if err != nil {
		return err
	}
	_, err = t.changeIn(partCatalogue, putRepo, vals...)
	return err
}

// DeleteRepo forgets a repository and its points; one that is not known is no
// error.
func (t *Tx) DeleteRepo(url string) error {
	if _, err := t.changeIn(partCatalogue, "DELETE FROM point WHERE url = ?", url); err != nil {
		return err
	}
	_, err := t.changeIn(partCatalogue, "DELETE FROM repo WHERE url = ?", url)
	return err
}

package store

// schema2 adds backups: long works on images (transfer, and progress, which
// changes every second), the cached catalogue (point, repo), and schedules.
// Columns of the name note are the engine's own.
const schema2 = `
ALTER TABLE meta ADD COLUMN transfers INTEGER NOT NULL DEFAULT 1;
ALTER TABLE meta ADD COLUMN catalogue INTEGER NOT NULL DEFAULT 1;

CREATE TABLE transfer (
	id        INTEGER PRIMARY KEY AUTOINCREMENT,
	kind      TEXT    NOT NULL,
	host      TEXT    NOT NULL,
	vm        TEXT    NOT NULL,
	name      TEXT    NOT NULL,
	url       TEXT    NOT NULL,
	schedule  INTEGER NOT NULL,
	spec      TEXT    NOT NULL,
	owner     TEXT    NOT NULL,
	state     TEXT    NOT NULL,
	since     INTEGER,
	ordered   INTEGER,
	started   INTEGER,
	ended     INTEGER,
	attempts  INTEGER NOT NULL,
	next_try  INTEGER,
	words     TEXT    NOT NULL,
	point     TEXT    NOT NULL,
	pause     INTEGER NOT NULL,
	cancel    INTEGER NOT NULL,
	note      TEXT    NOT NULL DEFAULT '',
	over      INTEGER NOT NULL GENERATED ALWAYS AS (state IN ('done', 'failed', 'cancelled')) VIRTUAL
) STRICT;
CREATE INDEX transfer_over ON transfer (over, ended);
CREATE UNIQUE INDEX transfer_once ON transfer (host, vm, url) WHERE over = 0 AND kind = 'backup';

CREATE TABLE progress (
	transfer INTEGER PRIMARY KEY REFERENCES transfer ON DELETE CASCADE,
	body     TEXT    NOT NULL
) STRICT;

CREATE TABLE point (
	url      TEXT    NOT NULL,
	id       TEXT    NOT NULL,
	vm       TEXT    NOT NULL,
	name     TEXT    NOT NULL,
	host     TEXT    NOT NULL,
	at       INTEGER,
	took     INTEGER NOT NULL,
	full     INTEGER NOT NULL,
	why      TEXT    NOT NULL,
	quiesced INTEGER NOT NULL,
	running  INTEGER NOT NULL,
	tags     TEXT    NOT NULL,
	size     INTEGER NOT NULL,
	data     INTEGER NOT NULL,
	read     INTEGER NOT NULL,
	new      INTEGER NOT NULL,
	stored   INTEGER NOT NULL,
	disks    TEXT    NOT NULL,
	verified INTEGER,
	damaged  TEXT    NOT NULL,
	owner    TEXT    NOT NULL,
	PRIMARY KEY (url, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX point_vm ON point (vm, at);

CREATE TABLE repo (
	url             TEXT    PRIMARY KEY,
	passphrase_file TEXT    NOT NULL,
	identity_file   TEXT    NOT NULL,
	id              TEXT    NOT NULL,
	encrypted       INTEGER NOT NULL,
	read_at         INTEGER,
	trouble         TEXT    NOT NULL,
	points          INTEGER NOT NULL,
	stored          INTEGER NOT NULL,
	room            INTEGER NOT NULL,
	verified        INTEGER
) STRICT;

CREATE TABLE schedule (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	name     TEXT    NOT NULL,
	body     TEXT    NOT NULL,
	disabled INTEGER NOT NULL,
	last     INTEGER,
	last_bad TEXT    NOT NULL,
	next     INTEGER,
	missed   INTEGER NOT NULL,
	note     TEXT    NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE backup_host (
	name TEXT PRIMARY KEY,
	uri  TEXT NOT NULL
) STRICT;
`

UPDATE meta SET revision = 42;
INSERT INTO job (id, vm, name, home, owner, vcpu, memory, disk, priority, nice, estimate, time_limit, host, follows, not_before, held,
	preemptible, tags, near, apart, state, since, submitted, started, ended, runs_on, last_start, launch, ran, preempted, attempts,
	next_try, extended, front, aged, aged_at, cancel, forced, words)
VALUES (3, '00000100-0000-0000-0000-000000000001', 'web1', 'host1', 'ann', 2, 4294967296, 0, 50, 0, 0, 0, '', '', NULL, 0,
	1, '["web"]', '', '["db"]', 'running', 1700000100000000000, 1700000000000000000, 1700000100000000000, NULL, 'host1', 1700000100000000000, 'resumed', 0, 0, 0,
	NULL, 0, 0, 100000000000, NULL, 0, 0, ''),
	(4, '00000200-0000-0000-0000-000000000001', 'db1', 'host1', 'bob', 4, 8589934592, 0, 70, 0, 3600000000000, 7200000000000, 'host1', '[3]', 1700003600000000000, 0,
	0, '["db"]', '', '', 'queued', 1700000001000000000, 1700000001000000000, NULL, NULL, '', NULL, '', 0, 0, 0,
	NULL, 0, 0, 0, NULL, 0, 0, '');
INSERT INTO plan VALUES (4, 3600000000000, 'Dependency', '', 3, '', '', NULL, '', NULL, 1, 0.5);
INSERT INTO host VALUES ('host1', 'qemu:///system', 8, 17179869184, 0, 8, 16106127360, 0, 0, 0, 0, 2, 4294967296, 0, 0, 0, 0, 1, 0, 1700000000000000000, '', 1700000200000000000);
INSERT INTO event VALUES (1, 1700000000000000000, 3, 'web1', 'submitted', '', 'ann', '');
INSERT INTO setting VALUES ('policy', '{"order":"sjf","backfill":"easy","placement":"best","preempt":true,"nplus1":false}');
UPDATE lease SET epoch = 5, held = 1, pid = 77, host = 'here', since = 1700000000000000000, beat = 1700000200000000000;
INSERT INTO transfer (id, kind, host, vm, name, url, schedule, spec, owner, state, since, ordered, started, ended, attempts, next_try, words, point, pause, cancel, note)
VALUES (1, 'backup', 'host1', '00010000-0000-0000-0000-000000000001', 'web1', '/b', 0,
	'{"Kind":"backup","VM":{"Host":"host1","UUID":"00010000-0000-0000-0000-000000000001"},"Name":"web1","Repo":{"URL":"/b","PassphraseFile":"/etc/pass"},"Limit":5}',
	'ann', 'running', 1700000100000000000, 1700000000000000000, 1700000100000000000, NULL, 1, NULL, '', '', 0, 0, '{}');
INSERT INTO progress VALUES (1, '{"at":"2023-11-14T22:15:00Z","phase":"reading","done":7,"total":9}');
INSERT INTO point VALUES ('/b', 'p1', '00010000-0000-0000-0000-000000000001', 'web1', 'host1', 1700000000000000000, 5, 1, 'the first', 1, 1, '["gold"]', 10, 9, 8, 7, 6,
	'[{"Target":"vda","Path":"/v","Format":"raw","Size":10,"Data":9,"Read":8,"Full":true,"Why":""}]', NULL, '', 'ann');
INSERT INTO repo VALUES ('/b', '/etc/pass', '', '0123456789abcdef0123456789abcdef', 1, 1700000000000000000, '', 1, 6, 99, NULL);
INSERT INTO schedule (id, name, body, disabled, last, last_bad, next, missed, note) VALUES (3, 'nightly',
	'{"Name":"nightly","Cron":"@daily","VMs":[{"Host":"host1","UUID":"00010000-0000-0000-0000-000000000001"}],"Repo":{"URL":"/b"},"Keep":{"last":3,"within":3600000000000}}',
	0, 1700000000000000000, '', 1700086400000000000, 2, '');
INSERT INTO backup_host VALUES ('host1', 'qemu:///system');

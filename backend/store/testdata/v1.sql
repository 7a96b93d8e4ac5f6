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

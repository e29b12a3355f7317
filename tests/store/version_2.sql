BEGIN TRANSACTION;
CREATE TABLE agents (
	name TEXT NOT NULL, 
	session TEXT NOT NULL, 
	host TEXT NOT NULL, 
	pid INTEGER NOT NULL, 
	version TEXT NOT NULL, 
	queues TEXT NOT NULL, 
	max_jobs INTEGER NOT NULL, 
	registered_at FLOAT NOT NULL, 
	seen_at FLOAT NOT NULL, 
	expires_at FLOAT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "agents" VALUES('one','one-1','left',1,'0','["default"]',-1,1000000.0,1000033.0,1000063.0);
INSERT INTO "agents" VALUES('victim','victim-1','here',1,'0','[]',-1,1000002.0,1000002.0,1000032.0);
CREATE TABLE archive_chunks (
	upload TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	data BLOB NOT NULL, 
	PRIMARY KEY (upload, number)
);
CREATE TABLE archives (
	digest TEXT NOT NULL, 
	upload TEXT NOT NULL, 
	size INTEGER NOT NULL, 
	stored_at FLOAT NOT NULL, 
	PRIMARY KEY (digest)
);
CREATE TABLE arrays (
	seq INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	queue_id INTEGER NOT NULL, 
	name TEXT, 
	submitter TEXT NOT NULL, 
	submit_key TEXT, 
	submitted_at FLOAT NOT NULL, 
	axes TEXT NOT NULL, 
	size INTEGER NOT NULL, 
	max_parallel INTEGER, 
	PRIMARY KEY (seq), 
	UNIQUE (id), 
	FOREIGN KEY(queue_id) REFERENCES queues (id)
);
INSERT INTO "arrays" VALUES(1,'a-007m4r8wy4er',1,'sweep','ann','k',1000033.0,'{"x":[1,2,3]}',3,1);
CREATE TABLE attempts (
	id INTEGER NOT NULL, 
	run_seq INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	queue_id INTEGER NOT NULL, 
	revision INTEGER NOT NULL, 
	agent TEXT NOT NULL, 
	session TEXT NOT NULL, 
	host TEXT NOT NULL, 
	bound_to TEXT NOT NULL, 
	state TEXT NOT NULL, 
	lease_token TEXT NOT NULL, 
	lease_expires_at FLOAT NOT NULL, 
	claimed_at FLOAT NOT NULL, 
	running_since FLOAT, 
	deadline_at FLOAT, 
	run_seconds FLOAT, 
	start_seconds FLOAT, 
	cancel_requested_at FLOAT, 
	due_at FLOAT NOT NULL, 
	stop_at FLOAT, 
	adoptable_since FLOAT, 
	ended_at FLOAT, 
	verdict TEXT, 
	handle TEXT, 
	failure TEXT, 
	exit_code INTEGER, 
	signal INTEGER, 
	usage TEXT, 
	log_bytes INTEGER DEFAULT '0' NOT NULL, 
	log_tail INTEGER DEFAULT '0' NOT NULL, 
	log_cursor TEXT, 
	lane TEXT DEFAULT '' NOT NULL, 
	claim_key TEXT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(run_seq) REFERENCES runs (seq), 
	FOREIGN KEY(queue_id) REFERENCES queues (id)
);
INSERT INTO "attempts" VALUES(1048577,1,1,1,1,'one','one-1','left','','succeeded','c0409e924928b800d4da192f367ea939',1000031.0,1000001.0,1000001.0,NULL,NULL,NULL,NULL,1000031.0,NULL,NULL,1000001.0,'succeeded','{"attempt_id":"007m4g0jbzej-1","data":{"pid":7},"runner":"process","version":1}',NULL,0,NULL,'{"cpu_seconds":1.5}',16,0,'16','ann',NULL);
INSERT INTO "attempts" VALUES(2097153,2,1,1,1,'one','one-1','left','','failed','1f33d7456a45353c5e3251975b407044',1000031.0,1000001.0,1000001.0,NULL,NULL,NULL,NULL,1000031.0,NULL,NULL,1000001.0,'failed','{"attempt_id":"007m4g81ydv9-1","data":{"pid":7},"runner":"process","version":1}','{"detail":"exit code 1","fault":"user","hint":null,"plugin":null,"reason":"preempted","stage":"execute"}',NULL,NULL,NULL,0,0,NULL,'ann',NULL);
INSERT INTO "attempts" VALUES(2097154,2,2,1,1,'one','one-1','left','','succeeded','9682f986ff1d10737386a17cd05b1f21',1000032.0,1000002.0,1000002.0,NULL,NULL,NULL,NULL,1000032.0,NULL,NULL,1000002.0,'succeeded','{"attempt_id":"007m4g81ydv9-2","data":{"pid":7},"runner":"process","version":1}',NULL,NULL,NULL,NULL,0,0,NULL,'ann',NULL);
INSERT INTO "attempts" VALUES(3145729,3,1,1,1,'victim','victim-1','here','','failed','',1000032.0,1000002.0,NULL,NULL,NULL,NULL,NULL,1000032.0,NULL,NULL,1000033.0,'lost',NULL,'{"detail":"agent victim on here was not heard of, 1 s after its lease","fault":"infrastructure","hint":null,"plugin":null,"reason":"lost","stage":"claim"}',NULL,NULL,NULL,0,0,NULL,'bob',NULL);
INSERT INTO "attempts" VALUES(4194305,4,1,1,1,'one','one-1','left','','running','df9cb2ab96cdf5a0ef3edee6bf9100cf',1000063.0,1000033.0,1000033.0,NULL,NULL,NULL,NULL,1000063.0,NULL,NULL,NULL,NULL,'{"attempt_id":"007m4r8wc7cd-1","data":{"pid":7},"runner":"process","version":1}',NULL,NULL,NULL,NULL,0,0,NULL,'anna-007m4r8wy4er/1',NULL);
CREATE TABLE audit (
	id INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	who TEXT NOT NULL, 
	token TEXT NOT NULL, 
	action TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "audit" VALUES(1,1000033.0,'root','','create token','53058a5cb4ed','');
CREATE TABLE events (
	id INTEGER NOT NULL, 
	run_seq INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	stage TEXT NOT NULL, 
	what TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	seconds FLOAT, 
	mark INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (run_seq, attempt, at, mark), 
	FOREIGN KEY(run_seq) REFERENCES runs (seq)
);
INSERT INTO "events" VALUES(1,2,0,1000001.0,'report','note','attempt 1 was preempted: queued again (1 of at most 10 times)',NULL,2895386556);
CREATE TABLE job_versions (
	job_id INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	digest TEXT NOT NULL, 
	definition TEXT NOT NULL, 
	created_at FLOAT NOT NULL, 
	PRIMARY KEY (job_id, version), 
	UNIQUE (job_id, digest), 
	FOREIGN KEY(job_id) REFERENCES jobs (id)
);
INSERT INTO "job_versions" VALUES(1,1,'515d5207eb751dbc130b18f7e0277a67ccf5eccb3f5dabee94959a93b4bd83d5','{"build_context":null,"command":["python","train.py"],"description":"","dockerfile":null,"env":{},"inputs":{"lr":{"type":"number","default":0.1}},"source":{"fields":{"url":"https://example.com/train","ref":"main"},"type":"git"}}',1000000.0);
CREATE TABLE jobs (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	created_at FLOAT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
INSERT INTO "jobs" VALUES(1,'train',1000000.0);
CREATE TABLE log_chunks (
	attempt_id INTEGER NOT NULL, 
	"offset" INTEGER NOT NULL, 
	data BLOB NOT NULL, 
	PRIMARY KEY (attempt_id, "offset"), 
	FOREIGN KEY(attempt_id) REFERENCES attempts (id)
);
INSERT INTO "log_chunks" VALUES(1048577,0,X'65706F636820310A65706F636820320A');
CREATE TABLE quarantines (
	queue_id INTEGER NOT NULL, 
	job_name TEXT NOT NULL, 
	job_version INTEGER NOT NULL, 
	runs INTEGER NOT NULL, 
	latest TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (queue_id, job_name, job_version), 
	FOREIGN KEY(queue_id) REFERENCES queues (id)
);
INSERT INTO "quarantines" VALUES(1,'train',1,1,'007m4ggky623',1000033.0);
CREATE TABLE queue_revisions (
	queue_id INTEGER NOT NULL, 
	revision INTEGER NOT NULL, 
	config TEXT NOT NULL, 
	created_at FLOAT NOT NULL, 
	PRIMARY KEY (queue_id, revision), 
	FOREIGN KEY(queue_id) REFERENCES queues (id)
);
INSERT INTO "queue_revisions" VALUES(1,1,'{"builder":null,"closed_env":["LD_*","DYLD_*","PATH","PYTHONHOME","PYTHONSTARTUP","LAUNCHCORE_*"],"config":{},"description":"","limits":{"grace_seconds":10.0,"memory_bytes":null,"queue_seconds":null,"run_seconds":null,"start_seconds":null},"max_priority":"critical","max_queued":null,"max_queued_per_submitter":null,"max_running":4,"max_running_per_submitter":3,"open_env":["*"],"registry":null,"retry":{"delay_seconds":5.0,"jitter":0.1,"max_delay_seconds":3600.0,"max_lost":1,"max_preempted":10,"max_quarantined":1,"max_retries":0,"reasons":[]},"secrets":null,"type":"process","variables":{}}',1000000.0);
CREATE TABLE queues (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	revision INTEGER NOT NULL, 
	paused BOOLEAN DEFAULT 0 NOT NULL, 
	max_running INTEGER, 
	created_at FLOAT NOT NULL, 
	updated_at FLOAT NOT NULL, 
	deleted_at FLOAT, 
	PRIMARY KEY (id)
);
INSERT INTO "queues" VALUES(1,'default',1,0,4,1000000.0,1000000.0,NULL);
CREATE TABLE run_specs (
	seq INTEGER NOT NULL, 
	spec TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	FOREIGN KEY(seq) REFERENCES runs (seq)
);
INSERT INTO "run_specs" VALUES(1,'{"build_args":{},"build_context":null,"command":["true"],"dockerfile":null,"env":{},"inputs":{},"job":null,"limits":{"grace_seconds":10.0,"memory_bytes":null,"queue_seconds":null,"run_seconds":null,"start_seconds":null},"name":"done","retry":null,"secrets":["TOKEN"],"source":{"fields":{"image":"busybox"},"type":"image"},"variables":{}}');
INSERT INTO "run_specs" VALUES(2,'{"build_args":{},"build_context":null,"command":["true"],"dockerfile":null,"env":{},"inputs":{},"job":null,"limits":{"grace_seconds":10.0,"memory_bytes":null,"queue_seconds":null,"run_seconds":null,"start_seconds":null},"name":"preempted","retry":null,"secrets":[],"source":{"fields":{"image":"busybox"},"type":"image"},"variables":{}}');
INSERT INTO "run_specs" VALUES(3,'{"build_args":{},"build_context":null,"command":["true"],"dockerfile":null,"env":{},"inputs":{"lr":0.1},"job":"train:1","limits":{"grace_seconds":10.0,"memory_bytes":null,"queue_seconds":null,"run_seconds":null,"start_seconds":null},"name":"poison","retry":null,"secrets":[],"source":{"fields":{"image":"busybox"},"type":"image"},"variables":{}}');
INSERT INTO "run_specs" VALUES(4,'{"build_args":{},"build_context":null,"command":["true"],"dockerfile":null,"env":{},"inputs":{"x":1},"job":null,"limits":{"grace_seconds":10.0,"memory_bytes":null,"queue_seconds":null,"run_seconds":null,"start_seconds":null},"name":"sweep[x=1]","retry":null,"secrets":[],"source":{"fields":{"image":"busybox"},"type":"image"},"variables":{}}');
INSERT INTO "run_specs" VALUES(5,'{"build_args":{},"build_context":null,"command":["true"],"dockerfile":null,"env":{},"inputs":{"x":2},"job":null,"limits":{"grace_seconds":10.0,"memory_bytes":null,"queue_seconds":null,"run_seconds":null,"start_seconds":null},"name":"sweep[x=2]","retry":null,"secrets":[],"source":{"fields":{"image":"busybox"},"type":"image"},"variables":{}}');
INSERT INTO "run_specs" VALUES(6,'{"build_args":{},"build_context":null,"command":["true"],"dockerfile":null,"env":{},"inputs":{"x":3},"job":null,"limits":{"grace_seconds":10.0,"memory_bytes":null,"queue_seconds":null,"run_seconds":null,"start_seconds":null},"name":"sweep[x=3]","retry":null,"secrets":[],"source":{"fields":{"image":"busybox"},"type":"image"},"variables":{}}');
INSERT INTO "run_specs" VALUES(7,'{"build_args":{},"build_context":null,"command":["true"],"dockerfile":null,"env":{},"inputs":{},"job":null,"limits":{"grace_seconds":10.0,"memory_bytes":null,"queue_seconds":86400.0,"run_seconds":null,"start_seconds":null},"name":"waits","retry":null,"secrets":[],"source":{"fields":{"image":"busybox"},"type":"image"},"variables":{}}');
CREATE TABLE runs (
	seq INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	queue_id INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	priority INTEGER NOT NULL, 
	name TEXT, 
	job_name TEXT, 
	job_version INTEGER, 
	submitter TEXT NOT NULL, 
	submit_key TEXT, 
	submitted_at FLOAT NOT NULL, 
	started_at FLOAT, 
	ended_at FLOAT, 
	cancel_requested_at FLOAT, 
	cancelled_by TEXT, 
	retry_at FLOAT, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	lost INTEGER DEFAULT '0' NOT NULL, 
	retries INTEGER DEFAULT '0' NOT NULL, 
	failure TEXT, 
	exit_code INTEGER, 
	signal INTEGER, 
	pinned TEXT, 
	image TEXT, 
	retry_of TEXT, 
	changes INTEGER DEFAULT '1' NOT NULL, 
	lane TEXT DEFAULT '' NOT NULL, 
	preempted INTEGER DEFAULT '0' NOT NULL, 
	quarantined BOOLEAN DEFAULT 0 NOT NULL, 
	queue_seconds FLOAT, 
	queue_until FLOAT, 
	array_seq INTEGER, 
	array_index INTEGER, 
	PRIMARY KEY (seq), 
	UNIQUE (id), 
	FOREIGN KEY(queue_id) REFERENCES queues (id), 
	FOREIGN KEY(array_seq) REFERENCES arrays (seq)
);
INSERT INTO "runs" VALUES(1,'007m4g0jbzej',1,'succeeded',2,'done',NULL,NULL,'ann',NULL,1000000.0,1000001.0,1000001.0,NULL,NULL,NULL,1,0,0,NULL,0,NULL,NULL,NULL,NULL,6,'ann',0,0,NULL,NULL,NULL,NULL);
INSERT INTO "runs" VALUES(2,'007m4g81ydv9',1,'succeeded',2,'preempted',NULL,NULL,'ann',NULL,1000001.0,1000001.0,1000002.0,NULL,NULL,NULL,2,0,0,NULL,NULL,NULL,NULL,NULL,NULL,9,'ann',1,0,NULL,NULL,NULL,NULL);
INSERT INTO "runs" VALUES(3,'007m4ggky623',1,'failed',2,'poison','train',1,'bob',NULL,1000002.0,NULL,1000033.0,NULL,NULL,NULL,1,1,0,'{"detail":"quarantined: 1 attempt was lost (agents: victim), so it is not tried again: agent victim on here was not heard of, 1 s after its lease","fault":"infrastructure","hint":"see whether this run brings its agents or machines down (memory, disk), then `launch retry` it","plugin":null,"reason":"lost","stage":"claim"}',NULL,NULL,NULL,NULL,NULL,3,'bob',0,1,NULL,NULL,NULL,NULL);
INSERT INTO "runs" VALUES(4,'007m4r8wc7cd',1,'running',2,'sweep[x=1]',NULL,NULL,'ann',NULL,1000033.0,1000033.0,NULL,NULL,NULL,NULL,1,0,0,NULL,NULL,NULL,NULL,NULL,NULL,4,'anna-007m4r8wy4er/1',0,0,NULL,NULL,1,0);
INSERT INTO "runs" VALUES(5,'007m4r8f7w4a',1,'queued',2,'sweep[x=2]',NULL,NULL,'ann',NULL,1000033.0,NULL,NULL,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,1,'anna-007m4r8wy4er/1',0,0,NULL,NULL,1,1);
INSERT INTO "runs" VALUES(6,'007m4r8ngtvt',1,'queued',2,'sweep[x=3]',NULL,NULL,'ann',NULL,1000033.0,NULL,NULL,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,1,'anna-007m4r8wy4er/1',0,0,NULL,NULL,1,2);
INSERT INTO "runs" VALUES(7,'007m4r84dybz',1,'queued',2,'waits',NULL,NULL,'',NULL,1000033.0,NULL,NULL,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,1,'',0,0,86400.0,1086433.0,NULL,NULL);
CREATE TABLE schema_versions (
	version INTEGER NOT NULL, 
	what TEXT NOT NULL, 
	applied_at FLOAT NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "schema_versions" VALUES(1,'the first tables',1000000.0);
INSERT INTO "schema_versions" VALUES(2,'the queue service: tokens, audit, arrays, lanes, deadlines of what is queued',1000000.0);
CREATE TABLE service (
	identity TEXT NOT NULL, 
	PRIMARY KEY (identity)
);
INSERT INTO "service" VALUES('92b16dc9d4e4e9c6');
CREATE TABLE tokens (
	id TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	name TEXT NOT NULL, 
	scopes TEXT NOT NULL, 
	created_at FLOAT NOT NULL, 
	created_by TEXT NOT NULL, 
	expires_at FLOAT, 
	revoked_at FLOAT, 
	revoked_by TEXT, 
	used_at FLOAT, 
	PRIMARY KEY (id)
);
INSERT INTO "tokens" VALUES('53058a5cb4ed','aeaf775e717eddbf0decb639444a0987261f6154d758ee4fb1c3ad4d8e1f3b4e','laptop','["submit","read"]',1000033.0,'root',NULL,NULL,NULL,NULL);
CREATE UNIQUE INDEX queues_name ON queues (name) WHERE deleted_at IS NULL;
CREATE INDEX arrays_name ON arrays (name, seq) WHERE name IS NOT NULL;
CREATE UNIQUE INDEX arrays_key ON arrays (queue_id, submit_key) WHERE submit_key IS NOT NULL;
CREATE INDEX runs_failed ON runs (state, seq) WHERE failure IS NOT NULL;
CREATE INDEX runs_submitter ON runs (submitter, seq);
CREATE INDEX runs_queue ON runs (queue_id, seq);
CREATE INDEX runs_array ON runs (array_seq, array_index) WHERE array_seq IS NOT NULL;
CREATE INDEX runs_name ON runs (name, seq) WHERE name IS NOT NULL;
CREATE INDEX runs_job ON runs (job_name, seq) WHERE job_name IS NOT NULL;
CREATE INDEX runs_queued ON runs (queue_id, seq) WHERE state = 'queued';
CREATE INDEX runs_overdue ON runs (queue_id, queue_until) WHERE state = 'queued' AND queue_until IS NOT NULL;
CREATE UNIQUE INDEX runs_key ON runs (queue_id, submit_key) WHERE submit_key IS NOT NULL;
CREATE INDEX runs_retry ON runs (queue_id, retry_at) WHERE retry_at IS NOT NULL;
CREATE INDEX runs_claim ON runs (queue_id, lane, priority, seq) WHERE state = 'queued' AND retry_at IS NULL;
CREATE INDEX attempts_adopt ON attempts (queue_id, bound_to) WHERE adoptable_since IS NOT NULL;
CREATE INDEX attempts_stop ON attempts (session, stop_at) WHERE stop_at IS NOT NULL;
CREATE INDEX attempts_live ON attempts (queue_id, due_at) WHERE ended_at IS NULL;
CREATE INDEX attempts_session ON attempts (session, claim_key) WHERE ended_at IS NULL;
CREATE INDEX attempts_lane ON attempts (queue_id, lane) WHERE ended_at IS NULL AND lane != '';
COMMIT;

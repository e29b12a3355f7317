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
INSERT INTO "agents" VALUES('one','one-1','left',1,'0','["default"]',-1,1000000.0,1000000.0,1000030.0);
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
	PRIMARY KEY (id), 
	FOREIGN KEY(run_seq) REFERENCES runs (seq), 
	FOREIGN KEY(queue_id) REFERENCES queues (id)
);
INSERT INTO "attempts" VALUES(1048577,1,1,1,1,'one','one-1','left','','succeeded','97bcfc5b03cf246b64ccc3a9d4ed2e3b',1000031.0,1000001.0,1000001.0,1003601.0,3600.0,NULL,NULL,1000031.0,NULL,NULL,1000003.0,'succeeded','{"attempt_id":"007m4g049f77-1","data":{"pid":7},"runner":"process","version":1}',NULL,0,NULL,'{"cpu_seconds":1.5}',16,0,'16');
INSERT INTO "attempts" VALUES(2097153,2,1,1,1,'one','one-1','left','','failed','51e0c388ada8906303669d61627900e6',1000034.0,1000004.0,1000004.0,1003604.0,3600.0,NULL,NULL,1000034.0,NULL,NULL,1000006.0,'failed','{"attempt_id":"007m4grvseeg-1","data":{"pid":7},"runner":"process","version":1}','{"detail":"exit code 1","fault":"user","hint":null,"plugin":null,"reason":"out_of_memory","stage":"execute"}',NULL,9,NULL,0,0,NULL);
INSERT INTO "attempts" VALUES(3145729,3,1,1,1,'one','one-1','left','','running','8f277f324d528e0065a763fc24497988',1000037.0,1000007.0,1000007.0,1003607.0,3600.0,NULL,NULL,1000037.0,1003607.0,NULL,NULL,NULL,'{"attempt_id":"007m4hgmyvx0-1","data":{"pid":7},"runner":"process","version":1}',NULL,NULL,NULL,NULL,0,0,NULL);
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
INSERT INTO "events" VALUES(1,1,1,1000001.0,'source','started','',NULL,1518074532);
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
INSERT INTO "job_versions" VALUES(1,1,'f519a5fd64b52c67e3542861cdbb1fbef1252c78c870c444e432bdb0a66fe15d','{"command":["python","train.py"],"description":"","dockerfile":null,"env":{},"inputs":{},"source":{"fields":{"url":"https://example.com/train","ref":"main"},"type":"git"}}',1000000.0);
INSERT INTO "job_versions" VALUES(1,2,'d7f0acc005ffb6729a01f0a2a1918ba4c8d55dcaff3b13fe09eb28ed920ee0a2','{"command":["python","train.py","--fast"],"description":"","dockerfile":null,"env":{},"inputs":{"lr":{"type":"number","default":0.1}},"source":{"fields":{"url":"https://example.com/train","ref":"main"},"type":"git"}}',1000000.0);
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
CREATE TABLE queue_revisions (
	queue_id INTEGER NOT NULL, 
	revision INTEGER NOT NULL, 
	config TEXT NOT NULL, 
	created_at FLOAT NOT NULL, 
	PRIMARY KEY (queue_id, revision), 
	FOREIGN KEY(queue_id) REFERENCES queues (id)
);
INSERT INTO "queue_revisions" VALUES(1,1,'{"builder":null,"closed_env":["LD_*","DYLD_*","PATH","PYTHONHOME","PYTHONSTARTUP","LAUNCHCORE_*"],"config":{},"description":"","limits":{"grace_seconds":10.0,"memory_bytes":null,"run_seconds":null,"start_seconds":null},"max_running":4,"open_env":["*"],"registry":null,"retry":{"delay_seconds":5.0,"max_lost":3,"max_retries":0,"reasons":[]},"secrets":null,"type":"process","variables":{}}',1000000.0);
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
INSERT INTO "run_specs" VALUES(1,'{"build_args":{},"command":["true"],"dockerfile":null,"env":{"A":"1"},"inputs":{},"job":null,"limits":{"grace_seconds":10.0,"memory_bytes":null,"run_seconds":3600.0,"start_seconds":null},"name":"done","secrets":["TOKEN"],"source":{"fields":{"image":"busybox"},"type":"image"},"variables":{}}');
INSERT INTO "run_specs" VALUES(2,'{"build_args":{},"command":["true"],"dockerfile":null,"env":{"A":"1"},"inputs":{},"job":null,"limits":{"grace_seconds":10.0,"memory_bytes":null,"run_seconds":3600.0,"start_seconds":null},"name":"broken","secrets":["TOKEN"],"source":{"fields":{"image":"busybox"},"type":"image"},"variables":{}}');
INSERT INTO "run_specs" VALUES(3,'{"build_args":{},"command":["true"],"dockerfile":null,"env":{"A":"1"},"inputs":{},"job":null,"limits":{"grace_seconds":10.0,"memory_bytes":null,"run_seconds":3600.0,"start_seconds":null},"name":"runs","secrets":["TOKEN"],"source":{"fields":{"image":"busybox"},"type":"image"},"variables":{}}');
INSERT INTO "run_specs" VALUES(4,'{"build_args":{},"command":["true"],"dockerfile":null,"env":{"A":"1"},"inputs":{},"job":null,"limits":{"grace_seconds":10.0,"memory_bytes":null,"run_seconds":3600.0,"start_seconds":null},"name":"waits","secrets":["TOKEN"],"source":{"fields":{"image":"busybox"},"type":"image"},"variables":{}}');
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
	PRIMARY KEY (seq), 
	UNIQUE (id), 
	FOREIGN KEY(queue_id) REFERENCES queues (id)
);
INSERT INTO "runs" VALUES(1,'007m4g049f77',1,'succeeded',2,'done',NULL,NULL,'ann',NULL,1000000.0,1000001.0,1000003.0,NULL,NULL,NULL,1,0,0,NULL,0,NULL,'{"fields":{"url":"https://example.com/train","ref":"main"},"type":"git"}',NULL,NULL,7);
INSERT INTO "runs" VALUES(2,'007m4grvseeg',1,'failed',2,'broken',NULL,NULL,'ann',NULL,1000003.0,1000004.0,1000006.0,NULL,NULL,NULL,1,0,0,'{"detail":"exit code 1","fault":"user","hint":null,"plugin":null,"reason":"out_of_memory","stage":"execute"}',NULL,9,NULL,NULL,NULL,5);
INSERT INTO "runs" VALUES(3,'007m4hgmyvx0',1,'running',2,'runs',NULL,NULL,'ann',NULL,1000006.0,1000007.0,NULL,NULL,NULL,NULL,1,0,0,NULL,NULL,NULL,NULL,NULL,NULL,4);
INSERT INTO "runs" VALUES(4,'007m4hrwe82x',1,'queued',2,'waits',NULL,NULL,'ann',NULL,1000007.0,NULL,NULL,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,1);
CREATE TABLE schema_versions (
	version INTEGER NOT NULL, 
	what TEXT NOT NULL, 
	applied_at FLOAT NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "schema_versions" VALUES(1,'the first tables',1000000.0);
CREATE TABLE service (
	identity TEXT NOT NULL, 
	PRIMARY KEY (identity)
);
INSERT INTO "service" VALUES('1050dc4da5bd602f');
CREATE UNIQUE INDEX queues_name ON queues (name) WHERE deleted_at IS NULL;
CREATE INDEX runs_submitter ON runs (submitter, seq);
CREATE INDEX runs_retry ON runs (queue_id, retry_at) WHERE retry_at IS NOT NULL;
CREATE INDEX runs_queue ON runs (queue_id, seq);
CREATE INDEX runs_failed ON runs (state, seq) WHERE failure IS NOT NULL;
CREATE INDEX runs_name ON runs (name, seq) WHERE name IS NOT NULL;
CREATE UNIQUE INDEX runs_key ON runs (queue_id, submit_key) WHERE submit_key IS NOT NULL;
CREATE INDEX runs_job ON runs (job_name, seq) WHERE job_name IS NOT NULL;
CREATE INDEX runs_claim ON runs (queue_id, priority, seq) WHERE state = 'queued' AND retry_at IS NULL;
CREATE INDEX attempts_live ON attempts (queue_id, due_at) WHERE ended_at IS NULL;
CREATE INDEX attempts_stop ON attempts (session, stop_at) WHERE stop_at IS NOT NULL;
CREATE INDEX attempts_adopt ON attempts (queue_id, bound_to) WHERE adoptable_since IS NOT NULL;
COMMIT;

/**
 * Every failpoint: `area.what-has-just-happened`, in the order in which they are passed. A test kills the server at each of them, so a name
 * that no code passes fails it.
 */
export const FAILPOINTS = [
  // A pull: the row says `pulling`; the manifest is read; a layer's last byte has come; its files are there; all layers are; `active` is written.
  'pull.taken-up',
  'pull.resolved',
  'pull.blob-read',
  'pull.unpacked',
  'pull.layers-ready',
  'pull.active',

  // A layer of a pull: filled; on disk, without its name; with its name and not in the index; in both.
  'seal.filled',
  'seal.synced',
  'seal.named',
  'seal.renamed',
  // One that was made here: filled, without its name; with it, and not synced.
  'seal.made',
  'seal.made-named',
  // One in a disk's image: the image is the store's; on disk, without its name; with it; its name is on disk, but it is not mounted.
  'seal.disk-moved',
  'seal.disk-synced',
  'seal.disk-named',
  'seal.disk-renamed',
  // A damaged layer: out of the index; set aside; fetched again; could not be fetched, and is not back yet.
  'repair.unindexed',
  'repair.set-aside',
  'repair.fetched',
  'repair.lost',

  // A build: its rows are written; a process has it; its contexts are merged; a step runs; its result is not recorded yet; it is; all layers are
  // synced, which nobody has noted; it is noted; the snapshot is `active`, and the log not ended. Or the failure is written, and the log not ended.
  'build.rows-written',
  'build.taken',
  'build.context-merged',
  'build.step-begun',
  'build.step-run',
  'build.step-recorded',
  'build.synced',
  'build.durable',
  'build.active',
  'build.failed',

  // A capture: the row is there; the disk is written back, and marked; it is FROZEN; the image is cloned, still frozen; it is about to be thawed;
  // thawed, still marked; the copy is complete; its layer is in the store; `active` is written.
  'capture.row-written',
  'capture.marked',
  'capture.frozen',
  'capture.cloned',
  'capture.thawing',
  'capture.thawed',
  'capture.copied',
  'capture.layer-published',
  'capture.active',

  // Captured layers put together: in one; on disk; in the place of the many in the rows.
  'flatten.merged',
  'flatten.synced',
  'flatten.replaced',

  // A fork: the files are copied; one child has its own; all have; the rows are written; one child runs under its own identity; one is `started`.
  'fork.copied',
  'fork.one-placed',
  'fork.placed',
  'fork.rows-written',
  'fork.identity-given',
  'fork.one-started',

  // A start: the row says so; it has a network; a place to write; its root is mounted; crun has run; the commands' user is known; `started` is
  // durable and nobody knows; its entry point runs.
  'start.row-written',
  'start.network-taken',
  'start.place-opened',
  'start.mounted',
  'start.container-run',
  'start.running',
  'start.started',
  'start.entrypoint-run',

  // A stop: the row says `stopping`; nothing runs any more; what it had is taken away; the row says `stopped`.
  'stop.row-written',
  'stop.killed',
  'stop.ended',
  'stop.stopped',

  // Pause, resume, resize and another network: the row says so; it is done; the row says that.
  'pause.row-written',
  'pause.frozen',
  'pause.paused',
  'resume.row-written',
  'resume.thawed',
  'resume.started',
  'resize.row-written',
  'resize.applied',
  'resize.done',
  'network.row-written',
  'network.applied',

  // The end of a sandbox: the row says `destroying`; its build is gone; its files are out of the way; they are removed; the row says `destroyed`.
  'remove.row-written',
  'remove.build-removed',
  'remove.files-trashed',
  'remove.files-removed',
  'remove.destroyed',

  // The end of a snapshot: the row says `removing`, and its pull goes on; its build and log are gone; its row is.
  'delete.row-written',
  'delete.build-discarded',
  'delete.row-removed',

  // A snapshot comes back, or rests: decided, not written; written.
  'activate.layers-found',
  'activate.written',
  'deactivate.written',

  // A sweep of layers: what is needed is known; what is not is written down; a layer is not given out any more; it is out of the index; out of the store; its files are removed.
  'gc.reachable-read',
  'gc.marked',
  'gc.layer-forgotten',
  'gc.unindexed',
  'gc.discarded',
  'gc.layer-removed',

  // A job: this process has it; its work is done; and its place is free, but the queue does not know. A job of a dead server: taken from it, not given back.
  'job.claimed',
  'job.done',
  'job.released',
  'job.dead-taken',
  // The lease of this process is renewed.
  'lease.renewed',

  // Any change of a state: before its statement; after it, which in a transaction is before the commit.
  'move.asked',
  'move.written',

  // A webhook: deliveries are made and the place in the events is noted, before the commit; one is claimed; it is sent, and nobody has noted it; noted.
  'webhook.fanned-out',
  'webhook.claimed',
  'webhook.sent',
  'webhook.noted',

  // An upload: all bytes are in a draft; it has its name; its name is on disk, and nobody was answered. A part; all parts in one, and still there; gone.
  'upload.spooled',
  'upload.renamed',
  'upload.stored',
  'upload.part-written',
  'upload.joined',
  'upload.completed',

  // A file that is written into a sandbox from outside: all bytes are there, and it has not its name.
  'file.poured',

  // The next server, after any of these: it knows what runs; has put one sandbox right; all of them; the snapshots.
  'recover.adopted',
  'recover.one-sandbox',
  'recover.sandboxes',
  'recover.snapshots',
] as const;

export type Failpoint = (typeof FAILPOINTS)[number];

/**
 * What the floors above know of images. Nothing here knows HTTP dialects or SQL.
 */

/** A reference as Docker means it, with every default filled in. */
export interface ImageReference {
  /** `docker.io`, `localhost:5000`, `[::1]:5000`. */
  registry: string;
  /** `library/python`. */
  repository: string;
  tag: string | undefined;
  digest: string | undefined;
}

/** The part of an OCI image config that starting a sandbox needs. */
export interface ImageConfig {
  env: string[];
  entrypoint: string[];
  cmd: string[];
  workingDir: string;
  /** `name`, `uid`, `name:group`, `uid:gid` or empty for root. */
  user: string;
  labels: Record<string, string>;
  exposedPorts: string[];
  volumes: string[];
  stopSignal: string | undefined;
  /** What only builds from the image and its runners look at; absent where the image says nothing. */
  shell?: string[] | undefined;
  onBuild?: string[] | undefined;
  healthcheck?: Healthcheck | undefined;
}

/** As the image config has it, in lower camel case; durations in nanoseconds, 0 for the default. */
export interface Healthcheck {
  /** `NONE`, `CMD` and the arguments, or `CMD-SHELL` and the line. */
  test: string[];
  interval: number;
  timeout: number;
  startPeriod: number;
  startInterval: number;
  retries: number;
}

export interface RegistryCredentials {
  username: string;
  password: string;
}

/** Looked up for each registry host that a pull talks to; undefined is anonymous. */
export type CredentialLookup = (registryHost: string) => Promise<RegistryCredentials | undefined>;

export interface PulledImage {
  /** The reference with the digest that it was resolved to: `docker.io/library/python@sha256:…`. */
  resolved: string;
  /** diffIDs, base first. Each is in the layer store, complete and synced. */
  layers: string[];
  config: ImageConfig;
  /** Bytes of all layers as they lie on disk. */
  sizeBytes: number;
}

export interface PullProgress {
  phase: 'resolving' | 'downloading' | 'done';
  downloadedBytes: number;
  totalBytes: number;
  /** Layers that were there already, and all. */
  layersReady: number;
  layersTotal: number;
}

export interface PullOptions {
  credentials: CredentialLookup;
  signal: AbortSignal;
  /** Refused when the layers, unpacked, are more than this. */
  maxBytes: number;
  /** What this reference gave the same caller before. Where it still means that, and all layers are there, one request is enough. */
  known?: PulledImage | undefined;
  onProgress?: (progress: PullProgress) => void;
}

export interface ImagePuller {
  /**
   * Resolves the reference, fetches the layers that are missing, verifies every digest and diffID, unpacks.
   * Resolves only when all layers are durable (syncfs). Calls at the same time share the download of a layer; an
   * aborted call stops a download only when no other call waits for it. A half-done call leaves nothing in the store.
   * Raises `image_unavailable`, `image_invalid`, `insufficient_storage` or `timeout`.
   */
  pull(reference: ImageReference, options: PullOptions): Promise<PulledImage>;
}

/** One immutable directory of changes in overlayfs form, with uids already shifted. */
export interface Layer {
  /** The digest of its archive; of a layer that was built here `built:` and random digits. */
  diffId: string;
  /** Absolute path of the `diff` directory, for a lowerdir. Of a layer on a disk (`makeFromDisk`) it shows the files once `get` gave it out. */
  path: string;
  /** Short path relative to the store's root, for option strings that must fit in one page. */
  shortPath: string;
  sizeBytes: number;
  /** It is a directory of a disk of its own (`makeFromDisk`). */
  onDisk?: true;
}

export interface SweepOptions {
  /** At the lowest priority: others work on the disk. */
  gently?: boolean;
  /** Ends it early: what is left goes with a later sweep. */
  signal?: AbortSignal | undefined;
}

export interface LayerStore {
  readonly root: string;
  /** The layer, if it is complete. What `get` and `add` gave out is safe from `sweep` for some minutes. */
  get(diffId: string): Promise<Layer | undefined>;
  /**
   * Runs `fill` on an empty private directory and, when it succeeds, makes it the layer by a rename after syncfs. A layer
   * that is already there wins, and what was filled is dropped. A failed or killed call leaves only litter that `sweep` takes.
   */
  add(
    diffId: string,
    fill: (directory: string, signal: AbortSignal) => Promise<{ sizeBytes: number }>,
    signal: AbortSignal,
  ): Promise<Layer>;
  /**
   * Makes a layer that has no archive: `fill` gets an empty private directory, beside which it leaves nothing, and answers undefined when there
   * is no change to keep. The layer outlives this process, and a power cut only after `sync`. A failed call leaves only litter that `sweep` takes.
   */
  make(fill: (directory: string) => Promise<{ sizeBytes: number } | undefined>): Promise<Layer | undefined>;
  /**
   * Makes the directory `root` of an ext4 in a file a layer. The file lies on the store's file system, is complete on disk and needs no replay; it is
   * the store's from now on. Nothing in it is read or copied, so it takes as long for one file as for a million. The layer outlives a power cut.
   */
  makeFromDisk(image: string, root: string): Promise<Layer>;
  /** All that was made before is on disk when this resolves. Calls at the same time share the work. */
  sync(): Promise<void>;
  /** Removes layers that are not in `reachable`, one after the other, and litter of calls that never ended. Returns the freed diffIDs. */
  sweep(reachable: ReadonlySet<string>, options?: SweepOptions): Promise<string[]>;
  list(): Promise<Layer[]>;
}

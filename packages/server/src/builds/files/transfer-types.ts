/** A tree that COPY and ADD read from. */
export interface SourceTree {
  /** Open for as long as a call with it runs. Ids in the tree are shifted as everywhere; nobody changes it meanwhile. */
  directory: number;
  /** Of an overlay: what it is mounted from, the topmost first. Large files share their blocks with those. */
  layers?: readonly string[] | undefined;
  /** How errors call it: `the build's context`, `stage "builder"`. */
  what: string;
  /** The text of the `.dockerignore` that holds for it. */
  ignore?: string | undefined;
  /** A file of what `ContextMerge` found out about the bytes of its files. */
  digestFile?: string | undefined;
  /** The same of single files, which count before those of `digestFile`. */
  digests?: readonly (readonly [place: string, sha256: string])[] | undefined;
  /** Two trees of one identity have the same files: what is known of one need not be found out again. */
  identity?: string | undefined;
}

/** A file that was fetched for ADD: mode 0600, time as its server said. */
export interface FetchedFile {
  /** Where it is now: alone in a directory, under the name that it gets. */
  directory: string;
  name: string;
  sha256: string;
}

/** A directory of a repository that was fetched for ADD. Whoever owns its files there, they become root's. */
export interface FetchedTree {
  directory: string;
  /** Its place in `directory`. */
  name: string;
  /** The commit and what was taken of it: two trees of which this is the same have the same files. */
  identity: string;
}

/** What a source of ADD became. */
export type Fetched = FetchedFile | FetchedTree;

/** COPY or ADD with all words expanded. */
export interface TransferInstruction {
  kind: 'copy' | 'add';
  sources: readonly string[];
  target: string;
  heredocs: readonly { name: string; content: string }[];
  chown: string | undefined;
  chmod: string | undefined;
  exclude: readonly string[];
  parents: boolean;
  /** Made as if nothing were below, and laid over it: symlinks there are not followed, and directories on the way look as new ones. */
  link: boolean;
  /** Undefined: what ADD finds in the tree is unpacked, what was fetched is not. */
  unpack: boolean | undefined;
}

export interface TransferRequest {
  instruction: TransferInstruction;
  source: SourceTree;
  /** By the place in `instruction.sources`; all that are URLs or git sources. */
  fetched: ReadonlyMap<number, Fetched>;
  /** Absolute, as WORKDIR left it. */
  workingDirectory: string;
  /** The merged root of the layers below, open for as long as the call runs; undefined for an empty one. */
  parent: number | undefined;
  /** An empty directory that becomes the layer. Beside it, in the directory above, temporary files may be made. */
  upper: string;
  maxBytes: number;
}

export interface TransferResult {
  /** Of file data, and new names; what shares its blocks counts too. */
  sizeBytes: number;
  entries: number;
  /** What a person should know although nothing failed. */
  warnings: string[];
}

/** What a cache key must know of the files that an instruction reads. */
export interface DigestRequest {
  instruction: TransferInstruction;
  source: SourceTree;
  fetched: ReadonlyMap<number, Fetched>;
  /** Of all files together: what is more than may be copied is not read to its end, which a file of holes may not have in hours. */
  maxBytes?: number;
}

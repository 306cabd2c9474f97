/** One layer's blob, as its manifest and image config describe it. */
export interface LayerBlob {
  /** Exists and is empty. After a failure it is empty again. */
  directory: string;
  compression: 'gzip' | 'zstd' | 'none';
  /** `sha256:…` of the bytes of the source. */
  blobDigest: string;
  blobSize: number;
  /** `sha256:…` of the bytes after decompression. */
  diffId: string;
  /** Refused when the data of all files together is more than this. Holes in sparse files do not count. */
  maxBytes: number;
  /** A file that gets the record of what was made (`health/tree-record.ts`). */
  record?: string | undefined;
}

export interface UnpackedLayer {
  /** Bytes of file data; holes do not count, and hard links count once. */
  sizeBytes: number;
  /** Entries of the archive that were applied. */
  entries: number;
  /** Device nodes that were left out. */
  skippedDevices: number;
}

export interface LayerUnpacker {
  /**
   * Reads the source to its end, verifies blob digest, size and diffID, and applies the archive to the directory in
   * overlayfs form with shifted ids. The source is not read before a worker is free, and it is closed (`return`) when the
   * call ends early. A failed or aborted call leaves the directory empty; an aborted one raises `signal.reason`.
   * Nothing is synced: that is up to who owns the directory.
   * Raises `image_invalid`, `insufficient_storage`, or what the source raised.
   */
  unpack(source: AsyncIterable<Uint8Array>, blob: LayerBlob, signal: AbortSignal): Promise<UnpackedLayer>;
  /** Fails the calls that run and ends the workers. */
  close(): Promise<void>;
}

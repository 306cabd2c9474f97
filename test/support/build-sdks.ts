import * as newest from '@daytona/sdk';
import * as oldest from 'daytona-sdk-0190';
import * as legacy from 'daytona-sdk-legacy';

interface PipOptions {
  findLinks?: string[];
  indexUrl?: string;
  extraIndexUrls?: string[];
  pre?: boolean;
  extraOptions?: string;
}

/** What the `Image` of each version has. */
export interface SdkImage {
  readonly dockerfile: string;
  pipInstall(packages: string | string[], options?: PipOptions): SdkImage;
  pipInstallFromRequirements(file: string, options?: PipOptions): SdkImage;
  pipInstallFromPyproject(file: string, options?: PipOptions & { optionalDependencies?: string[] }): SdkImage;
  addLocalFile(local: string, remote: string): SdkImage;
  addLocalDir(local: string, remote: string): SdkImage;
  runCommands(...commands: (string | string[])[]): SdkImage;
  env(variables: Record<string, string>): SdkImage;
  workdir(path: string): SdkImage;
  entrypoint(command: string[]): SdkImage;
  cmd(command: string[]): SdkImage;
  dockerfileCommands(lines: string[], contextDir?: string): SdkImage;
}

export interface SdkImages {
  base(image: string): SdkImage;
  debianSlim(version?: '3.9' | '3.10' | '3.11' | '3.12' | '3.13'): SdkImage;
  fromDockerfile(path: string): SdkImage;
}

export interface SdkConnection {
  apiKey: string;
  apiUrl: string;
}

export interface SdkSnapshot {
  id: string;
  name: string;
  state: string;
  entrypoint: string[] | null;
  size: number | null;
}

export interface SdkSandbox {
  id: string;
  process: { executeCommand(command: string): Promise<{ exitCode: number; result: string }> };
  delete(): Promise<unknown>;
}

interface SnapshotWish {
  name: string;
  image: SdkImage;
  entrypoint?: string[];
}

/** One version of the SDK, as far as builds need it: the three declare the same classes, each with a brand of its own. */
export interface BuildSdk {
  label: string;
  Image: SdkImages;
  DaytonaError: new (...args: never[]) => Error;
  createSnapshot(
    connection: SdkConnection,
    wish: SnapshotWish,
    options?: { onLogs?: (chunk: string) => void; timeout?: number },
  ): Promise<SdkSnapshot>;
  createSandbox(
    connection: SdkConnection,
    wish: { snapshot: string } | { image: SdkImage | string },
    options?: { onSnapshotCreateLogs?: (chunk: string) => void; timeout?: number },
  ): Promise<SdkSandbox>;
}

export const buildSdks: BuildSdk[] = [
  {
    label: '@daytonaio/sdk 0.190.1',
    Image: oldest.Image,
    DaytonaError: oldest.DaytonaError,
    createSnapshot: (connection, { image, ...wish }, options) => {
      if (!(image instanceof oldest.Image)) throw new Error('an image of another version');
      return new oldest.Daytona(connection).snapshot.create({ ...wish, image }, options);
    },
    createSandbox: (connection, wish, options) => {
      const daytona = new oldest.Daytona(connection);
      if ('snapshot' in wish) return daytona.create(wish, options);
      const { image } = wish;
      if (!(typeof image === 'string' || image instanceof oldest.Image)) throw new Error('an image of another version');
      return daytona.create({ image }, options);
    },
  },
  {
    label: '@daytonaio/sdk newest',
    Image: legacy.Image,
    DaytonaError: legacy.DaytonaError,
    createSnapshot: (connection, { image, ...wish }, options) => {
      if (!(image instanceof legacy.Image)) throw new Error('an image of another version');
      return new legacy.Daytona(connection).snapshot.create({ ...wish, image }, options);
    },
    createSandbox: (connection, wish, options) => {
      const daytona = new legacy.Daytona(connection);
      if ('snapshot' in wish) return daytona.create(wish, options);
      const { image } = wish;
      if (!(typeof image === 'string' || image instanceof legacy.Image)) throw new Error('an image of another version');
      return daytona.create({ image }, options);
    },
  },
  {
    label: '@daytona/sdk newest',
    Image: newest.Image,
    DaytonaError: newest.DaytonaError,
    createSnapshot: (connection, { image, ...wish }, options) => {
      if (!(image instanceof newest.Image)) throw new Error('an image of another version');
      return new newest.Daytona(connection).snapshot.create({ ...wish, image }, options);
    },
    createSandbox: (connection, wish, options) => {
      const daytona = new newest.Daytona(connection);
      if ('snapshot' in wish) return daytona.create(wish, options);
      const { image } = wish;
      if (!(typeof image === 'string' || image instanceof newest.Image)) throw new Error('an image of another version');
      return daytona.create({ image }, options);
    },
  },
];

import { resolve } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import { doctor } from './doctor.ts';
import { EXIT_NOT_RUN, fsck } from './fsck.ts';
import { clearCache, gc } from './gc.ts';
import { EXIT_USAGE, reportError } from './report-error.ts';
import { up } from './up.ts';
import { version } from './version.ts';

/** What `up` and `doctor` have in common: which machine's ground, with which settings. */
interface ConfigFlags {
  stateDir?: string;
  listen?: string;
  tls?: boolean;
  config?: string;
}

/** Runs one `darkroom …` to its end and answers the exit code: 0, 1 for a failure, 2 for a wrong flag or setting. */
export async function runCommandLine(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const outcome = { exitCode: 0 };
  const program = makeProgram(env, outcome);
  try {
    await program.parseAsync(args, { from: 'user' });
    return outcome.exitCode;
  } catch (error) {
    // Commander has printed its message already; --help and --version end this way too, with 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
    return reportError(error);
  }
}

function makeProgram(env: NodeJS.ProcessEnv, outcome: { exitCode: number }): Command {
  const program = new Command('darkroom')
    .description('Snapshots and sandboxes for agents, on a machine of your own.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    .showHelpAfterError('(see --help)')
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'darkroom: ')) })
    .exitOverride();

  program
    .command('up')
    .description('run the server in the foreground')
    .option('--state-dir <dir>', 'keep everything there (default: /var/lib/darkroom)')
    .option('--listen <host:port>', 'serve HTTP there (default: 127.0.0.1:3986; port 0 takes a free one)')
    .option('--tls', 'serve https, with a certificate of a local CA unless the configuration names one')
    .option('--config <file>', 'read settings from a YAML file')
    .addHelpText('after', UP_HELP)
    .action(async (flags: ConfigFlags) => {
      outcome.exitCode = await up({ flags: configFlags(flags), env });
    });

  program
    .command('doctor')
    .description('say what of this machine works for Darkroom, what does not, and what to do')
    .option('--state-dir <dir>', 'look at the disk there (default: /var/lib/darkroom)')
    .option('--config <file>', 'read settings from a YAML file')
    .option('--json', 'print the rows as JSON')
    .action(async (flags: ConfigFlags & { json?: boolean }) => {
      outcome.exitCode = await doctor({ flags: configFlags(flags), env, json: flags.json ?? false });
    });

  program
    .command('gc')
    .description('take away what the server that runs keeps and nothing needs; sweeps come by themselves, too')
    .option('--dry-run', 'take nothing away, and say what would go and why')
    .option('--no-grace', 'do not wait until nothing has needed it for some minutes')
    .option('--state-dir <dir>', 'of the server (default: /var/lib/darkroom)')
    .option('--config <file>', 'read settings from a YAML file')
    .option('--json', 'print it as JSON')
    .action(async (flags: ConfigFlags & { dryRun?: boolean; grace: boolean; json?: boolean }) => {
      const { dryRun = false, grace, json = false } = flags;
      outcome.exitCode = await gc({ flags: configFlags(flags), env, dryRun, grace, json });
    });

  program
    .command('cache')
    .description('what builds have kept')
    .command('clear')
    .description('make the server that runs forget results of build steps and base images')
    .option('--organization <id>', 'those of one organization; without it all')
    .option('--state-dir <dir>', 'of the server (default: /var/lib/darkroom)')
    .option('--config <file>', 'read settings from a YAML file')
    .option('--json', 'print it as JSON')
    .action(async (flags: ConfigFlags & { organization?: string; json?: boolean }) => {
      const { organization, json = false } = flags;
      outcome.exitCode = await clearCache({ flags: configFlags(flags), env, organization, json });
    });

  program
    .command('fsck')
    .description('compare the database with the disk, both ways; with or without a server that runs')
    .option('--repair', 'put right what can be: layers are fetched or built again, what nobody has is removed')
    .option('--deep', 'also read every byte of layers and uploads')
    .addOption(new Option('--quick', 'look at rows, records and directories alone').conflicts('deep'))
    .option('--state-dir <dir>', 'look there (default: /var/lib/darkroom)')
    .option('--config <file>', 'read settings from a YAML file')
    .option('--json', 'print each finding as a line of JSON')
    .addHelpText('after', FSCK_HELP)
    .action(async (flags: ConfigFlags & { [Name in 'repair' | 'deep' | 'quick' | 'json']?: boolean }) => {
      const { repair = false, deep = false, quick = false, json = false } = flags;
      const depth = deep ? 'bytes' : quick ? 'quick' : 'files';
      try {
        outcome.exitCode = await fsck({ flags: configFlags(flags), env }, { repair, depth, json });
      } catch (error) {
        // 1 is for what was found.
        reportError(error);
        outcome.exitCode = EXIT_NOT_RUN;
      }
    });

  return program;
}

function configFlags({ stateDir, listen, tls, config }: ConfigFlags) {
  return {
    ...(stateDir === undefined ? {} : { stateDir: resolve(stateDir) }),
    ...(listen === undefined ? {} : { listen }),
    ...(tls === undefined ? {} : { tls }),
    ...(config === undefined ? {} : { configFile: config }),
  };
}

const UP_HELP = `
Each setting can stand in the file, or in the environment as DARKROOM_ and its name: network.cidr is
DARKROOM_NETWORK_CIDR. Flags win over the environment, the environment over the file. DATABASE_URL names an
external PostgreSQL.

Ctrl-C or SIGTERM ends the server and leaves its sandboxes running; the next \`darkroom up\` finds them again.
A second signal does not wait. It needs root: it mounts, and makes namespaces and cgroups.`;

const FSCK_HELP = `
Ends with 0 when nothing is wrong or all was repaired, 1 when something is left, 2 when it could not look.
Nothing that runs is ever taken away. It may be ended at any time, and run again.`;

// Who runs PostgreSQL. It refuses to run as root, so under root it runs as the owner of its directory or as `nobody`,
// with the least right that lets it reach its files; as an ordinary user it runs as that user. Nothing is made on the
// machine for it: no user, no group, no copy of the programs.
//
// `nobody` cannot pass a directory that only root may enter (a checkout below /root). setpriv then hands it one
// capability, to pass and read everywhere without owning anything. Two details are needed for that:
// - ambient: the capability must survive the exec of pg_ctl, of the shell it uses, of postgres;
// - no_setuid_fixup: access(2), by which PostgreSQL looks for its own programs, otherwise ignores all capabilities of
//   a user who is not root.
// All other capabilities leave the bounding set, and no program can give them back (no-new-privs).

import { chmod, readFile, stat } from 'node:fs/promises';
import { StartError } from '../runtime/start-error.ts';
import { decisiveLine, type Outcome, run, type Tools } from './tools.ts';

export type ServerUser = {
  /** Whom the server's files must belong to; null: Willow's own user, as all that Willow makes. */
  readonly ids: Ids | null;
  readonly run: (program: string, programArguments: readonly string[]) => Promise<Outcome>;
};

type Ids = { readonly uid: number; readonly gid: number };

// Containers commonly withhold the first from root and leave it the second, which may write as well.
const capabilities = ['dac_read_search', 'dac_override'];

/** Finds a way to run the tools that reaches both them and the directory, and makes the directory the server's own. */
export async function findServerUser(tools: Tools, directory: string): Promise<ServerUser> {
  if (process.geteuid?.() !== 0) return { ids: null, run };
  const owner = await stat(directory);
  const ids = owner.uid === 0 ? await findNobody() : { uid: owner.uid, gid: owner.gid };
  // New and empty, or put back from a backup by root.
  if (owner.uid === 0) await run('chown', ['-hR', `${ids.uid}:${ids.gid}`, directory]);
  await makeExecutable(tools);
  const ways: ServerUser['run'][] = [
    (program, programArguments) => run(program, programArguments, ids),
    ...capabilities.map(
      (capability): ServerUser['run'] =>
        (program, programArguments) =>
          run('setpriv', [...privileges(ids, capability), program, ...programArguments]),
    ),
  ];
  const failures: string[] = [];
  for (const way of ways) {
    const outcome = await way('/bin/sh', [
      '-c',
      'cd "$1" && cd "$2" && "$3" -V',
      'sh',
      tools.directory,
      directory,
      tools.postgres,
    ]);
    if (outcome.succeeded) return { ids, run: way };
    failures.push(decisiveLine(outcome.output));
  }
  throw new StartError(
    `Willow runs as root, PostgreSQL refuses to, and user ${ids.uid} cannot reach both ${directory} and ${tools.directory} (${failures.join('; ')}): start Willow as an ordinary user, move them where everybody may pass, or set DATABASE_URL.`,
  );
}

async function findNobody(): Promise<Ids> {
  const nobody = /^nobody:[^:]*:(-?\d+):(-?\d+):/m.exec(await readFile('/etc/passwd', 'utf8'));
  if (nobody === null) {
    throw new StartError(
      'Willow runs as root, PostgreSQL refuses to, and there is no user nobody to run it: start Willow as an ordinary user, or set DATABASE_URL.',
    );
  }
  // Unsigned, since some systems write nobody as -2.
  return { uid: Number(nobody[1]) >>> 0, gid: Number(nobody[2]) >>> 0 };
}

function privileges({ uid, gid }: Ids, capability: string): readonly string[] {
  return [
    '--securebits=+no_setuid_fixup',
    `--reuid=${uid}`,
    `--regid=${gid}`,
    '--clear-groups',
    `--inh-caps=-all,+${capability}`,
    `--ambient-caps=-all,+${capability}`,
    `--bounding-set=-all,+${capability}`,
    '--no-new-privs',
  ];
}

/** Installed under a tight umask the programs are root's alone; to read a directory is not yet to execute what is in it. */
async function makeExecutable(tools: Tools): Promise<void> {
  for (const program of [tools.initdb, tools.pgCtl, tools.postgres]) {
    const { mode } = await stat(program);
    // Where this is refused (a read-only installation), the trial run says so.
    if ((mode & 0o555) !== 0o555) await chmod(program, (mode & 0o777) | 0o555).catch(() => undefined);
  }
}

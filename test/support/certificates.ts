// A certificate authority of a test's own, and the certificates that it signs, as files: what brokers and Willow are given.

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export type Issued = { readonly certFile: string; readonly keyFile: string };

export type Authority = AsyncDisposable & {
  readonly directory: string;
  /** Its own certificate. */
  readonly caFile: string;
  readonly caKeyFile: string;
  /** Signs a certificate for this common name, and for these names or addresses (`DNS:broker.example`, `IP:127.0.0.1`). */
  readonly issue: (commonName: string, options?: IssueOptions) => Promise<Issued>;
};

type IssueOptions = { readonly altNames?: readonly string[] /** −1: it expired yesterday. */; readonly days?: number };

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

export async function createAuthority(): Promise<Authority> {
  const directory = await mkdtemp(join(tmpdir(), 'willow-authority-'));
  const file = (name: string) => join(directory, name);
  const [caFile, caKeyFile] = [file('ca.pem'), file('ca.key')];
  await openssl(
    'req',
    '-x509',
    ...newKey,
    '-days',
    '2',
    '-subj',
    '/CN=an authority',
    '-keyout',
    caKeyFile,
    '-out',
    caFile,
  );
  let issued = 0;
  return {
    directory,
    caFile,
    caKeyFile,
    issue: async (commonName, { altNames = [], days = 2 } = {}) => {
      issued += 1;
      // The file that openssl would count in is no place for two at once.
      const serial = ['-set_serial', String(issued)];
      const [certFile, keyFile, request] = [`${issued}.pem`, `${issued}.key`, `${issued}.csr`].map(file) as [
        string,
        string,
        string,
      ];
      const names = altNames.length === 0 ? [] : ['-addext', `subjectAltName=${altNames.join(',')}`];
      const extensions = ['-addext', 'basicConstraints=critical,CA:FALSE', ...names];
      await openssl('req', ...newKey, '-subj', `/CN=${commonName}`, ...extensions, '-keyout', keyFile, '-out', request);
      const signer = ['-CA', caFile, '-CAkey', caKeyFile, ...serial, '-copy_extensions', 'copyall'];
      await openssl('x509', '-req', '-in', request, ...signer, '-days', String(days), '-out', certFile);
      return { certFile, keyFile };
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  };
}

async function openssl(...args: readonly string[]): Promise<void> {
  await promisify(execFile)('openssl', args);
}

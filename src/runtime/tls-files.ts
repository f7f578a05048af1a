// The files that TLS needs, read and checked: what is wrong with them is said in sentences that name the file, never its content. They
// are read anew for each connection, because certificates that live for hours are renewed in place.

import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';

type Role = 'ca' | 'cert' | 'key';
export type TlsPaths = Readonly<Record<Role, string | null>>;
export type TlsTexts = Readonly<Record<Role, string | null>>;
export type TlsProblem = { readonly file: Role; readonly sentence: string };
export type TlsFiles =
  | { readonly kind: 'texts'; readonly texts: TlsTexts }
  | { readonly kind: 'problems'; readonly problems: readonly TlsProblem[] };

export function readTlsFiles(paths: TlsPaths, readFile: (path: string) => string): TlsFiles {
  const problems: TlsProblem[] = [];
  const read = <Parsed>(file: Role, parse: (text: string) => Parsed) => {
    const path = paths[file];
    if (path === null) return { text: null, parsed: null };
    try {
      const text = readFile(path);
      return { text, parsed: parse(text) };
    } catch (error) {
      problems.push({ file, sentence: sentenceOf(path, error) });
      return { text: null, parsed: null };
    }
  };
  const ca = read('ca', certificatesIn);
  const cert = read('cert', certificatesIn);
  const key = read('key', keyIn);
  const [own] = cert.parsed ?? [];
  if (own !== undefined && key.parsed !== null && !own.checkPrivateKey(key.parsed)) {
    problems.push({ file: 'key', sentence: `the key in ${paths.key} does not fit the certificate in ${paths.cert}` });
  }
  if (problems.length > 0) return { kind: 'problems', problems };
  return { kind: 'texts', texts: { ca: ca.text, cert: cert.text, key: key.text } };
}

class FormatError extends Error {
  override readonly name = 'FormatError';
}

/** One at least; in a chain one's own comes first. */
function certificatesIn(text: string): readonly X509Certificate[] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/gu) ?? [];
  try {
    if (blocks.length > 0) return blocks.map((block) => new X509Certificate(block));
  } catch {
    // Told below: what OpenSSL says of a broken block helps nobody.
  }
  throw new FormatError('has no certificate in it (PEM, -----BEGIN CERTIFICATE-----)');
}

function keyIn(text: string): KeyObject {
  if (/^(?:-----BEGIN|Proc-Type:).*\bENCRYPTED\b/mu.test(text)) {
    throw new FormatError('has a key that is encrypted: only one without a passphrase can be used');
  }
  try {
    return createPrivateKey(text);
  } catch {
    throw new FormatError('has no private key in it (PEM, -----BEGIN PRIVATE KEY-----)');
  }
}

function sentenceOf(path: string, error: unknown): string {
  if (error instanceof FormatError) return `${path} ${error.message}`;
  const why = error instanceof Error ? error.message : 'cannot be read';
  return why.includes(path) ? why : `${path}: ${why}`;
}

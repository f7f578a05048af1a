// Why there is no connection to the broker: one word of a closed list, for /readyz and the log, and a sentence that names the setting that
// mends it. Told apart by codes, never by the text of an error.

export type ConnectProblem =
  /** The files of TLS cannot be read, or do not fit each other. */
  | 'files'
  /** Nobody whom we trust has signed the certificate of the broker. */
  | 'certificate-unknown'
  | 'certificate-name'
  /** Expired, or not valid yet. */
  | 'certificate-time'
  /** The broker broke the handshake off: it may want a certificate of ours, or another one. */
  | 'handshake-refused'
  /** What answers there does not speak TLS. */
  | 'no-tls'
  /** The broker refused our CONNECT. */
  | 'connect-refused'
  /** It closed the connection, and did not say why. */
  | 'closed'
  | 'unreachable';

/** The broker refused, or the connection failed before it was of use. */
export class ConnectError extends Error {
  override readonly name = 'ConnectError';
  /** Null for a connection that was made, or that nobody wants any more. */
  readonly problem: ConnectProblem | null;
  /** Whether the broker may speak the other version of MQTT only: it said so, or it hung up on our CONNECT. */
  readonly version: 'refused' | 'in-doubt' | null;
  constructor(
    message: string,
    options: {
      readonly cause?: unknown;
      readonly problem: ConnectProblem | null;
      readonly version?: ConnectError['version'];
    },
  ) {
    super(message, { cause: options.cause });
    // What is wrong is at the broker or in the settings: the sentence says it, and a stack would bury it.
    delete this.stack;
    this.problem = options.problem;
    this.version = options.version ?? null;
  }
}

/** CONNACK: unacceptable protocol version (3.1.1), unsupported protocol version (5). */
const versionRefusals = new Set([1, 132]);

type Destination = { readonly url: string; readonly caFile: string | null };

/** Why a connection was closed before the broker had accepted it. What the cause says is in the sentence, so the cause is not added to it. */
export function connectErrorOf(cause: unknown, { url, caFile }: Destination): ConnectError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const problem = problemOf(code);
  const version = typeof code === 'number' && versionRefusals.has(code) ? 'refused' : null;
  const isTls = /^(?:mqtts|wss):/iu.test(url);
  const mend = mends[problem]({ isTls, isWebSocket: /^wss?:/iu.test(url), hasOwnAuthority: caFile !== null });
  // Node's own sentence ends in advice on switches of Node's.
  const what = problem === 'certificate-unknown' ? unknownSentence(code) : messageOfError(cause);
  return new ConnectError(`no connection to the broker: ${what} (${mend})`, {
    problem,
    version: code === undefined ? 'in-doubt' : version,
  });
}

function unknownSentence(code: unknown): string {
  return `nobody who is trusted has signed its certificate, ${String(code)}`;
}

export function messageOfError(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}

const byCode: Readonly<Record<string, ConnectProblem>> = {
  CERT_HAS_EXPIRED: 'certificate-time',
  CERT_NOT_YET_VALID: 'certificate-time',
  CERT_SIGNATURE_FAILURE: 'certificate-unknown',
  CERT_UNTRUSTED: 'certificate-unknown',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'certificate-unknown',
  ERR_TLS_CERT_ALTNAME_INVALID: 'certificate-name',
  EPROTO: 'no-tls',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'no-tls',
  ERR_SSL_WRONG_VERSION_NUMBER: 'no-tls',
  HOSTNAME_MISMATCH: 'certificate-name',
  INVALID_CA: 'certificate-unknown',
  INVALID_PURPOSE: 'certificate-unknown',
  SELF_SIGNED_CERT_IN_CHAIN: 'certificate-unknown',
  UNABLE_TO_GET_ISSUER_CERT: 'certificate-unknown',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'certificate-unknown',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'certificate-unknown',
  ECONNRESET: 'closed',
  EPIPE: 'closed',
};

function problemOf(code: unknown): ConnectProblem {
  if (code === undefined) return 'closed';
  if (typeof code !== 'string') return 'connect-refused';
  return byCode[code] ?? (code.startsWith('ERR_SSL_') ? 'handshake-refused' : 'unreachable');
}

type Way = { readonly isTls: boolean; readonly isWebSocket: boolean; readonly hasOwnAuthority: boolean };

const mends: Record<ConnectProblem, (way: Way) => string> = {
  files: () => 'MQTT_CA_FILE, MQTT_CERT_FILE and MQTT_KEY_FILE name them',
  'certificate-unknown': ({ hasOwnAuthority }) =>
    hasOwnAuthority
      ? 'MQTT_CA_FILE names those who may, and they alone are trusted: it must have the certificate of who did'
      : 'MQTT_CA_FILE is not set, so those are trusted whom Node trusts: set it to the certificate of who did',
  'certificate-name': () => 'MQTT_URL or MQTT_SERVER_NAME must say the name that the certificate of the broker has',
  'certificate-time': () => 'the broker needs a new certificate, or the clock of one of the two is wrong',
  'handshake-refused': () =>
    'MQTT_CERT_FILE and MQTT_KEY_FILE name what is shown to a broker that wants a certificate which it trusts',
  'no-tls': () => 'the port in MQTT_URL must be one that speaks TLS',
  'connect-refused': () => 'MQTT_USERNAME and MQTT_PASSWORD, or what the broker allows MQTT_CLIENT_ID to do',
  // A broker that is starting hangs up, too.
  closed: ({ isTls, isWebSocket }) => {
    const port = isTls ? 'speaks TLS' : 'speaks no TLS: one that does wants mqtts:// or wss://';
    return `if it stays so, see that the port in MQTT_URL ${port}${isWebSocket ? ', and that its path is that of a WebSocket' : ''}`;
  },
  unreachable: () => 'MQTT_URL says where it is',
};

// What came of a request: the attempt that the verdict rests on, and a short sentence for people. Whatever a receiver can
// answer or fail to has both; what remains are defects of our own, and those are thrown.

import { errors } from 'undici';
import { type Attempt, attemptOf, type NoAnswer } from '../core/verdict.ts';
import { BlockedTargetError, LookupTimeoutError } from './target-guard.ts';

export type Outcome = { readonly attempt: Attempt; readonly detail: string | null };
export type SendTimeouts = {
  /** To resolve the name, connect and agree on TLS. */
  readonly connectMs: number;
  /** From the first step to the last byte. */
  readonly answerMs: number;
};

/** The receiver did not answer in the time it had. */
export class AnswerTimeoutError extends Error {
  override readonly name = 'AnswerTimeoutError';
}

const detailCharactersMax = 300;

export function outcomeOfAnswer(status: number, retryAfterMs: number | null): Outcome {
  const attempt = attemptOf(status, retryAfterMs);
  if (attempt.kind === 'delivered') return { attempt, detail: null };
  const isRedirect = status >= 300 && status <= 399;
  return { attempt, detail: isRedirect ? `answered ${status}; redirects are not followed` : `answered ${status}` };
}

/** An error that came before any status. */
export function outcomeOfError(error: Error, hostname: string, timeouts: SendTimeouts): Outcome {
  if (error instanceof errors.InvalidArgumentError || error instanceof errors.NotSupportedError) throw error;
  const [why, detail] = explain(error, hostname, timeouts);
  return failed(why, detail);
}

export function failed(why: NoAnswer, detail: string): Outcome {
  return { attempt: { kind: 'failed', why, status: null, retryAfterMs: null }, detail: sentence(detail) };
}

function explain(error: Error, hostname: string, timeouts: SendTimeouts): [NoAnswer, string] {
  if (error instanceof BlockedTargetError) return ['blocked', error.message];
  if (error instanceof AnswerTimeoutError) return ['timeout', `no answer in ${seconds(timeouts.answerMs)}`];
  if (error instanceof LookupTimeoutError) {
    return ['timeout', `the name ${hostname} did not resolve in ${seconds(timeouts.connectMs)}`];
  }
  if (error instanceof errors.ConnectTimeoutError)
    return ['timeout', `no connection in ${seconds(timeouts.connectMs)}`];
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (tlsCodes.test(code)) return ['tls', `TLS failed: ${reasonOf(error)}`];
  if (certificateCodes.test(code)) {
    // Behind the semicolon is advice about Node.
    return ['tls', `the certificate is not valid: ${error.message.split(';', 1).join('')}`];
  }
  return ['connection', connectionDetails[code] ?? connectionDetail(code, error, hostname)];
}

/** OpenSSL's own, and what Node adds about the protocol. */
const tlsCodes = /^(ERR_SSL_|EPROTO$|ERR_TLS_(?!CERT_))/u;
/** Node passes on the names that OpenSSL has for what is wrong with a certificate. */
const certificateCodes =
  /^(ERR_TLS_CERT_|CERT_|CRL_|ERROR_IN_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_|PATH_LENGTH_|HOSTNAME_)/u;

const connectionDetails: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection was refused',
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was reset',
  ECONNABORTED: 'the connection was reset',
  ETIMEDOUT: 'the connection timed out',
  EHOSTUNREACH: 'there is no route to the receiver',
  ENETUNREACH: 'there is no route to the receiver',
  UND_ERR_SOCKET: 'the connection was closed without an answer',
  UND_ERR_HEADERS_OVERFLOW: 'the headers of the answer are too long',
};

function connectionDetail(code: string, error: Error, hostname: string): string {
  if (code === 'ENOTFOUND') return `the name ${hostname} does not resolve`;
  if (code === 'EAI_AGAIN') return `the name ${hostname} could not be resolved for now`;
  if (error instanceof errors.HTTPParserError) return 'the answer is not HTTP/1.1';
  return `the request failed: ${error.message || code || error.name}`;
}

/** What OpenSSL calls the fault, without the places in its sources. */
function reasonOf(error: Error): string {
  return 'reason' in error && typeof error.reason === 'string' ? error.reason : error.message;
}

function seconds(ms: number): string {
  return `${ms / 1_000} s`;
}

/** Receivers have a say in it (names in certificates), so it is kept short and storable. */
function sentence(text: string): string {
  const plain = text.toWellFormed().replace(/\p{Cc}+/gu, ' ');
  return plain.length <= detailCharactersMax ? plain : `${plain.slice(0, detailCharactersMax).toWellFormed()}…`;
}

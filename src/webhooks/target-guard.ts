// Which addresses may be called. A URL is judged when it is registered, as a courtesy; what counts is the judgement of the
// very address that a socket is about to connect to, literal or resolved, so a name that resolves inside, or resolves
// differently the second time, opens no connection.

import dns, { type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { callbackify } from 'node:util';
import ipaddr from 'ipaddr.js';
import { buildConnector } from 'undici';
import { isStorableText } from '../core/ids.ts';

export const urlCharactersMax = 2_048;
export const connectMsMax = 5_000;
const networksMax = 256;
/** How long one address of several is tried before the next is tried too; slow links need more than Node's quarter second. */
const nextAddressMs = 1_000;

/** A block of addresses. */
export type Network = readonly [ipaddr.IPv4 | ipaddr.IPv6, number];
export type TargetRules = { readonly allowHttp: boolean; readonly allowNetworks: readonly Network[] };

/** The target is one that may not be called; the message says why, for people. */
export class BlockedTargetError extends Error {
  override readonly name = 'BlockedTargetError';
}

/** The name did not resolve in time. */
export class LookupTimeoutError extends Error {
  override readonly name = 'LookupTimeoutError';
}

const httpProblem = 'plain http is not allowed; see WEBHOOK_ALLOW_HTTP';
const insideProblem = 'neither public nor in WEBHOOK_ALLOW_NETWORKS';

/** Why a URL cannot be registered, where that can be told without asking for its name. */
export function registrationProblem(url: string, rules: TargetRules): string | null {
  const problem = targetProblem(url, rules);
  if (problem !== null) return problem;
  // Such names are this machine (RFC 6761).
  const isHere = /(?:^|\.)localhost\.?$/u.test(new URL(url).hostname);
  const isAllowed = ['127.0.0.1', '::1'].some((address) => isAllowedAddress(address, rules.allowNetworks));
  return isHere && !isAllowed ? `localhost is ${insideProblem}` : null;
}

/** Why a URL cannot be a webhook's, as a sentence; null when it can. */
export function targetProblem(url: string, rules: TargetRules): string | null {
  if (url.length > urlCharactersMax) return `the URL is longer than ${urlCharactersMax} characters`;
  if (/\s/u.test(url) || !isStorableText(url))
    return 'the URL has white space, a control character or a lone surrogate';
  const parsed = URL.parse(url);
  if (parsed === null) return 'this is not an absolute URL';
  if (parsed.protocol !== 'https:' && parsed.protocol !== 'http:') return 'the URL does not begin with https://';
  if (parsed.protocol === 'http:' && !rules.allowHttp) return `the URL is not https, and ${httpProblem}`;
  if (parsed.username !== '' || parsed.password !== '') return 'the URL has credentials in it';
  if (url.includes('#')) return 'the URL has a fragment, which is never sent';
  if (parsed.port === '0') return 'port 0 cannot be called';
  // `URL` has turned every other notation of an address (decimal, octal, hexadecimal, short, full-width) into the plain one.
  return literalProblem(parsed.hostname.replace(/^\[(.*)\]$/u, '$1'), rules.allowNetworks);
}

function literalProblem(hostname: string, allowNetworks: readonly Network[]): string | null {
  if (isIP(hostname) === 0 || isAllowedAddress(hostname, allowNetworks)) return null;
  return `the address ${hostname} is ${insideProblem}`;
}

/** Public unicast addresses, and those in the networks allowed besides. An IPv4-mapped address is judged by its IPv4. */
export function isAllowedAddress(address: string, allowNetworks: readonly Network[]): boolean {
  const parsed = parseAddress(address);
  if (parsed === null) return false;
  const plain = parsed instanceof ipaddr.IPv6 && parsed.isIPv4MappedAddress() ? parsed.toIPv4Address() : parsed;
  const mapped = plain instanceof ipaddr.IPv4 ? plain.toIPv4MappedAddress() : plain;
  return isPublic(plain) || allowNetworks.some((network) => isIn(plain, network) || isIn(mapped, network));
}

/** Strictly: ipaddr.js alone takes `010.0.0.1` and `127.1` for addresses, and the compatible `::8.8.8.8` for a mapped one. */
function parseAddress(text: string): ipaddr.IPv4 | ipaddr.IPv6 | null {
  switch (isIP(text)) {
    case 4:
      return ipaddr.IPv4.parse(text);
    case 6: {
      const [address = ''] = text.split('%');
      return ipaddr.IPv6.parse(new URL(`http://[${address}]/`).hostname.slice(1, -1));
    }
    default:
      return null;
  }
}

/** 2000::/3 is all that is routed of IPv6: outside it are the compatible (::/96) and translated (64:ff9b::/96) forms of IPv4. */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3');

function isPublic(address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  if (address instanceof ipaddr.IPv6 && !address.match(globalUnicast)) return false;
  return address.range() === 'unicast';
}

function isIn(address: ipaddr.IPv4 | ipaddr.IPv6, [network, prefixBits]: Network): boolean {
  return address.kind() === network.kind() && address.match(network, prefixBits);
}

export type ParsedNetworks =
  | { readonly kind: 'networks'; readonly networks: readonly Network[] }
  | { readonly kind: 'problem'; readonly problem: string };

/** Addresses and CIDR blocks of either kind, separated by commas; none in an empty text. */
export function parseNetworks(text: string): ParsedNetworks {
  const entries = text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
  if (entries.length > networksMax) return { kind: 'problem', problem: `more than ${networksMax} networks` };
  const networks: Network[] = [];
  for (const entry of entries) {
    const network = parseNetwork(entry);
    if (typeof network === 'string') return { kind: 'problem', problem: network };
    networks.push(network);
  }
  return { kind: 'networks', networks };
}

function parseNetwork(entry: string): Network | string {
  const [, address = '', prefix] = /^([^/]+)(?:\/(\d{1,3}))?$/u.exec(entry) ?? [];
  const parsed = address.includes('%') ? null : parseAddress(address);
  const bitsMax = parsed?.kind() === 'ipv4' ? 32 : 128;
  const bits = prefix === undefined ? bitsMax : Number(prefix);
  if (parsed === null || bits > bitsMax) {
    return `${JSON.stringify(entry)} is neither an address nor a CIDR block such as 10.0.0.0/8 or fd00::/8`;
  }
  const cidr = `${parsed.toString()}/${bits}`;
  const network = bitsMax === 32 ? ipaddr.IPv4.networkAddressFromCIDR(cidr) : ipaddr.IPv6.networkAddressFromCIDR(cidr);
  // A block with bits set behind its prefix is a slip of the pen, and which of the two is meant cannot be told.
  if (network.toString() !== parsed.toString())
    return `${entry} is not the start of its block, which is ${network.toString()}/${bits}`;
  return [parsed, bits];
}

/** `dns.lookup` for all addresses of a name, as `guardedConnector` asks. */
export type LookupAll = (
  hostname: string,
  /** Without addresses where there is an error. */
  done: (error: Error | null, addresses?: readonly LookupAddress[]) => void,
) => void;

export type ConnectorOptions = {
  readonly connectMs: number;
  /** How names are resolved; the system's way by default. */
  readonly lookup?: LookupAll;
};

/** How undici opens sockets to targets: to allowed addresses only, in bounded time. */
export function guardedConnector(rules: TargetRules, options: ConnectorOptions): buildConnector.connector {
  const { connectMs } = options;
  const connect = buildConnector({
    allowH2: false,
    timeout: connectMs,
    lookup: guardedLookup(rules, options),
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: Math.min(nextAddressMs, connectMs),
  });
  return (target, callback) => {
    // `lookup` is not asked about literals.
    const problem =
      target.protocol === 'http:' && !rules.allowHttp
        ? httpProblem
        : literalProblem(target.hostname, rules.allowNetworks);
    if (problem !== null) callback(new BlockedTargetError(problem), null);
    else connect(target, callback);
  };
}

/** What it answers is what the socket connects to: nothing resolves the name again. */
function guardedLookup(rules: TargetRules, { connectMs, lookup = systemLookup() }: ConnectorOptions): LookupFunction {
  return (hostname, { all }, callback) => {
    let isSettled = false;
    const settle = (error: Error | null, addresses: readonly LookupAddress[]) => {
      if (isSettled) return;
      isSettled = true;
      clearTimeout(timer);
      const [first] = addresses;
      if (error !== null) callback(error, '');
      else if (first === undefined) callback(new BlockedTargetError(`${hostname} has no address`), '');
      else if (all === true) callback(null, [...addresses]);
      else callback(null, first.address, first.family);
    };
    const timer = setTimeout(
      () => settle(new LookupTimeoutError(`${hostname} did not resolve in ${connectMs} ms`), []),
      connectMs,
    );
    lookup(hostname, (error, addresses = []) => {
      const denied = addresses.find(({ address }) => !isAllowedAddress(address, rules.allowNetworks));
      if (denied === undefined) settle(error, addresses);
      else settle(new BlockedTargetError(`${hostname} is at an address that is ${insideProblem}`), []);
    });
  };
}

const resolverMs = { timeout: 2_000, tries: 2 };
/** How long the second family has when the first has answered (RFC 8305 §3 has 50 ms, for people who wait). */
const otherFamilyMs = 250;

/**
 * The system's lookup occupies one of the process's few worker threads, which connections to the database and the broker need too, for as
 * long as a resolver is silent. So DNS is asked first, without a thread; only what it answers that it does not know, such as names that
 * /etc/hosts or a search domain make complete, is looked up by the system, which is told the same at once.
 */
export function systemLookup(resolver = new dns.promises.Resolver(resolverMs)): LookupAll {
  return callbackify(async (hostname: string): Promise<readonly LookupAddress[]> => {
    const v4 = answerOf(resolver.resolve4(hostname), 4);
    const v6 = answerOf(resolver.resolve6(hostname), 6);
    const answers = await Promise.all([inTime(v4, v6), inTime(v6, v4)]);
    const found = answers.flatMap(({ addresses }) => addresses);
    if (found.length > 0) return found;
    if (answers.some(({ isSilent }) => isSilent))
      throw new LookupTimeoutError(`${hostname} did not resolve: DNS is silent`);
    return dns.promises.lookup(hostname, { all: true });
  });
}

/** What DNS says of one family. */
type Answer = { readonly addresses: readonly LookupAddress[]; readonly isSilent: boolean };

const silence: Answer = { addresses: [], isSilent: true };

async function answerOf(asked: Promise<readonly string[]>, family: 4 | 6): Promise<Answer> {
  try {
    return { addresses: (await asked).map((address) => ({ address, family })), isSilent: false };
  } catch (error) {
    return { addresses: [], isSilent: error instanceof Error && 'code' in error && error.code === dns.TIMEOUT };
  }
}

/** There are servers that drop questions for a family they have nothing of: once the other one is found, this one need not be waited for. */
async function inTime(own: Promise<Answer>, other: Promise<Answer>): Promise<Answer> {
  const nothingMore = other.then(({ addresses }) => (addresses.length > 0 ? delay(otherFamilyMs, silence) : own));
  return Promise.race([own, nothingMore]);
}

// Which addresses may be called: every way to write one, and every kind that leads inside.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { retryAfterOf } from '../../src/webhooks/retry-after.ts';
import {
  isAllowedAddress,
  type Network,
  parseNetworks,
  registrationProblem,
  targetProblem,
} from '../../src/webhooks/target-guard.ts';

function networks(text: string): readonly Network[] {
  const parsed = parseNetworks(text);
  if (parsed.kind === 'problem') throw new Error(parsed.problem);
  return parsed.networks;
}

const strict = { allowHttp: false, allowNetworks: [] };
const deniedAddresses: [string, string][] = [
  ['loopback', '127.0.0.1'],
  ['loopback, another', '127.255.255.254'],
  ['unspecified', '0.0.0.0'],
  ['this network', '0.1.2.3'],
  ['private', '10.0.0.1'],
  ['private', '172.16.0.1'],
  ['private', '172.31.255.255'],
  ['private', '192.168.1.1'],
  ['carrier-grade NAT', '100.64.0.1'],
  ['carrier-grade NAT', '100.127.255.255'],
  ['link-local', '169.254.0.1'],
  ['cloud metadata', '169.254.169.254'],
  ['protocol assignments', '192.0.0.8'],
  ['documentation', '192.0.2.1'],
  ['documentation', '198.51.100.1'],
  ['documentation', '203.0.113.1'],
  ['benchmarking', '198.18.0.1'],
  ['6to4 relay', '192.88.99.1'],
  ['multicast', '224.0.0.1'],
  ['reserved', '240.0.0.1'],
  ['broadcast', '255.255.255.255'],
  ['IPv6 loopback', '::1'],
  ['IPv6 unspecified', '::'],
  ['mapped loopback', '::ffff:127.0.0.1'],
  ['mapped private, in hexadecimal', '::ffff:a00:1'],
  ['mapped metadata', '::ffff:169.254.169.254'],
  ['compatible loopback', '::127.0.0.1'],
  ['compatible loopback, in hexadecimal', '::7f00:1'],
  ['compatible, of a public address', '::8.8.8.8'],
  ['translated (RFC 6145)', '::ffff:0:127.0.0.1'],
  ['NAT64 of loopback', '64:ff9b::7f00:1'],
  ['NAT64 of a public address', '64:ff9b::8.8.8.8'],
  ['local NAT64', '64:ff9b:1::7f00:1'],
  ['6to4 of loopback', '2002:7f00:1::'],
  ['6to4 of private', '2002:a00:1::1'],
  ['Teredo', '2001:0:4136:e378:8000:63bf:3fff:fdd2'],
  ['IPv6 link-local', 'fe80::1'],
  ['IPv6 link-local with a zone', 'fe80::1%eth0'],
  ['site-local', 'fec0::1'],
  ['unique local', 'fc00::1'],
  ['unique local, EC2 metadata', 'fd00:ec2::254'],
  ['IPv6 multicast', 'ff02::1'],
  ['IPv6 documentation', '2001:db8::1'],
  ['IPv6 documentation, newer', '3fff::1'],
  ['IPv6 benchmarking', '2001:2::1'],
  ['ORCHID', '2001:20::1'],
  ['discard', '100::1'],
  ['segment routing', '5f00::1'],
  ['not allocated', '4000::1'],
];

describe('an address', () => {
  test.each(deniedAddresses)('%s is not allowed: %s', (_kind, address) => {
    expect(isAllowedAddress(address, [])).toBe(false);
  });

  test.each(['1.1.1.1', '8.8.8.8', '93.184.216.34', '172.32.0.1', '::ffff:8.8.8.8', '2606:4700:4700::1111', '2a00::1'])(
    '%s is allowed',
    (address) => {
      expect(isAllowedAddress(address, [])).toBe(true);
    },
  );

  test.each([
    '',
    'localhost',
    '127.1',
    '0x7f000001',
    '2130706433',
    '010.0.0.1',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.4/32',
    '[::1]',
  ])('%j is none, so it is not allowed', (text) => {
    expect(isAllowedAddress(text, networks('0.0.0.0/0,::/0'))).toBe(false);
  });

  test('whatever is mapped into IPv6 is judged by its IPv4', () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        expect(isAllowedAddress(`::ffff:${address}`, [])).toBe(isAllowedAddress(address, []));
      }),
    );
  });

  test.each([
    ['10.0.0.0/8', '10.255.0.1', true],
    ['10.0.0.0/8', '::ffff:10.1.2.3', true],
    ['10.0.0.0/8', '11.0.0.1', true],
    ['10.0.0.0/8', '192.168.0.1', false],
    ['10.0.0.0/8', '::10.0.0.1', false],
    ['127.0.0.1', '127.0.0.1', true],
    ['127.0.0.1', '127.0.0.2', false],
    ['127.0.0.1', '::1', false],
    ['::1', '::1', true],
    ['fd00::/8', 'fd12::1', true],
    ['fd00::/8', 'fc12::1', false],
    ['::ffff:10.0.0.0/104', '10.1.2.3', true],
    ['192.168.0.0/16, ::1/128 ,127.0.0.0/8', '127.9.9.9', true],
  ])('with %s allowed besides, %s: %s', (text, address, isAllowed) => {
    expect(isAllowedAddress(address, networks(text))).toBe(isAllowed);
  });
});

describe('networks', () => {
  test('none are allowed by an empty text', () => {
    expect(networks('')).toEqual([]);
    expect(networks(' , ')).toEqual([]);
  });

  test.each([
    '10.0.0.0/33',
    '::/129',
    '10.0.0/8',
    '10/8',
    'localhost',
    '10.0.0.0/',
    '/8',
    '10.0.0.0/8/8',
    'fe80::%1/64',
    '*',
  ])('%j is none, and is quoted in the problem', (text) => {
    const problem = `${JSON.stringify(text)} is neither an address nor a CIDR block such as 10.0.0.0/8 or fd00::/8`;
    expect(parseNetworks(`127.0.0.1,${text}`)).toEqual({ kind: 'problem', problem });
  });

  test('a block with bits behind its prefix is a slip of the pen', () => {
    const problem = '10.1.2.3/8 is not the start of its block, which is 10.0.0.0/8';
    expect(parseNetworks('10.1.2.3/8')).toEqual({ kind: 'problem', problem });
  });

  test('their number is bounded', () => {
    expect(parseNetworks('10.0.0.0/8,'.repeat(256)).kind).toBe('networks');
    expect(parseNetworks('10.0.0.0/8,'.repeat(257)).kind).toBe('problem');
  });
});

describe('a URL', () => {
  test.each([
    ['decimal', 'https://2130706433/'],
    ['hexadecimal', 'https://0x7f000001/'],
    ['hexadecimal parts', 'https://0x7f.0x0.0x0.0x1/'],
    ['octal', 'https://0177.0.0.1/'],
    ['octal, all of it', 'https://017700000001/'],
    ['short', 'https://127.1/'],
    ['shorter', 'https://0/'],
    ['full-width digits', 'https://１２７.０.０.１/'],
    ['full-width dots', 'https://127。0。0。1/'],
    ['percent-encoded', 'https://%31%32%37.0.0.1/'],
    ['with a trailing dot', 'https://127.0.0.1./'],
    ['with a port', 'https://127.0.0.1:8443/hook'],
    ['private', 'https://10.0.0.1/'],
    ['metadata', 'https://169.254.169.254/latest/meta-data/'],
    ['metadata, decimal', 'https://2852039166/'],
    ['IPv6 loopback', 'https://[::1]/'],
    ['IPv6 loopback, in full', 'https://[0:0:0:0:0:0:0:1]/'],
    ['mapped', 'https://[::ffff:127.0.0.1]/'],
    ['mapped, in hexadecimal', 'https://[::ffff:7f00:1]/'],
    ['compatible', 'https://[::7f00:1]/'],
    ['NAT64', 'https://[64:ff9b::7f00:1]/'],
    ['6to4', 'https://[2002:7f00:1::]/'],
    ['unique local', 'https://[fd00::1]/'],
    ['link-local', 'https://[fe80::1]/'],
  ])('to an address inside, %s, is refused: %s', (_kind, url) => {
    expect(targetProblem(url, strict)).toMatch(/^the address .+ is neither public nor in WEBHOOK_ALLOW_NETWORKS$/u);
  });

  test.each([
    ['http://example.com/', 'the URL is not https, and plain http is not allowed; see WEBHOOK_ALLOW_HTTP'],
    ['ftp://example.com/', 'the URL does not begin with https://'],
    ['file:///etc/passwd', 'the URL does not begin with https://'],
    ['javascript:alert(1)', 'the URL does not begin with https://'],
    ['example.com/hook', 'this is not an absolute URL'],
    ['https://', 'this is not an absolute URL'],
    ['', 'this is not an absolute URL'],
    ['https://1.2.3.4.5/', 'this is not an absolute URL'],
    ['https://[fe80::1%25eth0]/', 'this is not an absolute URL'],
    ['https://ada@example.com/', 'the URL has credentials in it'],
    ['https://ada:secret@example.com/', 'the URL has credentials in it'],
    ['https://example.com/#part', 'the URL has a fragment, which is never sent'],
    ['https://example.com:0/', 'port 0 cannot be called'],
    ['https://example.com:65536/', 'this is not an absolute URL'],
    ['https://exa mple.com/', 'the URL has white space, a control character or a lone surrogate'],
    [' https://example.com/', 'the URL has white space, a control character or a lone surrogate'],
    ['https://example.com/\n', 'the URL has white space, a control character or a lone surrogate'],
    ['https://example.com/\u0000', 'the URL has white space, a control character or a lone surrogate'],
    ['https://example.com/\ud800', 'the URL has white space, a control character or a lone surrogate'],
    [`https://example.com/${'x'.repeat(2_029)}`, 'the URL is longer than 2048 characters'],
  ])('%j is refused', (url, problem) => {
    expect(targetProblem(url, strict)).toBe(problem);
  });

  test.each([
    'https://example.com',
    'https://example.com:8443/hook?tenant=1',
    'https://1.1.1.1/',
    'https://[2606:4700:4700::1111]/',
    'https://bücher.example/',
    `https://example.com/${'x'.repeat(2_028)}`,
  ])('%s is fine', (url) => {
    expect(targetProblem(url, strict)).toBeNull();
  });

  test('of plain http or an address inside is fine where that is allowed', () => {
    const rules = { allowHttp: true, allowNetworks: networks('127.0.0.0/8,::1') };
    for (const url of [
      'http://127.0.0.1:8080/',
      'http://127.1/',
      'http://[::ffff:7f00:1]/',
      'http://[::1]/',
      'http://localhost/',
    ]) {
      expect(targetProblem(url, rules)).toBeNull();
    }
    expect(targetProblem('http://10.0.0.1/', rules)).toBe(
      'the address 10.0.0.1 is neither public nor in WEBHOOK_ALLOW_NETWORKS',
    );
  });

  test.each(['https://localhost/', 'https://LOCALHOST:8443/', 'https://a.localhost/', 'https://localhost./'])(
    'that says itself that it is this machine is not registered: %s',
    (url) => {
      expect(registrationProblem(url, strict)).toBe('localhost is neither public nor in WEBHOOK_ALLOW_NETWORKS');
      for (const network of ['127.0.0.0/8', '::1']) {
        expect(registrationProblem(url, { ...strict, allowNetworks: networks(network) })).toBeNull();
      }
    },
  );

  test.each(['https://localhost.example/', 'https://mylocalhost/', 'https://example.com/localhost'])(
    'that only looks like this machine is registered: %s',
    (url) => {
      expect(registrationProblem(url, strict)).toBeNull();
    },
  );
});

describe('Retry-After', () => {
  const nowMs = Date.UTC(2026, 10, 23, 12, 0, 0, 500);
  test.each([
    ['0', 0],
    ['120', 120_000],
    [' 7 ', 7_000],
    ['Mon, 23 Nov 2026 12:01:00 GMT', 59_500],
    ['Mon, 23 Nov 2026 11:59:59 GMT', null],
    [null, null],
    ['', null],
    ['soon', null],
    ['-5', null],
    ['1.5', null],
    ['1e3', null],
    ['99999999999999999999', null],
    ['9999999999', null],
    ['Mon, 99 Nov 2026 12:01:00 GMT', null],
    ['2026-11-23T12:01:00Z', null],
  ])('%j asks for %j ms', (header, ms) => {
    expect(retryAfterOf(header, nowMs)).toBe(ms);
  });
});

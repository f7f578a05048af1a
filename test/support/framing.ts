// Cuts the bytes of a connection into the packets of its protocol, so that a test can say at which of them its fault strikes.

import { type Packet, parser } from 'mqtt-packet';

/** Who sent it: the one who opened the connection, or the one who accepted it. */
export type Sender = 'client' | 'server';

export type Framed<P> = { readonly bytes: Buffer; readonly packet: P };

/** One for each connection: what a sender's next bytes complete. */
export type Framing<P> = () => (from: Sender, bytes: Buffer) => readonly Framed<P>[];

export type MqttPacket = Packet;

export type PostgresPacket = {
  /** The letter of the message; empty for the startup message, which has none. */
  readonly type: string;
  /** Of Parse and Bind the name of the statement, of CommandComplete the tag, of ErrorResponse the SQLSTATE. */
  readonly text: string;
};

/** Bytes as they come. */
export const unframed: Framing<null> = () => (_, bytes) => [{ bytes, packet: null }];

export const mqtt: Framing<MqttPacket> = () => {
  const whole = accumulate(mqttLength);
  const parsers = { client: parser(), server: parser() };
  return (from, bytes) =>
    whole(from, bytes).map((frame) => {
      const packets: Packet[] = [];
      const collect = (packet: Packet) => {
        packets.push(packet);
        if (packet.cmd !== 'connect') return;
        // What follows is spoken in the version that CONNECT names, by both.
        const { protocolVersion } = packet;
        parsers.client = parser({ protocolVersion });
        parsers.server = parser({ protocolVersion });
      };
      parsers[from].once('packet', collect).parse(frame);
      const [packet] = packets;
      if (packet === undefined) throw new Error('a frame of MQTT that is not one packet');
      return { bytes: frame, packet };
    });
};

function mqttLength(bytes: Buffer): number | null {
  let length = 0;
  for (let index = 1; index <= 4; index += 1) {
    const digit = bytes[index];
    if (digit === undefined) return null;
    length += (digit & 0x7f) * 128 ** (index - 1);
    if (digit < 0x80) return 1 + index + length;
  }
  throw new Error('a length of MQTT that is longer than four bytes');
}

export const postgres: Framing<PostgresPacket> = () => {
  const whole = accumulate((bytes, isStartup) => {
    const at = isStartup ? 0 : 1;
    return bytes.length < at + 4 ? null : at + bytes.readInt32BE(at);
  });
  return (from, bytes) =>
    whole(from, bytes).map((frame) => {
      // No type of a message is the letter 0, with which the length of a startup message begins.
      const packet = frame[0] === 0 ? { type: '', text: '' } : postgresPacket(frame, from);
      return { bytes: frame, packet };
    });
};

function postgresPacket(frame: Buffer, from: Sender): PostgresPacket {
  const type = String.fromCharCode(frame[0] ?? 0);
  const texts = frame.toString('utf8', 5).split('\0');
  switch (`${from} ${type}`) {
    case 'client P':
    case 'server C':
      return { type, text: texts[0] ?? '' };
    case 'client B':
      return { type, text: texts[1] ?? '' };
    case 'server E':
      return { type, text: texts.find((text) => text.startsWith('C'))?.slice(1) ?? '' };
    default:
      return { type, text: '' };
  }
}

/** `lengthOf` the packet that the bytes begin with; null while they do not tell yet. */
function accumulate(lengthOf: (bytes: Buffer, isClientsFirst: boolean) => number | null) {
  const rest: Record<Sender, Buffer> = { client: Buffer.alloc(0), server: Buffer.alloc(0) };
  let isClientsFirst = true;
  return (from: Sender, bytes: Buffer): Buffer[] => {
    rest[from] = Buffer.concat([rest[from], bytes]);
    const frames: Buffer[] = [];
    for (;;) {
      const length = lengthOf(rest[from], from === 'client' && isClientsFirst);
      if (length === null || rest[from].length < length) return frames;
      if (from === 'client') isClientsFirst = false;
      frames.push(rest[from].subarray(0, length));
      rest[from] = rest[from].subarray(length);
    }
  };
}

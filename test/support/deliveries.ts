// What the broker delivered to Willow and what Willow acknowledged, as the wire between them saw it.

import type { IPublishPacket } from 'mqtt-packet';
import type { MqttPacket } from './framing.ts';
import type { TcpProxy } from './tcp-proxy.ts';

export type Deliveries = {
  /** On the newest connection, so far. */
  readonly unacknowledged: () => number;
  /** Every message that Willow sent a PUBACK for, whether the broker got to see it or not. */
  readonly acknowledged: readonly IPublishPacket[];
};

export function watchDeliveries(link: TcpProxy<MqttPacket>): Deliveries {
  const acknowledged: IPublishPacket[] = [];
  const pending = new Map<number | undefined, IPublishPacket>();
  let newest = 0;
  link.watch(({ from, packet, connection }) => {
    if (connection < newest) return;
    if (connection > newest) pending.clear();
    newest = connection;
    if (from === 'server' && packet.cmd === 'publish') pending.set(packet.messageId, packet);
    if (from === 'server' || packet.cmd !== 'puback') return;
    const publish = pending.get(packet.messageId);
    if (publish === undefined) throw new Error(`a PUBACK for ${packet.messageId}, which was not delivered here`);
    pending.delete(packet.messageId);
    acknowledged.push(publish);
  });
  return { unacknowledged: () => pending.size, acknowledged };
}

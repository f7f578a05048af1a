// The load: login and will in pairs, every user once, published at QoS 1 as fast as the broker takes them.

import mqtt from 'mqtt';

export type Load = {
  readonly users: number;
  readonly firstUser: number;
  readonly epoch: number;
  /** What every message of a user carries besides its identity. */
  readonly moreOf?: (userId: string) => object;
};

const inFlightMax = 400;

/** Resolves when the broker has acknowledged every message. */
export async function publishPairs(url: string, load: Load): Promise<void> {
  const client = await mqtt.connectAsync(url, {
    protocolVersion: 4,
    reconnectPeriod: 0,
    clientId: `load-${load.epoch}-${load.firstUser}`,
  });
  let failed: Error | null = null;
  let inFlight = 0;
  let wake: (() => void) | null = null;
  const publish = (topic: string, payload: string): void => {
    inFlight += 1;
    client.publish(topic, payload, { qos: 1 }, (error) => {
      if (error) failed = error;
      inFlight -= 1;
      wake?.();
    });
  };
  const below = async (limit: number) => {
    while (inFlight > limit) {
      const { promise, resolve } = Promise.withResolvers<void>();
      wake = resolve;
      await promise;
    }
  };
  for (let user = load.firstUser; user < load.firstUser + load.users; user += 1) {
    const userId = `user-${user}`;
    const payload = JSON.stringify({ userId, sessionId: 'phone', epoch: load.epoch, ...load.moreOf?.(userId) });
    publish('/login', payload);
    publish('/logout', payload);
    await below(inFlightMax);
  }
  await below(0);
  await client.endAsync();
  if (failed !== null) throw failed;
}

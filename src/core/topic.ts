// What a topic says: which of the two roots it is below, and the identity in its levels, which a broker's ACL can bind to a client.

export type Topics = { readonly login: string; readonly logout: string };

export type ParsedTopic =
  | {
      readonly kind: 'login' | 'logout';
      /** As percent-decoded, not yet an id: null where the topic has no such level. */
      readonly userId: string | null;
      readonly sessionId: string | null;
    }
  | { readonly kind: 'refused'; readonly reason: 'unknown-topic' | 'bad-topic'; readonly detail: string };

/** `{root}`, `{root}/{userId}` or `{root}/{userId}/{sessionId}`, levels percent-decoded. */
export function parseTopic(topic: string, topics: Topics): ParsedTopic {
  const kind = isBelow(topic, topics.logout) ? 'logout' : isBelow(topic, topics.login) ? 'login' : null;
  if (kind === null) return { kind: 'refused', reason: 'unknown-topic', detail: 'the topic is below neither root' };
  const root = topics[kind];
  if (topic.length === root.length) return { kind, userId: null, sessionId: null };
  const levels = topic.slice(root.length + 1).split('/');
  if (levels.length > 2) {
    return { kind: 'refused', reason: 'unknown-topic', detail: 'the topic has more than two levels below its root' };
  }
  const [userId, sessionId] = levels.map(decodeLevel);
  if (userId === undefined || userId === null || sessionId === null) {
    return { kind: 'refused', reason: 'bad-topic', detail: 'a level of the topic is not percent-encoded UTF-8' };
  }
  return { kind, userId, sessionId: sessionId ?? null };
}

function isBelow(topic: string, root: string): boolean {
  return topic.startsWith(root) && (topic.length === root.length || topic[root.length] === '/');
}

function decodeLevel(level: string): string | null {
  try {
    return decodeURIComponent(level);
  } catch {
    return null;
  }
}

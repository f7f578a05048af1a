// Which series and labels an expression of PromQL names. Whether it is PromQL at all, promtool judges; this only takes it apart, and what it
// does not know it takes for a series, so that nothing escapes.

export type Named = {
  readonly series: string;
  /** Of its selector. */
  readonly labels: readonly string[];
  /** What the whole expression groups or joins by. */
  readonly groupedBy: readonly string[];
};

/** Words that are no series: operators and modifiers. Functions are told by the bracket behind them. */
const words = new Set(['and', 'or', 'unless', 'bool', 'offset', 'inf', 'nan']);
/** Words with a list of labels behind them, which are no functions. */
const lists = /\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)/g;

export function namedIn(expression: string): readonly Named[] {
  const grouped: string[] = [];
  const plain = expression
    .replaceAll(/"(?:[^"\\]|\\.)*"/g, '""')
    .replaceAll(lists, (_all, labels: string) => {
      grouped.push(...labels.split(',').map((label) => label.trim()));
      return ' ';
    })
    .replaceAll(/\[[^\]]*\]/g, ' ')
    .replaceAll(/\boffset\s+\w+/g, ' ');
  const found = plain.matchAll(/(?<![\w.$])([a-zA-Z_:][\w:]*)\s*(\(|\{([^}]*)\})?/g);
  return [...found].flatMap(([, series = '', behind, matchers = '']) => {
    if (behind === '(' || words.has(series.toLowerCase())) return [];
    const own = [...matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label = '']) => label);
    return [{ series, labels: own, groupedBy: grouped }];
  });
}

// Who wrote what of the lanes: every claim, record and attempt is noted down by the database itself, with the name of the process.

import type pg from 'pg';

/** From here on. A process is known by its `application_name`. */
export async function watchLanes(pool: pg.Pool): Promise<void> {
  await pool.query(`
    create table notes (id bigserial, process text default current_setting('application_name'), kind text, endpoint_id text,
      generation int, lane int, token bigint, webhook_id text);
    create function note_lane() returns trigger language plpgsql as $$
      begin
        if new.token > old.token and new.holder is not null then
          insert into notes (kind, endpoint_id, generation, lane, token)
            values ('claim', new.endpoint_id, new.generation, new.lane, new.token);
        elsif (new.position, new.batch, new.attempts) is distinct from (old.position, old.batch, old.attempts) then
          insert into notes (kind, endpoint_id, generation, lane, token)
            values ('record', new.endpoint_id, new.generation, new.lane, new.token);
        end if;
        return null;
      end $$;
    create function note_attempt() returns trigger language plpgsql as $$
      begin
        insert into notes (kind, endpoint_id, webhook_id) values ('attempt', new.endpoint_id, new.webhook_id);
        return null;
      end $$;
    create trigger note after update on lanes for each row execute function note_lane();
    create trigger note after insert on attempts for each row execute function note_attempt();`);
}

export type NotedLane = {
  readonly endpointId: string;
  readonly lane: number;
  readonly holder: string | null;
  /** Who claimed it last. */
  readonly process: string | null;
};

export async function lanesOf(pool: pg.Pool): Promise<readonly NotedLane[]> {
  const { rows } = await pool.query<NotedLane>(
    `select l.endpoint_id as "endpointId", l.lane, l.holder, n.process from lanes l
     left join notes n on n.kind = 'claim' and n.endpoint_id = l.endpoint_id and n.generation = l.generation and n.lane = l.lane
       and n.token = l.token`,
  );
  return rows;
}

export async function claimsOf(pool: pg.Pool, process: string): Promise<number> {
  const { rowCount } = await pool.query(`select from notes where kind = 'claim' and process = $1`, [process]);
  return rowCount ?? 0;
}

/** The processes that recorded an attempt of this webhook. */
export async function recorders(pool: pg.Pool, webhookId: string): Promise<readonly string[]> {
  const { rows } = await pool.query<{ process: string }>(`select process from notes where webhook_id = $1`, [
    webhookId,
  ]);
  return rows.map(({ process }) => process);
}

/** Records of a lane by another process than the one that had claimed it. */
export async function intrusions(pool: pg.Pool): Promise<readonly unknown[]> {
  const { rows } = await pool.query<Readonly<Record<string, unknown>>>(
    `select r.* from notes r where r.kind = 'record' and not exists (select from notes c where c.kind = 'claim'
       and c.process = r.process and c.endpoint_id = r.endpoint_id and c.generation = r.generation and c.lane = r.lane
       and c.token = r.token)`,
  );
  return rows;
}

-- AlterTable
ALTER TABLE "log_head" ADD COLUMN     "horizon" TIMESTAMPTZ(3);

-- CreateTable
CREATE TABLE "log_tail" (
    "id" SMALLINT NOT NULL DEFAULT 1,
    "position" BIGINT NOT NULL,

    CONSTRAINT "log_tail_pkey" PRIMARY KEY ("id")
);


-- What follows Prisma's schema language cannot say.

ALTER TABLE "log_tail" SET (fillfactor = 10);

INSERT INTO "log_tail" ("position") VALUES (0);

-- Gives up the events after one position and up to another; false, and nothing is changed, where another process was first, or a lane still
-- has to read some of them. The head is locked against those who begin to read (FOR KEY SHARE), and only then are the readers looked at: each
-- statement here sees what was committed before it. Everybody who appends waits for this row, so it is held for these statements alone, and
-- the commit does not wait for the disk: what is deleted afterwards is written behind it.
CREATE FUNCTION "willow_give_up"("after" BIGINT, "up_to" BIGINT, "newest" TIMESTAMPTZ) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM FROM log_head WHERE trimmed = after FOR UPDATE;
    IF NOT FOUND THEN
        RETURN FALSE;
    END IF;
    -- Whoever holds a lane may still be sending, though its endpoint is disabled.
    PERFORM FROM lanes l WHERE l.position < up_to AND (l.lease_until > clock_timestamp()
        OR EXISTS (SELECT FROM endpoints e WHERE e.id = l.endpoint_id AND e.status = 'enabled')) LIMIT 1;
    IF FOUND THEN
        RETURN FALSE;
    END IF;
    UPDATE log_head SET trimmed = up_to, horizon = greatest(horizon, newest);
    RETURN TRUE;
END $$;

-- CreateEnum
CREATE TYPE "session_status" AS ENUM ('online', 'lost', 'ended');

-- CreateTable
CREATE TABLE "users" (
    "user_id" TEXT NOT NULL,
    "revision" BIGINT NOT NULL,
    "sequence" BIGINT NOT NULL,
    "kicked" BOOLEAN NOT NULL DEFAULT false,
    "since" TIMESTAMPTZ(3),
    "last_seen_at" TIMESTAMPTZ(3),
    "last_ended_at" TIMESTAMPTZ(3),
    "last_event_at" TIMESTAMPTZ(3),

    CONSTRAINT "users_pkey" PRIMARY KEY ("user_id")
);

-- CreateTable
CREATE TABLE "sessions" (
    "user_id" TEXT NOT NULL,
    "session_id" TEXT NOT NULL,
    "status" "session_status" NOT NULL,
    "epoch" BIGINT,
    "forgotten_epoch" BIGINT,
    "client_id" TEXT,
    "device" JSONB,
    "started_at" TIMESTAMPTZ(3) NOT NULL,
    "last_seen_at" TIMESTAMPTZ(3) NOT NULL,
    "takeover_at" TIMESTAMPTZ(3),
    "owed_wills" SMALLINT NOT NULL DEFAULT 0,
    "deadline_at" TIMESTAMPTZ(3),
    "ended_at" TIMESTAMPTZ(3),
    "reason" TEXT,

    CONSTRAINT "sessions_pkey" PRIMARY KEY ("user_id","session_id")
);

-- CreateTable
CREATE TABLE "events" (
    "position" BIGINT NOT NULL,
    "user_id" TEXT NOT NULL,
    "sequence" BIGINT NOT NULL,
    "type" TEXT NOT NULL,
    "session_id" TEXT NOT NULL,
    "epoch" BIGINT,
    "reason" TEXT,
    "device" JSONB,
    "at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "events_pkey" PRIMARY KEY ("position")
);

-- CreateTable
CREATE TABLE "log_head" (
    "id" SMALLINT NOT NULL DEFAULT 1,
    "position" BIGINT NOT NULL,

    CONSTRAINT "log_head_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "receipts" (
    "client_id" TEXT NOT NULL,
    "packet_id" INTEGER NOT NULL,
    "digest" BYTEA NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "receipts_pkey" PRIMARY KEY ("client_id","packet_id")
);

-- CreateTable
CREATE TABLE "links" (
    "client_id" TEXT NOT NULL,
    "shared_group" TEXT,
    "token" BIGINT NOT NULL,
    "holder" TEXT NOT NULL,
    "lease_until" TIMESTAMPTZ(3) NOT NULL,
    "connected_since" TIMESTAMPTZ(3),
    "heard_at" TIMESTAMPTZ(3),
    "caught_up_at" TIMESTAMPTZ(3),
    "gap_at" TIMESTAMPTZ(3),
    "acknowledged_at" TIMESTAMPTZ(3),
    "in_doubt" BOOLEAN NOT NULL DEFAULT false,

    CONSTRAINT "links_pkey" PRIMARY KEY ("client_id")
);

-- CreateTable
CREATE TABLE "quarantine" (
    "id" BIGSERIAL NOT NULL,
    "received_at" TIMESTAMPTZ(3) NOT NULL,
    "topic" TEXT NOT NULL,
    "payload" BYTEA NOT NULL,
    "payload_bytes" INTEGER NOT NULL,
    "reason" TEXT NOT NULL,
    "detail" TEXT NOT NULL,

    CONSTRAINT "quarantine_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "sessions_live" ON "sessions"("user_id") WHERE (ended_at IS NULL);

-- CreateIndex
CREATE INDEX "sessions_due" ON "sessions"("deadline_at") WHERE (deadline_at IS NOT NULL);

-- CreateIndex
CREATE UNIQUE INDEX "events_user_id_sequence_key" ON "events"("user_id", "sequence");

-- What follows Prisma's schema language cannot say.

-- Room on the page, so that the rows that change most are updated in place, with no new index entries.
ALTER TABLE "users" SET (fillfactor = 70);
ALTER TABLE "sessions" SET (fillfactor = 70);
ALTER TABLE "log_head" SET (fillfactor = 10);
ALTER TABLE "links" SET (fillfactor = 10);

INSERT INTO "log_head" ("position") VALUES (0);

-- Rolls back the commit that calls it: a user changed between the read and the write, or a row appeared or went.
CREATE FUNCTION "willow_conflict"() RETURNS BOOLEAN LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a user changed since it was read' USING ERRCODE = 'serialization_failure';
END $$;

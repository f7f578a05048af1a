-- AlterTable
ALTER TABLE "users" ADD COLUMN     "live_revision" BIGINT;

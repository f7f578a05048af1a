-- AlterTable
ALTER TABLE "sessions" ADD COLUMN     "unheard" BOOLEAN NOT NULL DEFAULT false;

import { defineConfig } from 'vitest/config';

// One file after another: each boots a machine or a whole agent, and most machines here have two processors.
export default defineConfig({
  test: {
    include: ['test/hil/**/*.test.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 180_000,
  },
});

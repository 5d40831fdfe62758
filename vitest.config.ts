import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/{unit,tidy,process,e2e,simulation}/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
});

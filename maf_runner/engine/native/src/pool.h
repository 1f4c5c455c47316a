// A few threads that carry out one function together. Each engine has its own.

#pragma once

struct Pool;

// Makes a pool of so many threads, the caller's among them.
Pool* pool_create(int threads);
void pool_destroy(Pool* pool);

// Calls work(what, number) on every thread, with its number from 0; returns when all have done.
void pool_run(Pool* pool, void (*work)(void* what, int number), void* what);

// Called by all threads of a running function: none goes on before all have come.
void pool_wait(Pool* pool);

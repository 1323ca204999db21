/* SPDX-License-Identifier: MIT */
/* plug.c - a module that comes and goes: NUMBER says which one it is. It allocates when it comes, when it is called, and when it goes. */
#include <stdlib.h>

#define PASTE(a, b) a##b
#define NAME(a, b) PASTE(a, b)

void *volatile plug_last;

__attribute__((constructor, noinline)) static void NAME(plug_come, NUMBER)(void)
{
	plug_last = malloc(NUMBER * 100 + 1);
}

__attribute__((destructor, noinline)) static void NAME(plug_go, NUMBER)(void)
{
	plug_last = malloc(NUMBER * 100 + 2);
}

void plug_call(void);
void __attribute__((noinline)) NAME(plug_work, NUMBER)(void);

__attribute__((noinline)) void NAME(plug_work, NUMBER)(void)
{
	plug_last = malloc(NUMBER * 100);
}

void plug_call(void)
{
	NAME(plug_work, NUMBER)();
	plug_last = NULL;
}

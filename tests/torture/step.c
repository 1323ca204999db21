/* SPDX-License-Identifier: MIT */
/*
 * step.c - stamped objects, and saying what went wrong. Nothing here allocates.
 */
#include "step.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HELD_MAX 8192

static struct step_object held[HELD_MAX];
static unsigned nr_held;
static uint64_t last_token;

char step_repeat[512];

static void write_line(int fd, char *text, int length, int room)
{
	if (length > room - 2)
		length = room - 2;
	text[length++] = '\n';
	if (write(fd, text, (size_t)length) != length)
		_exit(99);
}

void step_say(int fd, const char *format, ...)
{
	char text[600];
	va_list args;

	va_start(args, format);
	write_line(fd, text, vsnprintf(text, sizeof(text) - 1, format, args), sizeof(text));
	va_end(args);
}

void step_fail(const char *format, ...)
{
	char text[600];
	va_list args;

	va_start(args, format);
	write_line(2, text, vsnprintf(text, sizeof(text) - 1, format, args), sizeof(text));
	va_end(args);
	if (step_repeat[0])
		step_say(2, "%s", step_repeat);
	_exit(1);
}

static uint64_t stamp_word(uint64_t token, size_t index)
{
	return (token ^ index) * 0x9e3779b97f4a7c15UL;
}

/* Word by word, the last one as far as it goes. */
static bool stamped(const struct step_object *object)
{
	for (size_t at = 0; at < object->size; at += 8) {
		uint64_t word = stamp_word(object->token, at);
		size_t n = object->size - at < 8 ? object->size - at : 8;

		if (memcmp(object->ptr + at, &word, n) != 0)
			return false;
	}
	return true;
}

static void stamp(const struct step_object *object)
{
	for (size_t at = 0; at < object->size; at += 8) {
		uint64_t word = stamp_word(object->token, at);

		memcpy(object->ptr + at, &word, object->size - at < 8 ? object->size - at : 8);
	}
}

void step_hold(void *ptr, size_t size)
{
	if (!ptr)
		step_fail("no memory for %zu bytes", size);
	if (nr_held == HELD_MAX)
		step_fail("the table of live objects is full");
	held[nr_held] = (struct step_object){ ptr, size, ++last_token };
	stamp(&held[nr_held++]);
}

static void check(const struct step_object *object)
{
	if (!stamped(object))
		step_fail("an object of %zu bytes at %p was changed: somebody else has it",
			  object->size, (void *)object->ptr);
}

static struct step_object take(unsigned nth)
{
	struct step_object object;

	if (nth >= nr_held)
		step_fail("there are only %u live objects", nr_held);
	object = held[nth];
	check(&object);
	held[nth] = held[--nr_held];
	return object;
}

struct step_object step_first(void)
{
	return take(0);
}

struct step_object step_last(void)
{
	return take(nr_held - 1);
}

struct step_object step_take(const void *ptr)
{
	for (unsigned i = nr_held; i-- > 0;)
		if (held[i].ptr == ptr)
			return take(i);
	step_fail("%p is not a live object", ptr);
}

void step_moved(const struct step_object *old, void *ptr, size_t size)
{
	struct step_object there = { ptr, old->size < size ? old->size : size, old->token };

	if (!ptr)
		step_fail("no memory to move %zu bytes to %zu", old->size, size);
	check(&there);
	step_hold(ptr, size);
}

unsigned step_held(void)
{
	return nr_held;
}

void step_check_held(void)
{
	for (unsigned i = 0; i < nr_held; i++)
		check(&held[i]);
}

void step_check_zero(const void *ptr, size_t size)
{
	const unsigned char *bytes = ptr;

	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			step_fail("byte %zu of %zu zeroed bytes at %p is %#x", i, size, ptr,
				  bytes[i]);
}

uint64_t step_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15UL;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9UL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebUL;
	return x ^ x >> 31;
}

uint64_t step_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

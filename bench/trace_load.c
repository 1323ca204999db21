/* SPDX-License-Identifier: MIT */
/*
 * trace_load.c - trace_load FILE EVENTS LIVE STACKS THREADS: a recording of a program that never ran, for bench/trace_load.py.
 *
 * It is written by kmem's own writer. The program has so many threads on four CPUs, that take turns; objects of twelve size classes, whose
 * addresses come as an allocator gives them out, what was freed last first; and, once so many objects are live, a free for each
 * allocation: mostly of something young, sometimes of anything. STACKS is how many call stacks there are; 0: it has none, but call sites
 * alone. Return addresses are in the C library, so that they have names.
 */
#include "recording.h"
#include "say.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLASSES 12
#define CPUS 4
#define SITES 4000
#define ADDRESSES 20000
#define DEPTH 30
#define YOUNG 64
#define TICKS 150

static const unsigned class_bytes[CLASSES] = { 16,  32,	 48,  64,  80,	 96,
					       128, 192, 256, 512, 1024, 4096 };

struct object {
	uint64_t ptr;
	unsigned class;
};

struct class
{
	uint64_t next; /* never used */
	uint64_t *freed;
	size_t nr_freed, room;
};

static struct class classes[CLASSES];
static struct object *live;
static size_t nr_live;
static uint64_t text_start, text_bytes, state = 88172645463325252UL;
static uint32_t *stack_number;

static uint64_t draw(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

/* Small numbers more often. */
static uint64_t draw_skewed(uint64_t below)
{
	return draw(draw(below) + 1);
}

/* A large program has some ten thousand places that call something. */
static uint64_t text_address(uint64_t number)
{
	return text_start + number * 2654435761UL % ADDRESSES * 2654435761UL % text_bytes;
}

static char *read_maps(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	char *text = xcalloc(1, 1 << 20), line[4096];
	size_t size = 0;

	while (file && fgets(line, sizeof(line), file)) {
		unsigned long start, end;

		if (size + strlen(line) < 1 << 20)
			size += (size_t)sprintf(text + size, "%s", line);
		if (strstr(line, "libc.so") && strstr(line, "r-xp") &&
		    sscanf(line, "%lx-%lx", &start, &end) == 2) {
			text_start = start + 4096;
			text_bytes = end - start - 8192;
		}
	}
	if (file)
		fclose(file);
	return text;
}

static void write_head(struct writer *writer)
{
	char *maps = read_maps(), *chunk = xmalloc((1 << 20) + 8), caches[CLASSES * 40] = "";
	static const char info[] = "pid 4711\nhost bench\ntime 1700000000\nstart 1000\n"
				   "ns_per_tick 0.4\ncommand made up\n";

	for (unsigned i = 0; i < CLASSES; i++)
		sprintf(caches + strlen(caches), "%u %u %u kmalloc-%u\n", i + 1, class_bytes[i],
			class_bytes[i], class_bytes[i]);
	recording_chunk(writer, CHUNK_INFO, info, sizeof(info));
	memcpy(chunk, "\0\0\0\0\0\0\0", 8);
	memcpy(chunk + 8, maps, strlen(maps) + 1);
	recording_chunk(writer, CHUNK_MAPS, chunk, 8 + strlen(maps) + 1);
	recording_chunk(writer, CHUNK_CACHES, caches, strlen(caches) + 1);
	free(maps);
	free(chunk);
}

/* A walk in a tree where each call may make four others. */
static uint32_t stack_of(struct writer *writer, uint64_t number)
{
	uint64_t frames[DEPTH];

	if (stack_number[number])
		return stack_number[number];
	for (int i = 0; i < DEPTH; i++)
		frames[i] = text_address((number >> 2 * i) * 31 + (uint64_t)i);
	return stack_number[number] = recording_stack(writer, frames, DEPTH, false);
}

static void allocate(struct writer *writer, struct event *event, uint64_t nr_stacks)
{
	uint64_t number = draw_skewed(nr_stacks ? nr_stacks : SITES);
	unsigned class = (unsigned)(number * 2654435761UL >> 7) % CLASSES;
	struct class *from = &classes[class];

	event->type = TRACE_KMALLOC;
	event->cache = (uint16_t)(class + 1);
	event->req = class_bytes[class] - (number % 4 ? number % 8 : draw(8));
	event->stack = nr_stacks ? stack_of(writer, number) : 0;
	event->site = text_address(nr_stacks ? number * 31 : number);
	event->ptr = from->nr_freed ? from->freed[--from->nr_freed] : from->next;
	if (event->ptr == from->next)
		from->next += class_bytes[class];
	live[nr_live++] = (struct object){ event->ptr, class };
	recording_add(writer, event, 1);
}

static void release(struct writer *writer, struct event *event)
{
	size_t young = nr_live < YOUNG ? nr_live : YOUNG;
	size_t which = draw(10) < 7 ? nr_live - 1 - draw_skewed(young) : draw(nr_live);
	struct class *to = &classes[live[which].class];

	event->type = TRACE_KFREE;
	event->cache = (uint16_t)(live[which].class + 1);
	event->req = event->stack = 0;
	event->site = text_address(SITES + draw_skewed(500));
	event->ptr = live[which].ptr;
	live[which] = live[--nr_live];
	if (to->nr_freed == to->room) {
		to->room = to->room * 2 + 1024;
		to->freed = xrealloc(to->freed, to->room * sizeof(*to->freed));
	}
	to->freed[to->nr_freed++] = event->ptr;
	recording_add(writer, event, 1);
}

int main(int argc, char **argv)
{
	uint64_t words[2] = { 0 }, number[4] = { 0 };
	struct event event = { .when = 2000, .gfp = 0xcc0 };
	struct writer *writer;

	if (argc != 6)
		return 2;
	for (int i = 0; i < 4; i++)
		number[i] = strtoul(argv[i + 2], NULL, 10);
	writer = recording_create(argv[1]);
	if (!writer)
		return 1;
	live = xmalloc((number[1] + 1) * sizeof(*live));
	stack_number = xcalloc(number[2] + 1, sizeof(*stack_number));
	for (unsigned i = 0; i < CLASSES; i++)
		classes[i].next = 0x100000000000UL + ((uint64_t)i << 38);
	write_head(writer);
	for (uint64_t i = 0; i < number[0]; i++) {
		if (!draw(100)) {
			event.tid = 1000 + (uint32_t)draw(number[3]);
			event.cpu = (uint16_t)draw(CPUS);
		}
		event.when += draw_skewed(4 * TICKS) + 30;
		if (nr_live < number[1] && (nr_live < YOUNG || draw(3)))
			allocate(writer, &event, number[2]);
		else
			release(writer, &event);
	}
	recording_flush(writer);
	words[0] = event.when;
	recording_chunk(writer, CHUNK_END, words, sizeof(words));
	recording_close(writer);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * events.c - events FILE: a recording of the events that standard input has, one a line: nanoseconds (in units of 64), "alloc" or
 * "free", object, thread, CPU. Allocations are of 64 bytes, and called at the address that is the thread's number.
 */
#include "recording.h"
#include "recording_format.h"
#include "say.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	uint64_t words[2] = { 0 }, ns, object;
	struct writer *writer;
	unsigned tid, cpu;
	char what[16];

	if (argc != 2 || !(writer = recording_create(argv[1])))
		return 2;
	while (scanf("%lu %15s %lu %u %u", &ns, what, &object, &tid, &cpu) == 5) {
		bool is_alloc = !strcmp(what, "alloc");

		recording_add(writer,
			      &(struct event){
				      .when = ns,
				      .ptr = object * 64,
				      .site = is_alloc ? tid : 0,
				      .req = is_alloc ? 64 : 0,
				      .tid = tid,
				      .cpu = (uint16_t)cpu,
				      .type = is_alloc ? TRACE_KMALLOC : TRACE_KFREE,
			      },
			      1);
		words[0] = ns;
	}
	if (!feof(stdin))
		give_up("a line that is none");
	recording_flush(writer);
	recording_chunk(writer, CHUNK_END, words, sizeof(words));
	recording_close(writer);
	return 0;
}

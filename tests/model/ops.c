/* SPDX-License-Identifier: MIT */
/*
 * ops.c - make, read and write sequences of allocator operations.
 *
 * What is drawn: mostly small sizes, many next to the borders of classes and to the cut-over
 * to areas, some up to a few MiB, a few that no machine has; mostly alignments that
 * programs use, some large, some that are no power of two.
 */
#include "ops.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KMALLOC_LIMIT 131056U
#define DECODE_SLOTS 48
#define DECODE_BYTES 6

static const char *const names[] = {
#define OP_NAME(name) #name,
	OP_KINDS(OP_NAME)
#undef OP_NAME
};

/* How often, of 10000. What is not here is drawn as a free. */
static const struct {
	uint8_t kind;
	uint16_t weight;
} weights[] = {
	{ OP_malloc, 2900 },
	{ OP_calloc, 900 },
	{ OP_realloc, 1300 },
	{ OP_reallocarray, 200 },
	{ OP_aligned_alloc, 250 },
	{ OP_memalign, 200 },
	{ OP_posix_memalign, 250 },
	{ OP_valloc, 40 },
	{ OP_pvalloc, 40 },
	{ OP_cfree, 100 },
	{ OP_free_sized, 200 },
	{ OP_free_aligned_sized, 100 },
	{ OP_usable_size, 300 },
	{ OP_check, 300 },
	{ OP_write, 200 },
	{ OP_trim, 4 },
	{ OP_thread, 200 },
	{ OP_thread_end, 20 },
	{ OP_pin, 40 },
	{ OP_fork, 5 },
};

/* splitmix64, a well-known generator. */
uint64_t ops_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15UL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9UL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebUL;
	return z ^ (z >> 31);
}

static uint64_t draw(uint64_t *state, uint64_t below)
{
	return ops_random(state) % below;
}

/* No machine has so much: the request must fail. */
static uint64_t draw_impossible(uint64_t *state)
{
	switch (draw(state, 4)) {
	case 0:
		return SIZE_MAX - draw(state, 70000);
	case 1:
		return (uint64_t)PTRDIFF_MAX - 40 + draw(state, 80);
	case 2:
		return SIZE_MAX / 2 + draw(state, SIZE_MAX / 2);
	default:
		return 1UL << (60 + draw(state, 4));
	}
}

static uint64_t draw_size(uint64_t *state)
{
	switch (draw(state, 64)) {
	case 0:
		return 0;
	case 1:
		return draw_impossible(state);
	case 2:
		return draw(state, 3UL << 20);
	case 3:
	case 4:
		return KMALLOC_LIMIT - 100 + draw(state, 200);
	case 5 ... 8:
		return draw(state, KMALLOC_LIMIT + 1);
	case 9 ... 16:
		return (16UL << draw(state, 14)) - draw(state, 20) + 10;
	case 17 ... 24:
		return draw(state, 9000);
	default:
		return draw(state, 600);
	}
}

static uint64_t draw_alignment(uint64_t *state)
{
	switch (draw(state, 16)) {
	case 0:
		return draw(state, 200);
	case 1:
		return 1UL << draw(state, 23);
	case 2:
		return draw(state, 4) ? 1UL << draw(state, 64) : ops_random(state);
	default:
		return 8UL << draw(state, 10);
	}
}

static uint8_t draw_kind(uint64_t *state)
{
	uint64_t n = draw(state, 10000);

	for (size_t i = 0; i < sizeof(weights) / sizeof(weights[0]); i++) {
		if (n < weights[i].weight)
			return weights[i].kind;
		n -= weights[i].weight;
	}
	return OP_free;
}

static void draw_numbers(struct op *op, uint64_t *state)
{
	op->b = draw_size(state);
	switch (op->kind) {
	case OP_calloc:
	case OP_reallocarray:
		op->a = 1 + draw(state, draw(state, 4) ? 3 : 100);
		op->b = op->b > 4UL << 20 ? op->b : op->b / op->a;
		break;
	case OP_aligned_alloc:
	case OP_memalign:
	case OP_posix_memalign:
		op->a = draw_alignment(state);
		break;
	case OP_thread:
	case OP_thread_end:
		op->a = draw(state, OPS_THREADS);
		break;
	case OP_pin:
		op->a = draw(state, 64);
		break;
	default:
		break;
	}
}

void ops_generate(struct op *ops, size_t count, uint64_t seed, bool processes)
{
	uint64_t state = seed;
	/* a sequence on few slots reuses sooner, one on many fills more slabs */
	uint64_t slots = 8UL << draw(&state, 7);

	for (size_t i = 0; i < count; i++) {
		ops[i] = (struct op){ .kind = draw_kind(&state),
				      .slot = (uint16_t)draw(&state, slots) };
		if (ops[i].kind == OP_fork && !processes)
			ops[i].kind = OP_free;
		draw_numbers(&ops[i], &state);
	}
}

static uint64_t decode_size(uint8_t shape, uint64_t value)
{
	if (shape == 255)
		return SIZE_MAX - value;
	if (shape == 254)
		return (uint64_t)PTRDIFF_MAX - 32768 + value;
	/* 16 bits, moved by -6 to 5: from bytes to 2 MiB */
	shape %= 12;
	return shape < 6 ? value >> (6 - shape) : value << (shape - 6);
}

size_t ops_decode(struct op *ops, size_t max, const uint8_t *bytes, size_t size)
{
	size_t count = size / DECODE_BYTES < max ? size / DECODE_BYTES : max;

	for (size_t i = 0; i < count; i++, bytes += DECODE_BYTES) {
		uint64_t value = bytes[3] | (uint64_t)bytes[4] << 8;

		ops[i] = (struct op){ .kind = bytes[0] % OP_thread,
				      .slot = bytes[1] % DECODE_SLOTS,
				      .b = decode_size(bytes[2], value) };
		if (ops[i].kind == OP_calloc || ops[i].kind == OP_reallocarray) {
			ops[i].a = 1 + bytes[5] % 16;
			ops[i].b = bytes[2] < 254 ? ops[i].b / ops[i].a : ops[i].b;
		} else {
			ops[i].a = (bytes[5] & 0x80 ? 3UL : 1UL) << bytes[5] % 24;
		}
	}
	return count;
}

const char *ops_format(const struct op *op, char *buf)
{
	snprintf(buf, OPS_LINE, "%s %u %" PRIu64 " %" PRIu64, names[op->kind], op->slot, op->a,
		 op->b);
	return buf;
}

bool ops_write(const char *path, const struct op *ops, size_t count, const char *comment)
{
	FILE *file = fopen(path, "w");
	char line[OPS_LINE];
	bool done;

	if (!file)
		return false;
	if (comment)
		fprintf(file, "# %s\n", comment);
	for (size_t i = 0; i < count; i++)
		fprintf(file, "%s\n", ops_format(&ops[i], line));
	done = !ferror(file);
	return fclose(file) == 0 && done;
}

static bool parse_line(const char *line, struct op *op)
{
	char name[32];
	unsigned slot;

	if (sscanf(line, "%31s %u %" SCNu64 " %" SCNu64, name, &slot, &op->a, &op->b) != 4 ||
	    slot >= OPS_SLOTS)
		return false;
	op->slot = (uint16_t)slot;
	for (op->kind = 0; op->kind < NR_OP_KINDS; op->kind++)
		if (!strcmp(names[op->kind], name))
			return true;
	return false;
}

size_t ops_read(const char *path, struct op *ops, size_t max)
{
	FILE *file = fopen(path, "r");
	char line[OPS_LINE * 8];
	size_t count = 0;

	if (!file) {
		perror(path);
		return 0;
	}
	while (count < max && fgets(line, sizeof(line), file)) {
		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (!parse_line(line, &ops[count])) {
			fprintf(stderr, "%s: this is no operation: %s", path, line);
			count = 0;
			break;
		}
		count++;
	}
	fclose(file);
	return count;
}

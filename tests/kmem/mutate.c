/* SPDX-License-Identifier: MIT */
/*
 * mutate.c - mutate FILE SEED COUNT: damage a recording in COUNT ways and read each through. Half of the time it is the file that is
 * damaged: bytes changed, cut, doubled. The other half it is what is packed in a chunk, which is packed again with the right
 * checksum, so that the damage is found by who takes it apart, not by the checksum. Nothing may crash, hang, or read
 * outside of what there is: it is built with the compiler's checks for that. Standard error is full of lines.
 */
#include "model.h"
#include "recording.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define HEADER 16
#define CHUNK 24
#define ROOM (4UL << 20)

struct bytes {
	unsigned char *data;
	size_t size;
};

static _Noreturn void fail(const char *what)
{
	perror(what);
	exit(2);
}

static uint64_t state;

static uint64_t draw(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return below ? state % below : 0;
}

static struct bytes read_file(const char *path)
{
	struct bytes file = { malloc(ROOM), 0 };
	FILE *in = fopen(path, "r");

	if (!in || !file.data)
		fail(path);
	file.size = fread(file.data, 1, ROOM, in);
	fclose(in);
	return file;
}

static void change_bytes(unsigned char *data, size_t size)
{
	static const unsigned char telling[] = { 0, 1, 0x7f, 0x80, 0xff };

	for (uint64_t n = draw(8) + 1; n && size; n--)
		data[draw(size)] = draw(2) ? telling[draw(sizeof(telling))] :
					     (unsigned char)draw(256);
}

static void damage_file(struct bytes *file)
{
	size_t at = draw(file->size), part;

	switch (draw(4)) {
	case 0:
		file->size = at;
		break;
	case 1: /* a piece twice */
		part = draw(file->size - at) + 1;
		if (file->size + part > ROOM)
			break;
		memmove(file->data + at + part, file->data + at, file->size - at);
		file->size += part;
		break;
	case 2: /* a piece is missing */
		part = draw(file->size - at) + 1;
		memmove(file->data + at, file->data + at + part, file->size - at - part);
		file->size -= part;
		break;
	default:
		change_bytes(file->data, file->size);
		break;
	}
}

static uint32_t word(const unsigned char *at)
{
	uint32_t value;

	memcpy(&value, at, 4);
	return value;
}

static void set_word(unsigned char *at, size_t value)
{
	uint32_t narrow = (uint32_t)value;

	memcpy(at, &narrow, 4);
}

/* Where a chunk begins, that is chosen by chance. */
static size_t some_chunk(const struct bytes *file)
{
	size_t starts[64], count = 0;

	for (size_t at = HEADER, end; at + CHUNK <= file->size && count < 64; at = end) {
		end = at + CHUNK + word(file->data + at + 8);
		if (end > file->size)
			break; /* it was cut */
		starts[count++] = at;
	}
	return count ? starts[draw(count)] : 0;
}

static void damage_payload(struct bytes *file)
{
	size_t at = some_chunk(file), rest;
	unsigned char *packed, *plain = malloc(ROOM);
	size_t size = 0, packed_size = ZSTD_compressBound(ROOM);

	if (!plain || !(packed = malloc(packed_size)))
		fail("malloc");
	if (at)
		size = ZSTD_decompress(plain, ROOM, file->data + at + CHUNK,
				       word(file->data + at + 8));
	if (at && !ZSTD_isError(size)) {
		rest = at + CHUNK + word(file->data + at + 8);
		if (draw(4) == 0)
			size = draw(size + 1);
		change_bytes(plain, draw(2) && size > 64 ? 64 : size);
		packed_size = ZSTD_compress(packed, packed_size, plain, size, 1);
		if (at + CHUNK + packed_size + file->size - rest < ROOM) {
			memmove(file->data + at + CHUNK + packed_size, file->data + rest,
				file->size - rest);
			memcpy(file->data + at + CHUNK, packed, packed_size);
			file->size = at + CHUNK + packed_size + file->size - rest;
			set_word(file->data + at + 8, packed_size);
			set_word(file->data + at + 12, size);
			set_word(file->data + at + 16, crc32(0, packed, (uInt)packed_size));
			set_word(file->data + at + 20, crc32(0, file->data + at, 20));
		}
	}
	free(packed);
	free(plain);
}

static uint64_t sum_of_stack(const struct reader *reader, uint32_t stack)
{
	size_t count = 0;
	bool cut;
	const uint64_t *frames = recording_stack_frames(reader, stack, &count, &cut);
	uint64_t sum = 0;

	for (size_t i = 0; frames && i < count; i++)
		sum ^= frames[i];
	return sum;
}

/* Those of the file, and those that its events have. */
static void read_stacks(const struct reader *reader, const struct model *model)
{
	uint64_t sum = 0;

	for (uint32_t stack = 1; stack <= recording_nr_stacks(reader); stack++)
		sum ^= sum_of_stack(reader, stack);
	for (size_t i = 0; i < model->nr_sites; i++)
		sum ^= sum_of_stack(reader, model->site[i].stack);
	*(volatile uint64_t *)&sum = sum;
}

static void read_through(const struct bytes *file)
{
	int fd = memfd_create("mutated", MFD_CLOEXEC);
	struct reader *reader;
	struct model model;
	char path[64];

	if (fd < 0 || write(fd, file->data, file->size) != (ssize_t)file->size)
		fail("memfd");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	reader = recording_open(path);
	if (reader) {
		model_play(&model, reader, &(struct model_filter){ .by_stack = true });
		read_stacks(reader, &model);
		model_free(&model);
		recording_reader_close(reader);
	}
	close(fd);
}

int main(int argc, char **argv)
{
	struct bytes whole;
	unsigned long count = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;

	if (argc != 4)
		return 2;
	state = strtoul(argv[2], NULL, 10) * 2 + 1;
	whole = read_file(argv[1]);
	for (unsigned long i = 0; i < count; i++) {
		struct bytes file = { malloc(ROOM), whole.size };

		if (!file.data)
			fail("malloc");
		memcpy(file.data, whole.data, whole.size);
		for (uint64_t times = draw(3) + 1; times; times--)
			draw(2) ? damage_payload(&file) : damage_file(&file);
		read_through(&file);
		free(file.data);
	}
	free(whole.data);
	printf("%lu\n", count);
	return 0;
}

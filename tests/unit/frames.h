/* SPDX-License-Identifier: MIT */
/*
 * frames.h - the frames behind addresses, as /proc/self/pagemap shows them: read here, not by the code
 * that is tested. Programs that need them end with frames_skip() where they can't be seen or had.
 */
#ifndef TESTS_FRAMES_H
#define TESTS_FRAMES_H

#include "unit.h"

#include "kmalloc/io.h"

#include <fcntl.h>
#include <sys/mman.h>

#define FRAME_BYTES 4096UL
#define HUGE_BYTES (2UL << 20)
#define FRAMES_PRESENT (1UL << 63)
#define FRAMES_NUMBER ((1UL << 55) - 1)

/* The frame number of each of the n pages from the one that addr is in; 0: not resident, or not shown. */
static inline void frames_read(const void *addr, uint64_t *frames, size_t n)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	off_t offset = (off_t)((uintptr_t)addr / FRAME_BYTES * sizeof(*frames));

	CHECK(fd >= 0);
	CHECK(pread(fd, frames, n * sizeof(*frames), offset) == (ssize_t)(n * sizeof(*frames)));
	close(fd);
	for (size_t i = 0; i < n; i++)
		frames[i] = frames[i] & FRAMES_PRESENT ? frames[i] & FRAMES_NUMBER : 0;
}

/* In how many runs of frames that follow each other do these pages stand? 0: some are not resident. */
static inline size_t frames_runs(const void *addr, size_t n)
{
	uint64_t *frames = calloc(n, sizeof(*frames));
	size_t runs = 1;

	CHECK(frames != NULL);
	frames_read(addr, frames, n);
	for (size_t i = 1; i < n; i++)
		runs += frames[i] != frames[i - 1] + 1;
	for (size_t i = 0; i < n; i++)
		runs = frames[i] ? runs : 0;
	free(frames);
	return runs;
}

/* The physical address of a byte; 0: none, or not shown. */
static inline uint64_t frames_phys(const void *addr)
{
	uint64_t frame;

	frames_read(addr, &frame, 1);
	return frame ? frame * FRAME_BYTES + (uintptr_t)addr % FRAME_BYTES : 0;
}

/* An object of the DMA zone: all of it in one run of frames, resident, and where the library says, in both directions. */
static inline void frames_check_object(const char *object, size_t size)
{
	phys_addr_t phys = virt_to_phys(object);
	size_t n = ((uintptr_t)object % FRAME_BYTES + size + FRAME_BYTES - 1) / FRAME_BYTES;

	CHECK(phys != PHYS_ADDR_UNKNOWN);
	CHECK_EQ(frames_runs(object, n), 1);
	CHECK_EQ(phys, frames_phys(object));
	CHECK_EQ(virt_to_phys(object + size - 1), phys + size - 1);
	CHECK(phys_to_virt(phys) == object);
	CHECK(phys_to_virt(phys + size - 1) == object + size - 1);
}

/*
 * Why physically contiguous memory can't be had or seen here; NULL: it can. Asked of a child, so that
 * this process stays as it is.
 */
static inline void frames_try(void *unused)
{
	char *map = mmap(NULL, 2 * HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	char *huge = (char *)(((uintptr_t)map + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1));

	(void)unused;
	CHECK(map != MAP_FAILED);
	madvise(huge, HUGE_BYTES, MADV_HUGEPAGE);
	memset(huge, 1, HUGE_BYTES);
	if (!frames_phys(huge))
		_exit(2);
	if (mlock(huge, HUGE_BYTES) != 0)
		_exit(3);
	if (frames_runs(huge, HUGE_BYTES / FRAME_BYTES) != 1)
		_exit(4);
}

static inline const char *frames_missing(void)
{
	switch (unit_child(frames_try, NULL).status) {
	case 0:
		return NULL;
	case 2:
		return "no right to see frames in /proc/self/pagemap (CAP_SYS_ADMIN)";
	case 3:
		return "no right to lock memory (RLIMIT_MEMLOCK)";
	default:
		return "the system gives no huge page";
	}
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * frames.c - huge pages, locked memory, and what the system shows of the frames behind
 * addresses. Asked for by GFP_DMA alone. As os.c: raw calls, errno untouched, no state.
 */
#include "arch/x86_64/syscall.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define POOL_FREE "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
#define PAGEMAP "/proc/self/pagemap"
#define PAGEMAP_PRESENT (1UL << 63)
#define PAGEMAP_FRAME ((1UL << 55) - 1)
#define FRAMES_AT_ONCE 128

/* PAGEMAP_SCAN of Linux 6.7, which older headers lack. */
struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN_REQUEST _IOWR('f', 16, struct scan_arg)
#define SCAN_PRESENT (1UL << 3)
#define SCAN_HUGE (1UL << 6)

static bool failed(long ret)
{
	return (unsigned long)ret > -4096UL;
}

static int map_over(void *addr, size_t size, int flags)
{
	long ret = arch_syscall(SYS_mmap, (long)addr, (long)size, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags, -1, 0);

	return failed(ret) ? (int)ret : 0;
}

int os_map_huge_over(void *addr, size_t size)
{
	return map_over(addr, size, MAP_HUGETLB | MAP_POPULATE);
}

int os_map_over(void *addr, size_t size)
{
	return map_over(addr, size, 0);
}

int os_collapse(void *addr, size_t size)
{
	return (int)arch_syscall(SYS_madvise, (long)addr, (long)size, MADV_COLLAPSE, 0, 0, 0);
}

int os_lock(void *addr, size_t size)
{
	return (int)arch_syscall(SYS_mlock, (long)addr, (long)size, 0, 0, 0, 0);
}

int os_unlock(void *addr, size_t size)
{
	return (int)arch_syscall(SYS_munlock, (long)addr, (long)size, 0, 0, 0, 0);
}

size_t os_memlock_limit(void)
{
	struct rlimit limit = { 0 };

	arch_syscall(SYS_prlimit64, 0, RLIMIT_MEMLOCK, 0, (long)&limit, 0, 0);
	return limit.rlim_cur;
}

int os_dont_fork(void *addr, size_t size, bool leave_out)
{
	return (int)arch_syscall(SYS_madvise, (long)addr, (long)size,
				 leave_out ? MADV_DONTFORK : MADV_DOFORK, 0, 0, 0);
}

static long file_open(const char *path)
{
	return arch_syscall(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
}

static void file_close(long fd)
{
	arch_syscall(SYS_close, fd, 0, 0, 0, 0, 0);
}

bool os_huge_pages_free(void)
{
	char text[32] = "";
	long fd = file_open(POOL_FREE);
	long n;

	if (failed(fd))
		return false;
	n = arch_syscall(SYS_read, fd, (long)text, sizeof(text), 0, 0, 0);
	file_close(fd);
	return !failed(n) && n > 0 && text[0] >= '1' && text[0] <= '9';
}

/* One piece of the file; as os_frames(). */
static int frames_read(long fd, const void *addr, uint64_t *frames, size_t n)
{
	long offset = (long)(((uintptr_t)addr >> os_page_shift) * sizeof(*frames));
	long bytes = (long)(n * sizeof(*frames));
	long ret = arch_syscall(SYS_pread64, fd, (long)frames, bytes, offset, 0, 0);

	if (failed(ret))
		return (int)ret;
	if (ret != bytes)
		return -EIO;
	for (size_t i = 0; i < n; i++) {
		if (!(frames[i] & PAGEMAP_PRESENT))
			return -ENODATA;
		frames[i] &= PAGEMAP_FRAME;
		if (!frames[i])
			return -EPERM;
	}
	return 0;
}

int os_frames(const void *addr, uint64_t *frames, size_t n)
{
	long fd = file_open(PAGEMAP);
	int err = 0;

	if (failed(fd))
		return (int)fd;
	for (size_t i = 0; i < n && !err; i += FRAMES_AT_ONCE)
		err = frames_read(fd, (const char *)addr + (i << os_page_shift), frames + i,
				  min_size(FRAMES_AT_ONCE, n - i));
	file_close(fd);
	return err;
}

int os_is_huge(const void *addr, size_t size)
{
	struct scan_region region = { 0 };
	struct scan_arg arg = {
		.size = sizeof(arg),
		.start = (uintptr_t)addr,
		.end = (uintptr_t)addr + size,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = SCAN_PRESENT | SCAN_HUGE,
		.return_mask = SCAN_HUGE,
	};
	long fd = file_open(PAGEMAP);
	long ret;

	if (failed(fd))
		return (int)fd;
	ret = arch_syscall(SYS_ioctl, fd, (long)SCAN_REQUEST, (long)&arg, 0, 0, 0);
	file_close(fd);
	if (failed(ret))
		return (int)ret;
	return ret == 1 && region.start <= arg.start && region.end >= arg.end;
}

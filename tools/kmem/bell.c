/* SPDX-License-Identifier: MIT */
/*
 * bell.c - the reader's side of trace_control.bell (src/trace/format.h).
 *
 * The kernel's ring buffer wakes who sleeps in poll(2) on its file. Here the two processes have one file in common, the
 * library's: a word of it that neither writes is a futex of both, as the kernel knows it by the file and the place in the file.
 *
 * The word is 0, and is not looked at here, but by the kernel: who owns the file may cut it off. Where it can't be had (the file
 * is gone or may not be opened, the process wrote to that page), or is no such word, the clock alone ends the sleep.
 */
#include "bell.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL

void bell_open(struct bell *bell, const struct target *target)
{
	uint64_t at = target->state.bell, offset;
	int fd;

	*bell = (struct bell){ 0 };
	if (!at || at % sizeof(uint32_t))
		return;
	fd = target_open_file(target, at, &offset);
	if (fd < 0)
		return;
	bell->page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, (off_t)(offset & ~(PAGE - 1)));
	close(fd);
	if (bell->page == MAP_FAILED)
		bell->page = NULL;
	else
		bell->word = (char *)bell->page + offset % PAGE;
}

void bell_close(struct bell *bell)
{
	if (bell->page)
		munmap(bell->page, PAGE);
	*bell = (struct bell){ 0 };
}

bool bell_wait(const struct bell *bell, unsigned us, bool is_deaf)
{
	struct timespec time = { us / 1000000, (long)(us % 1000000) * 1000 };

	if (bell->page && !is_deaf) {
		if (syscall(SYS_futex, bell->word, FUTEX_WAIT, 0, &time, NULL, 0) == 0)
			return true;
		if (errno == EINTR || errno == ETIMEDOUT)
			return false;
	}
	nanosleep(&time, NULL);
	return false;
}
